#include <sys/syscall.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "passes/locks.hpp"

using namespace pyscope;

namespace {

using Edges = std::vector<std::optional<std::size_t>>;
using Cycles = std::vector<std::vector<std::size_t>>;
constexpr std::nullopt_t kNone = std::nullopt;

/// Of threads that each wait for one other at the most.
Cycles cycles_of(const Edges& edges) {
  std::vector<Wakers> wakers;
  for (const auto& edge : edges)
    wakers.push_back(edge ? Wakers{*edge} : Wakers{});
  return find_cycles(wakers);
}

SystemCall call(std::int64_t number, std::uint64_t operation, std::uint64_t timeout) {
  SystemCall call;
  call.number = number;
  call.arguments = {0x7f0000001010, operation, 0, timeout, 0, 0xffffffff};
  return call;
}

}  // namespace

TEST_CASE("a cycle of waiting threads is found once", "[locks]") {
  CHECK(cycles_of({}).empty());
  CHECK(cycles_of(Edges{kNone, 0, 1}).empty());
  CHECK(cycles_of(Edges{0}) == Cycles{{0}});
  CHECK(cycles_of(Edges{1, 0}) == Cycles{{0, 1}});
  CHECK(cycles_of(Edges{1, 2, 0}) == Cycles{{0, 1, 2}});
  // Those that wait for one of a cycle are not part of it.
  CHECK(cycles_of(Edges{3, 0, 1, 4, 3}) == Cycles{{3, 4}});
  CHECK(cycles_of(Edges{2, 2, 2, 0}) == Cycles{{2}});
  CHECK(cycles_of(Edges{5, 3, kNone, 1, 4, 0, 2}) == Cycles{{0, 5}, {1, 3}, {4}});
  // An edge to a thread that there isn't.
  CHECK(cycles_of(Edges{1, 7}).empty());
}

TEST_CASE("threads of which one has several wakers wait while any of these can go on", "[locks]") {
  using Graph = std::vector<Wakers>;
  // An executor's workers, each of which waits for a call that any of them may take.
  CHECK(find_cycles(Graph{{0, 1}, {0, 1}}) == Cycles{{0, 1}});
  CHECK(find_cycles(Graph{{0, 1, 2}, {0, 1, 2}, {}}).empty());
  // The third worker waits for a lock of the first, and the last thread for a call.
  CHECK(find_cycles(Graph{{0, 1, 2}, {0, 1, 2}, {0}, {0, 1, 2}}) == Cycles{{0, 1, 2}});
  // The second pool can't go on without the first, and isn't part of that one's deadlock.
  CHECK(find_cycles(Graph{{0, 1}, {0, 1}, {2, 0}}) == Cycles{{0, 1}, {2}});
  CHECK(find_cycles(Graph{{1, 2}, {0}, {3}, {9}}).empty());
}

TEST_CASE("cycles are found in large graphs", "[locks]") {
  constexpr std::size_t kCount = 100'000;
  Edges ring(kCount);
  for (std::size_t i = 0; i < kCount; ++i)
    ring[i] = (i + 1) % kCount;
  const auto one = cycles_of(ring);
  REQUIRE(one.size() == 1);
  CHECK(one.front().size() == kCount);
  ring.back() = std::nullopt;
  CHECK(cycles_of(ring).empty());

  // Against another way: a node is in a cycle if so many steps lead back to it.
  std::mt19937 random(20261125);
  for (int round = 0; round < 300; ++round) {
    Edges edges(1 + random() % 30);
    for (auto& edge : edges) {
      if (random() % 5 != 0) edge = random() % edges.size();
    }
    std::vector<bool> in_cycle(edges.size());
    for (std::size_t start = 0; start < edges.size(); ++start) {
      std::optional<std::size_t> at = edges[start];
      for (std::size_t step = 0; at && *at != start && step < edges.size(); ++step)
        at = edges[*at];
      in_cycle[start] = at == start;
    }
    std::vector<bool> found(edges.size());
    for (const auto& cycle : cycles_of(edges)) {
      for (std::size_t i = 0; i < cycle.size(); ++i) {
        CHECK_FALSE(found[cycle[i]]);
        found[cycle[i]] = true;
        CHECK(edges[cycle[i]] == cycle[(i + 1) % cycle.size()]);
      }
    }
    CHECK(found == in_cycle);
  }
}

TEST_CASE("a futex is waited for by some of its operations only", "[locks]") {
  const auto endless = futex_wait(call(SYS_futex, 0x189, 0));
  REQUIRE(endless);
  CHECK(endless->word.raw() == 0x7f0000001010);
  CHECK_FALSE(endless->timed);
  CHECK(futex_wait(call(SYS_futex, 0x89, 0x7f0000002000))->timed);
  CHECK(futex_wait(call(SYS_futex, 0, 0)));
  CHECK_FALSE(futex_wait(call(SYS_futex, 0x81, 0)));  // FUTEX_WAKE
  CHECK_FALSE(futex_wait(call(SYS_read, 0x189, 0)));
  CHECK_FALSE(futex_wait(SystemCall{}));
}
