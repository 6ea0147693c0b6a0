// From what the kernel and the stacks say of threads that wait to the wait-for graph between them,
// and to the cycles in it that are there for good.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/log.hpp"
#include "locks/locks.hpp"
#include "process/facts.hpp"
#include "pyscope/memory.hpp"
#include "python/runtime_state.hpp"
#include "structures/runtime.hpp"
#include "target/target.hpp"

namespace pyscope {

/// The futex that a system call waits for; nothing for any other call.
[[nodiscard]] std::optional<FutexWait> futex_wait(const SystemCall& call);

/// The cycles of a graph in which each node has at most one edge; each cycle once, from its
/// smallest node on. An edge out of the graph is none.
[[nodiscard]] std::vector<std::vector<std::size_t>> find_cycles(
    std::span<const std::optional<std::size_t>> edges);

/// A thread of the process, whether it waits or not.
struct GraphThread {
  RawThread raw;
  pid_t tid = 0;  // as we see it; 0 if the kernel knows no such thread
};

/// Cycles of indices of threads, each waiting for what the next one holds.
struct WaitCycles {
  std::vector<std::vector<std::size_t>> deadlocks;
  std::vector<std::vector<std::size_t>> dissolved;  // gone when they were looked for again
};

/// The cycles among threads for which these locks were found. Each is looked for a second time some
/// milliseconds later, from the thread states on, while the kernel says that none of its threads
/// runs; only what is the same then is a deadlock. Costs nothing where there is no cycle. None if
/// the kernel can't be asked.
[[nodiscard]] WaitCycles find_deadlocks(const Memory& memory, const Runtime& runtime,
                                        CodeTable& codes, const Target& target,
                                        std::span<const GraphThread> threads,
                                        std::span<const std::optional<FoundLock>> found,
                                        const Log& log);

}  // namespace pyscope
