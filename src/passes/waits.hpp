// What blocked threads wait for: the arguments of their system calls, some of which lie in the
// target's memory, joined with what the kernel says of descriptors and processes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/log.hpp"
#include "memory/budgeted_memory.hpp"
#include "process/facts.hpp"
#include "process/process.hpp"
#include "pyscope/memory.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// For each task what it waits for; empty for one that isn't in a system call. Without a process (a
/// recording) there is only what the system call and the memory tell. A task that has left its
/// system call since it was listed keeps what was known of it then: what its descriptors are now
/// says nothing about that wait.
///
/// For tasks that wait for a futex, and there may be thousands, nothing is asked of the kernel.
[[nodiscard]] std::vector<std::optional<Wait>> read_waits(std::span<const Task* const> tasks,
                                                          const BudgetedMemory& memory,
                                                          const Process* process, const Log& log);

}  // namespace pyscope
