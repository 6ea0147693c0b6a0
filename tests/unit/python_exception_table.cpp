#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "python/exception_table.hpp"

using namespace pyscope;

namespace {

std::vector<std::byte> bytes_of(const std::vector<unsigned>& values) {
  std::vector<std::byte> bytes;
  for (const unsigned value : values)
    bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

}  // namespace

TEST_CASE("an exception table is decoded as dis does", "[python]") {
  // What CPython 3.13 compiles this to, and what dis._parse_exception_table() makes of it, in code
  // units:
  //
  //   with a:
  //     g()
  //     with b:
  //       h()
  //     try:
  //       i()
  //     except E:
  //       j()
  const auto table = bytes_of(
      {0x83, 0x0d, 0x41, 0x22, 0x03, 0x90, 0x0b, 0x37, 0x05, 0x9b, 0x08, 0x41, 0x22, 0x03, 0xa4,
       0x0a, 0x41, 0x08, 0x02, 0xb7, 0x0a, 0x41, 0x05, 0x09, 0xc1, 0x01, 0x07, 0x41, 0x22, 0x03,
       0xc1, 0x08, 0x14, 0x41, 0x1f, 0x05, 0xc1, 0x1c, 0x02, 0x41, 0x22, 0x03, 0xc1, 0x1e, 0x01,
       0x41, 0x1f, 0x05, 0xc1, 0x1f, 0x03, 0x41, 0x22, 0x03, 0xc1, 0x22, 0x0a, 0x41, 0x30, 0x07});
  const auto entries = decode_exception_table(table, 115);
  REQUIRE(entries);
  CHECK(*entries == std::vector<ExceptionEntry>{{3, 16, 98, 1},
                                                {16, 27, 55, 2},
                                                {27, 35, 98, 1},
                                                {36, 46, 72, 1},
                                                {55, 65, 69, 4},
                                                {65, 72, 98, 1},
                                                {72, 92, 95, 2},
                                                {92, 94, 98, 1},
                                                {94, 95, 95, 2},
                                                {95, 98, 98, 1},
                                                {98, 108, 112, 3}});
  // h() is called within both; j() within the outer one, around its own except clause.
  const auto handlers = [&](std::uint64_t unit) {
    std::vector<std::uint64_t> found;
    for (const std::size_t index : handlers_around(*entries, unit))
      found.push_back((*entries)[index].handler);
    return found;
  };
  CHECK(handlers(20) == std::vector<std::uint64_t>{55, 69, 98, 112});
  CHECK(handlers(85) == std::vector<std::uint64_t>{95, 98, 112});
  CHECK(handlers(60) == std::vector<std::uint64_t>{69, 98, 112});
  CHECK(handlers(46).empty());
}

TEST_CASE("an exception table that no compiler made is refused", "[python]") {
  const auto fails = [](const std::vector<unsigned>& values) {
    return !decode_exception_table(bytes_of(values), 100);
  };
  CHECK_FALSE(fails({}));
  CHECK_FALSE(fails({0x80, 1, 2, 3}));
  CHECK(fails({0x80}));
  CHECK(fails({0x80, 1, 2}));
  CHECK(fails({0x80, 1, 2, 0x43}));              // a number that goes on
  CHECK(fails({0xC0, 0x40, 0x40, 0x40, 0x40}));  // for ever
  CHECK(fails({0xFF, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x3F, 1, 2, 3}));
  CHECK(fails({0x80, 0x43, 0x00, 2, 3}));          // longer than the code
  CHECK(fails({0x80, 1, 0x41, 0x24, 3}));          // a handler behind the code
  CHECK(fails({0x85, 5, 20, 2, 0x87, 5, 20, 2}));  // overlapping
  CHECK(fails({0x85, 5, 20, 2, 0x81, 1, 20, 2}));  // backwards
}

TEST_CASE("exception tables of noise are decoded or refused, and end", "[python]") {
  std::mt19937 random(20261125);
  for (int round = 0; round < 2000; ++round) {
    std::vector<unsigned> values(random() % 40);
    for (unsigned& value : values)
      value = random() % 4 == 0 ? random() % 256 : random() % 64;
    const auto entries = decode_exception_table(bytes_of(values), 64);
    if (!entries) continue;
    for (std::uint64_t unit = 0; unit < 66; ++unit)
      CHECK(handlers_around(*entries, unit).size() <= entries->size());
  }
}

TEST_CASE("handlers are found from the inside outwards", "[python]") {
  // Two nested `with` statements: each body, each clean-up with its own clean-up.
  const std::vector<ExceptionEntry> entries{{5, 10, 60, 1},  {10, 20, 40, 3}, {20, 30, 60, 1},
                                            {40, 44, 50, 5}, {50, 53, 60, 1}, {60, 64, 70, 3}};
  using Indices = std::vector<std::size_t>;
  CHECK(handlers_around(entries, 4).empty());
  CHECK(handlers_around(entries, 5) == Indices{0, 5});
  CHECK(handlers_around(entries, 19) == Indices{1, 3, 4, 5});
  CHECK(handlers_around(entries, 20) == Indices{2, 5});
  CHECK(handlers_around(entries, 41) == Indices{3, 4, 5});
  CHECK(handlers_around(entries, 30).empty());
  CHECK(handlers_around(entries, 1000).empty());
  CHECK(handlers_around({}, 0).empty());
  // One that leads back to itself.
  const std::vector<ExceptionEntry> circle{{0, 5, 7, 1}, {7, 9, 0, 1}};
  CHECK(handlers_around(circle, 0) == Indices{0, 1});
}
