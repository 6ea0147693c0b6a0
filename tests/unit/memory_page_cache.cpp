#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "memory/page_cache.hpp"
#include "paged_memory.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

constexpr std::uint64_t kPage = PageCache::kPageSize;

/// Memory whose pages from `first` on hold their own number in each byte.
PagedMemory numbered_pages(std::uint64_t first, std::uint64_t count) {
  PagedMemory memory;
  for (std::uint64_t page = first; page < first + count; ++page)
    memory.pages[page].fill(static_cast<std::byte>(page));
  return memory;
}

std::uint8_t byte_at(const Memory& memory, std::uint64_t at) {
  return read_as<std::uint8_t>(memory, RemoteAddr{at}).value_or(0);
}

}  // namespace

TEST_CASE("looking at the same page again and again has an end", "[memory]") {
  PagedMemory memory;
  memory.map(RemoteAddr{0x1000}, kPage);
  constexpr std::uint64_t kWork = 100;
  const PageCache cache(memory, PageCache::kMostBytes, kWork);
  std::array<std::byte, 8> out{};
  for (std::uint64_t i = 0; i < kWork; ++i)
    REQUIRE(cache.read(RemoteAddr{0x1000}, out));
  CHECK_FALSE(cache.read(RemoteAddr{0x1000}, out));
  CHECK(cache.failures() == 1);
  // The size of what is looked at counts.
  const PageCache other(memory, PageCache::kMostBytes, kWork);
  std::vector<std::byte> page(4096);
  CHECK(other.read(RemoteAddr{0x1000}, page));
  CHECK_FALSE(other.read(RemoteAddr{0x1000}, page));
}

TEST_CASE("each page is read once and whole", "[memory]") {
  PagedMemory source = numbered_pages(5, 1);
  const PageCache cache(source);
  CHECK(byte_at(cache, 5 * kPage + 7) == 5);
  source.pages.at(5).fill(std::byte{99});
  CHECK(byte_at(cache, 5 * kPage) == 5);  // the copy, not what is there by now
  CHECK(byte_at(cache, 6 * kPage - 1) == 5);
  REQUIRE(source.reads.size() == 1);
  CHECK(source.reads[0] == RemoteRange{RemoteAddr{5 * kPage}, kPage});
}

TEST_CASE("what a batch of reads lacks is fetched in one call", "[memory]") {
  const PagedMemory source = numbered_pages(1, 9);
  const PageCache cache(source);
  CHECK(byte_at(cache, 3 * kPage) == 3);
  std::array<std::array<std::byte, 2>, 4> out{};
  std::array<ReadRequest, 4> requests{
      ReadRequest{RemoteAddr{9 * kPage}, out[0]}, ReadRequest{RemoteAddr{3 * kPage + 8}, out[1]},
      ReadRequest{RemoteAddr{1 * kPage}, out[2]}, ReadRequest{RemoteAddr{9 * kPage + 80}, out[3]}};
  cache.read_many(requests);
  for (const ReadRequest& request : requests)
    CHECK(request.status == ReadStatus::Ok);
  CHECK(out[0][0] == std::byte{9});
  CHECK(out[1][0] == std::byte{3});
  CHECK(out[2][0] == std::byte{1});
  CHECK(source.calls == 2);
  CHECK(source.reads.size() == 3);  // page 9 once, page 3 not again
}

TEST_CASE("a page that can not be read is not asked for again and costs the others nothing",
          "[memory]") {
  PagedMemory source = numbered_pages(1, 3);
  source.unmap(RemoteAddr{2 * kPage});
  const PageCache cache(source);
  const std::array ranges{RemoteRange{RemoteAddr{kPage}, 3 * kPage}};
  cache.fetch(ranges);
  CHECK(source.calls == 1);
  CHECK(byte_at(cache, kPage) == 1);
  CHECK(byte_at(cache, 3 * kPage) == 3);
  std::array<std::byte, 4> out{};
  CHECK(cache.read(RemoteAddr{2 * kPage}, out).error().kind == ErrorKind::Fault);
  CHECK(cache.read(RemoteAddr{2 * kPage - 2}, out).error().kind == ErrorKind::Fault);
  CHECK(cache.read(RemoteAddr{3 * kPage - 2}, out).error().kind == ErrorKind::Fault);
  CHECK(source.calls == 1);
}

TEST_CASE("why a page can not be read is remembered too", "[memory]") {
  PagedMemory source;
  source.answer = ReadStatus::Gone;
  const PageCache cache(source);
  CHECK(read_as<int>(cache, RemoteAddr{kPage}).error().kind == ErrorKind::NoSuchProcess);
  source.answer = ReadStatus::Denied;
  CHECK(read_as<int>(cache, RemoteAddr{2 * kPage}).error().kind == ErrorKind::NotPermitted);
  CHECK(read_as<int>(cache, RemoteAddr{kPage}).error().kind == ErrorKind::NoSuchProcess);
}

TEST_CASE("a read across pages joins them", "[memory]") {
  const PagedMemory source = numbered_pages(1, 3);
  const PageCache cache(source);
  std::vector<std::byte> out(kPage + 4);
  REQUIRE(cache.read(RemoteAddr{2 * kPage - 2}, out));
  CHECK(out[1] == std::byte{1});
  CHECK(out[2] == std::byte{2});
  CHECK(out[2 + kPage - 1] == std::byte{2});
  CHECK(out[2 + kPage] == std::byte{3});
  CHECK(source.calls == 1);
}

