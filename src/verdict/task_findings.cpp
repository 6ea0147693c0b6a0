#include "verdict/task_findings.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <unordered_map>
#include <utility>

namespace pyscope {
namespace {

/// The tasks that must all go on before this one can. None where one of several will do, or where
/// it isn't certain.
std::vector<std::uint64_t> needs(const SuspendedStack& task) {
  if (!task.wait || task.wait->any) return {};
  if (!task.wait->tasks.empty()) return task.wait->tasks;
  // Of two that are inside of a lock's statement one has given the lock back by hand.
  if (task.wait->kind == "lock" && task.wait->held_by.size() == 1) return task.wait->held_by;
  return {};
}

class CycleFinder {
 public:
  explicit CycleFinder(const Snapshot& snapshot) : stacks_(snapshot.stacks) {
    for (std::size_t i = 0; i < stacks_.size(); ++i)
      by_id_.emplace(stacks_[i].id, i);
    for (const SuspendedStack& stack : stacks_)
      needs_.push_back(needs(stack));
    marks_.resize(stacks_.size());
  }

  [[nodiscard]] std::vector<std::vector<std::size_t>> find() {
    for (std::size_t i = 0; i < stacks_.size(); ++i) {
      if (marks_[i] == Mark::New) walk(i);
    }
    return std::move(cycles_);
  }

 private:
  enum class Mark : std::uint8_t { New, Open, Done };

  /// Depth first, with a stack of its own: chains of tasks can be long.
  void walk(std::size_t start) {
    struct Visit {
      std::size_t task;
      std::size_t next = 0;
    };
    std::vector<Visit> path{{start}};
    marks_[start] = Mark::Open;
    while (!path.empty()) {
      Visit& visit = path.back();
      if (visit.next == needs_[visit.task].size()) {
        marks_[visit.task] = Mark::Done;
        path.pop_back();
        continue;
      }
      const auto found = by_id_.find(needs_[visit.task][visit.next++]);
      if (found == by_id_.end()) continue;
      const std::size_t task = found->second;
      if (marks_[task] == Mark::Open) {
        const auto first = std::find_if(path.begin(), path.end(),
                                        [&](const Visit& one) { return one.task == task; });
        auto& cycle = cycles_.emplace_back();
        for (auto member = first; member != path.end(); ++member)
          cycle.push_back(member->task);
      } else if (marks_[task] == Mark::New) {
        marks_[task] = Mark::Open;
        path.push_back({task});
      }
    }
  }

  const std::vector<SuspendedStack>& stacks_;
  std::unordered_map<std::uint64_t, std::size_t> by_id_;
  std::vector<std::vector<std::uint64_t>> needs_;
  std::vector<Mark> marks_;
  std::vector<std::vector<std::size_t>> cycles_;
};

}  // namespace

std::string_view name_of(TaskFinding::Kind kind) {
  return kind == TaskFinding::Kind::Deadlock ? "deadlock" : "blocked_loop";
}

std::vector<TaskFinding> find_task_findings(const Snapshot& snapshot) {
  std::vector<TaskFinding> findings;
  for (const std::vector<std::size_t>& cycle : CycleFinder(snapshot).find()) {
    TaskFinding& finding = findings.emplace_back();
    finding.kind = TaskFinding::Kind::Deadlock;
    finding.proven = true;
    for (const std::size_t index : cycle) {
      const SuspendedStack& task = snapshot.stacks[index];
      finding.tasks.push_back(task.id);
      finding.proven = finding.proven && task.consistent;
      finding.ends_on_error =
          finding.ends_on_error || (task.wait->ends_on_error && task.wait->tasks.size() > 1);
      if (task.deadline_left_us &&
          (!finding.ends_in_us || *task.deadline_left_us < *finding.ends_in_us)) {
        finding.ends_in_us = task.deadline_left_us;
      }
    }
  }
  // As long as asyncio itself calls a callback slow.
  constexpr std::int64_t kSlow = 100'000;
  for (const EventLoop& loop : snapshot.loops) {
    if (!loop.running_task || !loop.busy_us || *loop.busy_us < kSlow) continue;
    findings.push_back({.kind = TaskFinding::Kind::BlockedLoop,
                        .tasks = {*loop.running_task},
                        .proven = snapshot.capture.one_instant,
                        .loop = &loop});
  }
  return findings;
}

}  // namespace pyscope
