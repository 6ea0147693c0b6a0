// Tasks in words. All of it is escaped.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include "pyscope/snapshot.hpp"
#include "verdict/task_findings.hpp"

namespace pyscope {

/// Whether a task is one of those that the user wants to see, by name or id; all, if none is named.
[[nodiscard]] bool is_chosen(const SuspendedStack& task, std::span<const std::string> chosen);

/// The task's name; the id where there is no name.
[[nodiscard]] std::string task_label(const SuspendedStack& task);

/// What a task does, without what differs between tasks that are alike: times and holders.
[[nodiscard]] std::string summarize_task(const SuspendedStack& task);

/// The same without the state and the address of what is waited for: what can be counted.
[[nodiscard]] std::string kind_of_task(const SuspendedStack& task);

/// Texts that name other tasks. The snapshot must outlive it.
class TaskTexts {
 public:
  explicit TaskTexts(const Snapshot& snapshot);

  /// Null if there is no task of this id.
  [[nodiscard]] const SuspendedStack* find(std::uint64_t id) const;
  [[nodiscard]] std::string label(std::uint64_t id) const;
  /// What a task does: "running", "waiting for asyncio.Lock self.lock, held by Task-3".
  [[nodiscard]] std::string describe(const SuspendedStack& task) const;
  /// One sentence.
  [[nodiscard]] std::string describe(const TaskFinding& finding) const;

 private:
  [[nodiscard]] std::string labels(std::span<const std::uint64_t> ids) const;

  std::unordered_map<std::uint64_t, const SuspendedStack*> by_id_;
};

}  // namespace pyscope
