// Findings among tasks, and the text that tells them.
#include <string>
#include <utility>
#include <vector>

#include "pyscope/render.hpp"
#include "support/catch.hpp"
#include "verdict/task_findings.hpp"

using namespace pyscope;

namespace {

SuspendedStack waiting_task(std::uint64_t id, std::vector<std::uint64_t> tasks, bool any = false) {
  SuspendedStack task;
  task.id = id;
  task.name = "Task-" + std::to_string(id);
  task.state = "waiting";
  task.loop = 1;
  task.consistent = true;
  task.wait = TaskWait{};
  task.wait->kind = "tasks";
  task.wait->tasks = std::move(tasks);
  task.wait->any = any;
  return task;
}

Snapshot snapshot_of(std::vector<SuspendedStack> tasks) {
  Snapshot snapshot;
  snapshot.pid = 7;
  snapshot.loops.push_back({.id = 1, .type = "loop"});
  snapshot.stacks = std::move(tasks);
  return snapshot;
}

std::vector<std::vector<std::uint64_t>> cycles(const Snapshot& snapshot) {
  std::vector<std::vector<std::uint64_t>> result;
  for (const TaskFinding& finding : find_task_findings(snapshot))
    result.push_back(finding.tasks);
  return result;
}

}  // namespace

TEST_CASE("a circle of tasks is found once, wherever a chain leads into it") {
  const auto snapshot = snapshot_of(
      {waiting_task(1, {2}), waiting_task(2, {3}), waiting_task(3, {4}), waiting_task(4, {2})});
  CHECK(cycles(snapshot) == std::vector<std::vector<std::uint64_t>>{{2, 3, 4}});
}

TEST_CASE("a task that needs one of several is in no circle") {
  CHECK(cycles(snapshot_of({waiting_task(1, {2}), waiting_task(2, {1, 3}, true)})).empty());
  CHECK(cycles(snapshot_of({waiting_task(1, {9})})).empty());
}

TEST_CASE("two that are inside of the statement of one lock are no evidence") {
  auto first = waiting_task(1, {});
  first.wait->kind = "lock";
  first.wait->held_by = {2};
  auto second = waiting_task(2, {1});
  CHECK(cycles(snapshot_of({first, second})).size() == 1);
  first.wait->held_by = {2, 3};
  CHECK(cycles(snapshot_of({first, second})).empty());
}

TEST_CASE("a long chain of tasks costs no stack") {
  constexpr std::uint64_t kMany = 200'000;
  std::vector<SuspendedStack> tasks;
  for (std::uint64_t i = 1; i <= kMany; ++i)
    tasks.push_back(waiting_task(i, {i % kMany + 1}));
  const Snapshot snapshot = snapshot_of(std::move(tasks));
  const auto found = cycles(snapshot);
  REQUIRE(found.size() == 1);
  CHECK(found.front().size() == kMany);
}

TEST_CASE("a chain of tasks that is too deep for a tree is printed whole") {
  constexpr std::uint64_t kMany = 1000;
  std::vector<SuspendedStack> tasks;
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    tasks.push_back(waiting_task(i, i < kMany ? std::vector{i + 1} : std::vector<std::uint64_t>{}));
    if (i > 1) tasks.back().awaited_by = {i - 1};
  }
  const std::string text = render_tasks(snapshot_of(std::move(tasks)), {});
  for (std::uint64_t i = 1; i <= kMany; ++i)
    CHECK(text.find("Task Task-" + std::to_string(i) + ":") != std::string::npos);
}

TEST_CASE("what a target calls its tasks never reaches the terminal as it is") {
  auto task = waiting_task(1, {});
  task.name = "evil\x1b]0;title\x07";
  task.coroutine = "co\x1b[2J";
  task.wait->kind = "lock";
  task.wait->type = "ty\x1b[1mpe";
  task.wait->name = "na\rme";
  task.wait->detail = "de\ntail";
  task.error = "er\x9bror";
  const Snapshot snapshot = snapshot_of({task});
  for (const bool flat : {false, true}) {
    const std::string text = render_tasks(snapshot, {.flat = flat});
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find('\r') == std::string::npos);
    CHECK(text.find("evil\\x1b]0;title\\x07") != std::string::npos);
  }
  const std::string json = render_tasks_json(snapshot, JsonStyle::Compact);
  CHECK(json.find('\x1b') == std::string::npos);
  CHECK(json.find("\\u001b") == std::string::npos);
}
