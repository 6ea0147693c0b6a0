// The table that _asyncio publishes, whole and lying.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "structures/asyncio_lists.hpp"
#include "support/catch.hpp"
#include "unit/published_offsets.hpp"

using namespace pyscope;
using pyscope::test::PublishedTable;

namespace {

/// As 3.14.8 publishes it.
constexpr std::array<std::uint64_t, 13> kOf314 = {168,    136,   96,  108, 109, 128, 152,
                                                  225864, 10880, 936, 864, 872, 880};

Result<AsyncioLists> decode(const std::array<std::uint64_t, 13>& words) {
  std::array<std::byte, AsyncioLists::kSize> table{};
  std::memcpy(table.data(), words.data(), table.size());
  const auto offsets = DebugOffsets::decode(PublishedTable(14).bytes);
  REQUIRE(offsets);
  return AsyncioLists::decode(table, *offsets);
}

}  // namespace

TEST_CASE("the table of asyncio is decoded") {
  const auto lists = decode(kOf314);
  REQUIRE(lists);
  CHECK(lists->interpreter_tasks == 10880);
  CHECK(lists->thread_tasks == 880);
  CHECK(lists->running_loop == 864);
  CHECK(lists->running_task == 872);
}

TEST_CASE("a table of asyncio that is of another interpreter, or lies, is refused") {
  const auto refused = [](std::size_t word, std::uint64_t value) {
    auto words = kOf314;
    words.at(word) = value;
    return !decode(words).has_value();
  };
  CHECK(refused(0, 176));     // the size of a task
  CHECK(refused(5, 120));     // its coroutine
  CHECK(refused(6, 144));     // its place in the list
  CHECK(refused(7, 226240));  // the size of an interpreter state
  CHECK(refused(8, 225864));  // outside of it
  CHECK(refused(8, 10881));   // not aligned
  CHECK(refused(9, 1U << 30U));
  CHECK(refused(9, 0));
  for (const std::size_t word : {10U, 11U, 12U}) {
    CHECK(refused(word, 936));
    CHECK(refused(word, ~std::uint64_t{0} - 7));
    CHECK(refused(word, 865));
  }
}
