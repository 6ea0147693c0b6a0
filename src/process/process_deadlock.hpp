// Finds processes that wait for each other for ever: a parent for its child to end, and the child
// to write into a pipe that only the parent reads. The kernel's facts alone tell, so the other
// processes need not be Python.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "process/facts.hpp"
#include "process/process.hpp"

namespace pyscope {

/// The things that one process waits for and another one could give.
enum class ProcessWaitKind : std::uint8_t { Child, Pipe, Socket, Semaphore };

/// A thread of one process that waits for another process.
struct ProcessWait {
  pid_t pid = 0;
  pid_t tid = 0;
  std::string name;  // of the process; may hold any byte
  ProcessWaitKind kind = ProcessWaitKind::Child;
  std::string words;         // "to write to the full pipe on fd 1, which only sort (pid 12) reads"
  bool for_message = false;  // to read, or in a poll: so does also who is at rest
  pid_t waits_for = 0;       // the next process of the cycle
};

/// Processes that wait for each other, in the order of their waiting.
struct ProcessDeadlock {
  std::vector<ProcessWait> cycle;
  /// What may end it all the same: "python3 (pid 12) handles SIGTERM"; empty: no handler.
  std::string handlers;
};

/// A cycle of processes in which no thread can go on unless a thread of another process of the
/// cycle does, or the handler of a signal ends a wait. All were looked at twice, and none ran in
/// between. Empty if there is no cycle; if it can't be known (a process that must not be looked
/// into may have the other end); or if one of the processes handles the signal of a timer, which
/// may wake it. Costs nothing unless each of `tasks`, the threads of `process`, is blocked for
/// good.
///
/// Blocked for good means: read, write and their like on a pipe or a unix socket, a poll without a
/// timeout for these and for ends of processes, a wait for a child, or a futex without a timeout.
/// Everybody who could end such a wait must be blocked in the same way. For a pipe these are the
/// processes that have its other end open; for a child all its threads; for a futex in shared
/// memory the processes that have that memory mapped, of which those that only wait for the same
/// futex can't; for any other futex the threads of the process itself.
[[nodiscard]] std::optional<ProcessDeadlock> find_process_deadlock(const Process& process,
                                                                   std::span<const Task> tasks,
                                                                   const Log& log);

}  // namespace pyscope
