// From a PID to a process whose memory can be read and whose Python runtime is found.
#pragma once

#include <memory>

#include "memory/live_memory.hpp"
#include "process/log.hpp"
#include "process/process.hpp"
#include "pyscope/error.hpp"
#include "read_snapshot.hpp"

namespace pyscope {

struct Target {
  std::unique_ptr<Process> process;  // on the heap: `memory` refers to its descriptor
  std::unique_ptr<LiveMemory> memory;
  Runtime runtime;
};

/// Pins the process, makes sure that it may be read, and finds its _PyRuntime: by the ELF section
/// .PyRuntime of a file that it has mapped, or else by scanning the writable segments for the
/// cookie.
[[nodiscard]] Result<Target> attach(pid_t pid, const Log& log);

/// What the kernel says of the process's threads, asked when it is wanted; `process` must outlive
/// it. It holds none of them, and doesn't ask what descriptors are.
[[nodiscard]] ThreadSource thread_source(const Process& process);

/// Whether the memory is still that of the program that was attached to: after an execve the
/// process is the same one and its memory is another program's.
[[nodiscard]] bool runs_same_program(const Target& target);

/// That the process is gone, for the one that was being read.
[[nodiscard]] Error ended_while_read(const Process& process);

}  // namespace pyscope
