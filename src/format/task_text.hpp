// Tasks in words. All of it is escaped.
#pragma once

#include <span>
#include <string>

#include "pyscope/snapshot.hpp"
#include "verdict/task_findings.hpp"

namespace pyscope {

/// Whether a task is one of those that the user wants to see, by name or id; all, if none is named.
[[nodiscard]] bool is_chosen(const SuspendedStack& task, std::span<const std::string> chosen);

/// Task-3, or "Task-3 \"resize\"": the name; the id where there is no name.
[[nodiscard]] std::string task_label(const SuspendedStack& task);
[[nodiscard]] std::string task_label(const Snapshot& snapshot, std::uint64_t id);

/// What a task does: "running", "waiting for asyncio.Lock self.lock, held by Task-3".
[[nodiscard]] std::string describe_task(const Snapshot& snapshot, const SuspendedStack& task);

/// The same without what differs between tasks that are alike: times and holders.
[[nodiscard]] std::string summarize_task(const SuspendedStack& task);

/// The same without the state and the address of what is waited for: what can be counted.
[[nodiscard]] std::string kind_of_task(const SuspendedStack& task);

/// One sentence.
[[nodiscard]] std::string describe_finding(const Snapshot& snapshot, const TaskFinding& finding);

}  // namespace pyscope