TEST_CASE("a look into the cache reads nothing", "[memory]") {
  const PagedMemory source = numbered_pages(1, 2);
  const PageCache cache(source);
  std::array<std::byte, 4> out{};
  CHECK(cache.try_read(RemoteAddr{kPage}, out) == ReadStatus::Pending);
  CHECK(source.calls == 0);
  CHECK(byte_at(cache, kPage) == 1);
  CHECK(cache.try_read(RemoteAddr{kPage}, out) == ReadStatus::Ok);
  CHECK(cache.try_read(RemoteAddr{2 * kPage - 2}, out) == ReadStatus::Pending);
  CHECK(cache.try_read(RemoteAddr{2 * kPage - 4}, out) == ReadStatus::Ok);
}

TEST_CASE("reads beyond the budget fail and what was read before stays", "[memory]") {
  const PagedMemory source = numbered_pages(1, 9);
  const PageCache cache(source, 3 * kPage);
  CHECK(byte_at(cache, 9 * kPage) == 9);
  std::vector<std::byte> out(5 * kPage);
  const auto ok = cache.read(RemoteAddr{kPage}, out);
  REQUIRE_FALSE(ok);
  CHECK(ok.error().kind == ErrorKind::Malformed);
  CHECK(source.reads.size() == 3);
  CHECK(byte_at(cache, 9 * kPage) == 9);
  CHECK(byte_at(cache, 1 * kPage) == 1);
  CHECK(byte_at(cache, 2 * kPage) == 2);
  CHECK_FALSE(read_as<int>(cache, RemoteAddr{5 * kPage}));
  CHECK(source.reads.size() == 3);
}

TEST_CASE("a page that is named many times counts once against the budget", "[memory]") {
  const PagedMemory source = numbered_pages(1, 3);
  const PageCache cache(source, 3 * kPage);
  std::vector<RemoteRange> ranges(10, RemoteRange{RemoteAddr{kPage}, 8});
  ranges.push_back({RemoteAddr{2 * kPage}, 8});
  ranges.push_back({RemoteAddr{3 * kPage}, 8});
  cache.fetch(ranges);
  CHECK(source.reads.size() == 3);
  CHECK(byte_at(cache, 3 * kPage) == 3);
  CHECK(source.calls == 1);
}

TEST_CASE("an enormous range ends at the budget", "[memory]") {
  const PagedMemory source = numbered_pages(1, 1);
  const PageCache cache(source, 2 * kPage);
  const std::array ranges{RemoteRange{RemoteAddr{kPage}, std::uint64_t{1} << 60U}};
  cache.fetch(ranges);
  CHECK(source.reads.size() == 2);
  CHECK(byte_at(cache, kPage) == 1);
}

TEST_CASE("a read around the end of all addresses is a fault and asks nobody", "[memory]") {
  const PagedMemory source = numbered_pages(0, 1);
  const PageCache cache(source);
  constexpr RemoteAddr kLast{std::numeric_limits<std::uint64_t>::max() - 3};
  std::array<std::byte, 8> out{};
  CHECK(cache.read(kLast, out).error().kind == ErrorKind::Fault);
  const std::array ranges{RemoteRange{kLast, 8}, RemoteRange{RemoteAddr{kPage}, 0}};
  cache.fetch(ranges);
  CHECK(source.calls == 0);
}

TEST_CASE("a read of nothing is answered without a fetch", "[memory]") {
  const PagedMemory source;
  const PageCache cache(source);
  CHECK(cache.read(RemoteAddr{kPage}, {}).has_value());
  CHECK(source.calls == 0);
}

TEST_CASE("all caches of a reading draw from one budget", "[memory]") {
  PagedMemory source = numbered_pages(1, 8);
  Budget& budget = source.budget();
  budget.set_most_kept(3 * kPage);
  {
    const PageCache one(source);
    const PageCache other(source);
    CHECK(byte_at(one, 1 * kPage) == 1);
    CHECK(byte_at(one, 2 * kPage) == 2);
    CHECK(byte_at(other, 3 * kPage) == 3);
    CHECK(byte_at(other, 4 * kPage) == 0);
    CHECK(other.failures() == 1);
  }
  // What was thrown away may be copied again.
  const PageCache third(source);
  for (std::uint64_t page = 1; page <= 3; ++page)
    CHECK(byte_at(third, page * kPage) == page);
  CHECK(byte_at(third, 4 * kPage) == 0);
}

TEST_CASE("work that a cache didn't do is left for others", "[memory]") {
  PagedMemory source = numbered_pages(1, 1);
  Budget& budget = source.budget();
  REQUIRE(budget.work(Budget::kMostWork - 100));
  std::array<std::byte, 8> out{};
  {
    const PageCache cache(source);
    for (int i = 0; i < 40; ++i)
      REQUIRE(cache.read(RemoteAddr{kPage}, out));
  }
  const PageCache cache(source);
  for (int i = 0; i < 60; ++i)
    REQUIRE(cache.read(RemoteAddr{kPage}, out));
  CHECK_FALSE(cache.read(RemoteAddr{kPage}, out));
  // Another reading has a budget of its own.
  budget.begin_anew(Deadline());
  const PageCache next(source);
  CHECK(next.read(RemoteAddr{kPage}, out));
}
