#include "base/watched.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <thread>

using pyscope::run_watched;
using pyscope::threads_left_behind;

TEST_CASE("work that never comes back is left behind and costs the rest nothing", "[cli]") {
  const std::size_t threads = GENERATE(1U, 4U);
  constexpr std::size_t kStuck = 2;
  constexpr std::size_t kCount = 20;
  const auto release = std::make_shared<std::atomic<bool>>(false);
  std::set<std::size_t> done;
  std::size_t in_vain = 0;
  run_watched(
      kCount, threads, std::chrono::seconds(1),
      [release](std::size_t i) {
        while (i == kStuck && !*release)
          std::this_thread::yield();
        return i * i;
      },
      [&](std::size_t i, std::optional<std::size_t> value) {
        if (!value) {
          ++in_vain;
          CHECK(i == kStuck);
          CHECK_FALSE(*release);
          return;
        }
        CHECK(*value == i * i);
        CHECK(done.insert(i).second);
      });
  CHECK(in_vain == 1);
  CHECK(done.size() == kCount - 1);
  CHECK(threads_left_behind == 1);
  *release = true;
  while (threads_left_behind != 0)
    std::this_thread::yield();
}

TEST_CASE("what is thrown in watched work is thrown to the caller", "[cli]") {
  CHECK_THROWS_AS(run_watched(
                      10, 3, std::chrono::hours(1),
                      [](std::size_t i) {
                        if (i == 4) throw std::runtime_error("four");
                        return i;
                      },
                      [](std::size_t, std::optional<std::size_t>) {}),
                  std::runtime_error);
}
