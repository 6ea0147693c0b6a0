// What is wrong among the tasks of a snapshot, each with its evidence.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope {

struct TaskFinding {
  enum class Kind : std::uint8_t {
    Deadlock,     // `tasks`, each of which waits for the next one, and the last for the first
    BlockedLoop,  // the first of `tasks`, which its loop has run for `busy_us` without a pause
  };
  Kind kind = Kind::Deadlock;
  std::vector<std::uint64_t> tasks;  // ids
  /// All that it rests on is of one moment.
  bool proven = false;
  /// Of a deadlock: until a timeout ends one of the waits; negative: overdue; empty: there is none.
  std::optional<std::int64_t> ends_in_us = {};
  /// Of a deadlock: an error of another task, which one of these waits for too, would end it.
  bool ends_on_error = false;
  const EventLoop* loop = nullptr;  // of a blocked loop
};

[[nodiscard]] std::string_view name_of(TaskFinding::Kind kind);

/// Deadlocks first. The snapshot must outlive the result.
[[nodiscard]] std::vector<TaskFinding> find_task_findings(const Snapshot& snapshot);

}  // namespace pyscope
