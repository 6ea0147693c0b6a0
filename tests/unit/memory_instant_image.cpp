#include <array>
#include <cstdint>

#include "memory/instant_image.hpp"
#include "paged_memory.hpp"
#include "support/catch.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

constexpr RemoteAddr kAt{0x10000};

std::uint64_t value_at(const Memory& memory, RemoteAddr at) {
  const auto value = read_as<std::uint64_t>(memory, at);
  return value ? *value : 0;
}

}  // namespace

TEST_CASE("what was noted is read as it was when it was copied", "[memory]") {
  PagedMemory source;
  source.put(kAt, std::uint64_t{1});
  InstantImage image(source);
  image.note();
  CHECK(value_at(image, kAt) == 1);
  CHECK(image.pages() == 1);
  source.put(kAt, std::uint64_t{2});
  REQUIRE(image.prepare());
  image.copy();
  source.put(kAt, std::uint64_t{3});
  image.serve();
  CHECK(value_at(image, kAt) == 2);
  CHECK(image.missed() == 0);
  image.pass();
  CHECK(value_at(image, kAt) == 3);
}

TEST_CASE("what was not copied is told, read from the source, and copied the next time",
          "[memory]") {
  PagedMemory source;
  const RemoteAddr other = kAt + 3 * InstantImage::kPageSize;
  source.put(kAt, std::uint64_t{1});
  source.put(other, std::uint64_t{5});
  InstantImage image(source);
  image.note();
  CHECK(value_at(image, kAt) == 1);
  REQUIRE(image.prepare());
  image.copy();
  image.serve();
  CHECK(value_at(image, other) == 5);
  CHECK(image.missed() == 1);
  REQUIRE(image.prepare());
  image.copy();
  source.put(other, std::uint64_t{6});
  image.serve();
  CHECK(value_at(image, other) == 5);
  CHECK(value_at(image, kAt) == 1);
  CHECK(image.missed() == 0);
  // The next note() remembers what was missed, even if nothing reads there first.
  image.note();
  CHECK(image.pages() == 1);
}

TEST_CASE("a read across pages of which one was not copied is none of the copies", "[memory]") {
  PagedMemory source;
  const RemoteAddr end = kAt + (InstantImage::kPageSize - 4);
  source.put(end, std::uint64_t{7});
  InstantImage image(source);
  image.note();
  std::array<std::byte, 4> half{};
  REQUIRE(image.read(end, half));
  REQUIRE(image.prepare());
  image.copy();
  source.put(end, std::uint64_t{8});
  image.serve();
  CHECK(value_at(image, end) == 8);
  CHECK(image.missed() == 1);
}

TEST_CASE("a page that can't be read is so in the copies, too", "[memory]") {
  PagedMemory source;
  InstantImage image(source);
  image.note();
  CHECK_FALSE(read_as<std::uint64_t>(image, kAt));
  REQUIRE(image.prepare());
  image.copy();
  source.put(kAt, std::uint64_t{1});
  image.serve();
  CHECK_FALSE(read_as<std::uint64_t>(image, kAt));
  CHECK(image.missed() == 0);
}

TEST_CASE("more pages than can be copied at once are refused", "[memory]") {
  PagedMemory source;
  InstantImage image(source);
  image.note();
  for (std::uint64_t i = 0; i <= InstantImage::kMostPages; ++i)
    (void)value_at(image, kAt + i * InstantImage::kPageSize);
  CHECK(image.too_many());
  CHECK(image.pages() == InstantImage::kMostPages);
  CHECK_FALSE(image.prepare());
  image.note();
  CHECK_FALSE(image.too_many());
}
