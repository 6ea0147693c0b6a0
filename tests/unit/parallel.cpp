#include "base/parallel.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>
#include <stdexcept>
#include <vector>

using pyscope::run_parallel;

TEST_CASE("work in parallel is all done once and taken in order where that is asked", "[cli]") {
  const bool in_order = GENERATE(true, false);
  const std::size_t threads = GENERATE(1U, 2U, 7U, 100U);
  const std::size_t count = GENERATE(0U, 1U, 50U, 1000U);
  CAPTURE(in_order, threads, count);
  std::vector<std::size_t> taken;
  run_parallel(
      count, threads, in_order, [](std::size_t i) { return i * i; },
      [&](std::size_t i, std::size_t value) {
        CHECK(value == i * i);
        taken.push_back(i);
        return true;
      });
  std::vector<std::size_t> expected(count);
  std::iota(expected.begin(), expected.end(), 0U);
  if (in_order) {
    CHECK(taken == expected);
  } else {
    CHECK_THAT(taken, Catch::Matchers::UnorderedEquals(expected));
  }
}

TEST_CASE("results that can't be taken yet are bounded", "[cli]") {
  constexpr std::size_t kThreads = 3;
  std::atomic<std::size_t> begun = 0;
  std::size_t taken = 0;
  std::size_t most = 0;
  run_parallel(
      500, kThreads, true,
      [&](std::size_t i) {
        ++begun;
        return i;
      },
      [&](std::size_t, std::size_t) {
        most = std::max(most, begun - taken);
        ++taken;
        return true;
      });
  CHECK(taken == 500);
  CHECK(most <= kThreads * 5);
}

TEST_CASE("work in parallel ends when a result is refused", "[cli]") {
  const bool in_order = GENERATE(true, false);
  std::size_t taken = 0;
  run_parallel(
      100'000, 4, in_order, [](std::size_t i) { return i; },
      [&](std::size_t, std::size_t) { return ++taken < 10; });
  CHECK(taken == 10);
}

TEST_CASE("what work in parallel throws arrives", "[cli]") {
  const bool in_order = GENERATE(true, false);
  const auto fail_at = [&](std::size_t at) {
    run_parallel(
        1000, 4, in_order,
        [&](std::size_t i) {
          if (i == at) throw std::runtime_error("no");
          return i;
        },
        [](std::size_t, std::size_t) { return true; });
  };
  CHECK_THROWS_AS(fail_at(0), std::runtime_error);
  CHECK_THROWS_AS(fail_at(999), std::runtime_error);
}
