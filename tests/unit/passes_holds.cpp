#include <catch2/catch.hpp>
#include <vector>

#include "memory/image_memory.hpp"
#include "passes/holds.hpp"
#include "support/acted_target.hpp"

using namespace pyscope;
using test::ActedTarget;

TEST_CASE("threads that turn up while others are being held are held, too", "[holds]") {
  const ImageMemory memory;
  ActedTarget target(memory, {});
  std::vector<std::vector<pid_t>> held;
  target.on_hold = [&](std::span<const pid_t> tids) -> Result<ThreadHold> {
    held.emplace_back(tids.begin(), tids.end());
    return fail(ErrorKind::Failed, "refused");
  };
  // The second listing shows a thread that the first one of the process has started meanwhile.
  const std::vector<std::vector<pid_t>> listings = {{1, 2}, {1, 2, 3}, {1, 2, 3}};
  std::size_t next = 0;
  ThreadHolds holds(&target);
  holds.hold_all([&] { return listings.at(next++); }, Log{});
  CHECK(held == std::vector<std::vector<pid_t>>{{1, 2}, {3}});
  CHECK(next == 3);
  CHECK_FALSE(holds.holds_all());
  CHECK(holds.refusal(3) == "refused");
}

TEST_CASE("a process that starts threads all the time is not listed for ever", "[holds]") {
  const ImageMemory memory;
  const ActedTarget target(memory, {});
  std::vector<pid_t> all;
  ThreadHolds holds(&target);
  holds.hold_all(
      [&] {
        all.push_back(static_cast<pid_t>(all.size()) + 1);
        return all;
      },
      Log{});
  CHECK(all.size() < 20);
  CHECK_FALSE(holds.holds_all());
}

TEST_CASE("where there is no process nothing is held", "[holds]") {
  ThreadHolds holds(nullptr);
  holds.hold_all([] { return std::vector<pid_t>{1}; }, Log{});
  CHECK_FALSE(holds.holds(1));
  CHECK_FALSE(holds.holds_all());
  CHECK(holds.refusal(1) == "there is no process to hold");
}
