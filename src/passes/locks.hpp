// The wait-for graph between threads, made from what the kernel and the stacks say of them; and the
// cycles in it that never end.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/log.hpp"
#include "locks/locks.hpp"
#include "memory/budgeted_memory.hpp"
#include "process/facts.hpp"
#include "pyscope/memory.hpp"
#include "python/runtime_state.hpp"
#include "structures/runtime.hpp"
#include "target/target.hpp"

namespace pyscope {

/// The futex that a system call waits for; nothing for any other call.
[[nodiscard]] std::optional<FutexWait> futex_wait(const SystemCall& call);

/// The threads of which one must go on for a thread's wait to end; empty: it may end by itself.
using Wakers = std::vector<std::size_t>;

/// The sets of threads that wait for each other and for nobody who could go on. Each begins with
/// its smallest index, and is in the order of the waits where each thread waits for one other. A
/// waker that is outside of the graph may go on.
[[nodiscard]] std::vector<std::vector<std::size_t>> find_cycles(std::span<const Wakers> wakers);

/// A thread state of the process, whether its thread waits or not.
struct GraphThread {
  RemoteAddr interpreter;
  RawThread raw;
  pid_t tid = 0;  // as we see it; 0 if the kernel knows no such thread
};

/// What these threads wait for now. Their stacks are read anew.
[[nodiscard]] std::vector<std::optional<FoundLock>> find_locks_again(
    const BudgetedMemory& memory, const Runtime& runtime, CodeTable& codes, const Target& target,
    std::span<const GraphThread> threads);

/// Cycles of indices of threads, each waiting for what the next one holds.
struct WaitCycles {
  std::vector<std::vector<std::size_t>> deadlocks;
  std::vector<std::vector<std::size_t>> dissolved;  // gone when they were looked for again
};

/// The cycles among the threads for which these locks were found. Some milliseconds later each
/// cycle is read anew, from the thread states on. A cycle is a deadlock if it is the same then, and
/// if the kernel says that none of its threads ran meanwhile. Costs nothing where there is no
/// cycle. Empty if the kernel can't be asked.
[[nodiscard]] WaitCycles find_deadlocks(const BudgetedMemory& memory, const Runtime& runtime,
                                        CodeTable& codes, const Target& target,
                                        std::span<const GraphThread> threads,
                                        std::span<const std::optional<FoundLock>> found,
                                        const Log& log);

}  // namespace pyscope
