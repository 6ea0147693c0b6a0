// Processes that wait for each other for ever: a parent for its child to end, and the child to
// write into a pipe that only the parent reads. Told by what the kernel shows alone, so that the
// others need not be Python.
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

/// What a thread waits for that other processes could give it.
enum class ProcessWaitKind : std::uint8_t { Child, Pipe, Socket, Semaphore };

/// A thread of one process that waits for another process.
struct ProcessWait {
  pid_t pid = 0;
  pid_t tid = 0;
  std::string name;  // of the process; may hold any byte
  ProcessWaitKind kind = ProcessWaitKind::Child;
  std::string words;    // "to write to the full pipe on fd 1, which only sort (pid 12) reads"
  pid_t waits_for = 0;  // the next process of the cycle
};

/// A cycle of processes in which no thread can go on unless one of another process of the cycle
/// does, seen twice with none of them running in between. Empty if there is none, if it can't be
/// known (a process that must not be looked into may have the other end), or if one of them handles
/// a signal, which may wake it. Costs nothing unless each of `tasks`, the threads of `process`, is
/// blocked for good.
///
/// What counts as blocked for good: read, write and their like on a pipe or a unix socket, a wait
/// for a child, a futex without a timeout. Of all who could end such a wait, each must be so
/// blocked, too: of a pipe those who have its other end open, of a child all its threads, of a
/// futex in shared memory those who have that mapped, of any other futex the process's own threads.
[[nodiscard]] std::optional<std::vector<ProcessWait>> find_process_deadlock(
    const Process& process, std::span<const Task> tasks, const Log& log);

}  // namespace pyscope
