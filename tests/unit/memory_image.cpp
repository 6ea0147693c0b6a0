#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "memory/image_memory.hpp"
#include "paged_memory.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

/// The text there, or nothing.
std::string text_at(const Memory& memory, std::uint64_t at, std::size_t size) {
  std::string text(size, '?');
  const auto ok = memory.read(RemoteAddr{at}, std::as_writable_bytes(std::span{text}));
  return ok ? text : "";
}

}  // namespace

TEST_CASE("an image gives what was put into it and nothing beside it", "[memory]") {
  ImageMemory image;
  image.put(RemoteAddr{0x1ffe}, bytes_of("abcd"));  // across two of its blocks
  CHECK(text_at(image, 0x1ffe, 4) == "abcd");
  CHECK(text_at(image, 0x1fff, 2) == "bc");
  CHECK(text_at(image, 0x1ffd, 2).empty());
  CHECK(text_at(image, 0x2001, 2).empty());
  CHECK(text_at(image, 0x9000, 1).empty());
}

TEST_CASE("later bytes of an image replace earlier ones", "[memory]") {
  ImageMemory image;
  image.put(RemoteAddr{0x1000}, bytes_of("abcdef"));
  image.put(RemoteAddr{0x1002}, bytes_of("XY"));
  CHECK(text_at(image, 0x1000, 6) == "abXYef");
}

TEST_CASE("a read of nothing succeeds and one around the end of all addresses does not",
          "[memory]") {
  ImageMemory image;
  image.put(RemoteAddr{0}, bytes_of("ab"));
  CHECK(image.read(RemoteAddr{0x5000}, {}).has_value());
  std::array<std::byte, 4> out{};
  CHECK(image.read(RemoteAddr{std::numeric_limits<std::uint64_t>::max() - 1}, out).error().kind ==
        ErrorKind::Fault);
}

TEST_CASE("a value that would lie around the end of all addresses is not put", "[memory]") {
  ImageMemory image;
  image.put(RemoteAddr{std::numeric_limits<std::uint64_t>::max() - 1}, bytes_of("abcd"));
  int ranges = 0;
  image.for_each_range([&](RemoteAddr, std::span<const std::byte>) { ++ranges; });
  CHECK(ranges == 0);
}

TEST_CASE("the ranges of an image are the longest runs in ascending order", "[memory]") {
  ImageMemory image;
  image.put(RemoteAddr{0x5003}, bytes_of("later"));
  image.put(RemoteAddr{0x0ffe}, bytes_of("ab"));
  image.put(RemoteAddr{0x1000}, bytes_of("cd"));
  image.put(RemoteAddr{0x5001}, bytes_of("x"));
  std::vector<std::pair<std::uint64_t, std::string>> ranges;
  image.for_each_range([&](RemoteAddr at, std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes)
      text += static_cast<char>(byte);
    ranges.emplace_back(at.raw(), text);
  });
  const decltype(ranges) expected{{0x0ffe, "abcd"}, {0x5001, "x"}, {0x5003, "later"}};
  CHECK(ranges == expected);
}

TEST_CASE("a range that can not be read costs the others nothing", "[memory]") {
  ImageMemory image;
  image.put(RemoteAddr{0x1000}, bytes_of("abcd"));
  std::array<std::array<std::byte, 2>, 3> out{};
  std::array<ReadRequest, 3> requests{ReadRequest{RemoteAddr{0x1000}, out[0]},
                                      ReadRequest{RemoteAddr{0x1003}, out[1]},
                                      ReadRequest{RemoteAddr{0x1002}, out[2]}};
  image.read_many(requests);
  CHECK(requests[0].status == ReadStatus::Ok);
  CHECK(requests[1].status == ReadStatus::Fault);
  CHECK(requests[2].status == ReadStatus::Ok);
  CHECK(out[2][0] == std::byte{'c'});
}

TEST_CASE("a recorder passes reads on and keeps what came back", "[memory]") {
  PagedMemory source;
  source.put(RemoteAddr{0x1000}, std::uint32_t{0xdcba4321});
  const RecordingMemory recorder(source);
  CHECK(read_as<std::uint32_t>(recorder, RemoteAddr{0x1000}).value() == 0xdcba4321);
  CHECK_FALSE(read_as<std::uint32_t>(recorder, RemoteAddr{0x1ffe}));
  CHECK(source.calls == 2);

  source.unmap(RemoteAddr{0x1000});
  CHECK(read_as<std::uint32_t>(recorder.image(), RemoteAddr{0x1000}).value() == 0xdcba4321);
  CHECK_FALSE(read_as<std::uint16_t>(recorder.image(), RemoteAddr{0x1ffe}));
  CHECK_FALSE(read_as<std::uint8_t>(recorder.image(), RemoteAddr{0x1004}));
}

TEST_CASE("a recording holds what was read last", "[memory]") {
  PagedMemory source;
  const RecordingMemory recorder(source);
  for (const std::uint32_t value : {1U, 2U}) {
    source.put(RemoteAddr{0x1000}, value);
    CHECK(read_as<std::uint32_t>(recorder, RemoteAddr{0x1000}).value() == value);
  }
  CHECK(read_as<std::uint32_t>(recorder.image(), RemoteAddr{0x1000}).value() == 2);
}

TEST_CASE("the errors of reads say what was read and why it failed", "[memory]") {
  PagedMemory source;
  std::array<std::byte, 8> out{};
  const auto error_of = [&](ReadStatus answer) {
    source.answer = answer;
    return source.read(RemoteAddr{0x7000}, out).error();
  };
  CHECK(error_of(ReadStatus::Fault).kind == ErrorKind::Fault);
  CHECK(error_of(ReadStatus::Fault).message == "8 bytes at 0x7000 are not readable");
  CHECK(error_of(ReadStatus::Gone).kind == ErrorKind::NoSuchProcess);
  CHECK(error_of(ReadStatus::Denied).kind == ErrorKind::NotPermitted);
  CHECK(error_of(ReadStatus::OverBudget).kind == ErrorKind::Malformed);
}

TEST_CASE("a value at an offset that leads around the end of all addresses is a fault",
          "[memory]") {
  PagedMemory source;
  source.map(RemoteAddr{0}, PagedMemory::kPageSize);
  const auto value = read_as<std::uint32_t>(source, RemoteAddr{0x2000},
                                            std::numeric_limits<std::uint64_t>::max() - 0x1000);
  REQUIRE_FALSE(value);
  CHECK(value.error().kind == ErrorKind::Fault);
  CHECK(source.calls == 0);
}
