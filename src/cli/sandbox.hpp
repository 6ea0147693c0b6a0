// The sandbox, which this program enters before it reads anything that a target controls. So not
// even a mistake in a parser could change a process or a file. docs/security.md has the list of
// what is denied.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

namespace pyscope::cli {

enum class Sandbox : std::uint8_t {
  Reading,         // files and processes can be read, and nothing else
  HoldingThreads,  // also, a process may be forked that stops threads and lets them go (--pause)
  Executing,       // also, one process can be written to, and files be made and removed (exec)
};

/// Enters the sandbox for good: no new privileges, no core dump (which would hold what was read),
/// and only the system calls that reading takes; all others fail with EPERM. If the kernel has no
/// such filters, or another filter forbids to set one, the program goes on without, and `log` is
/// told. `target` is the process that may be written to when Executing. Does nothing in a build
/// with sanitizers, which make system calls of their own.
void enter_sandbox(Sandbox sandbox, const std::function<void(const std::string&)>& log,
                   pid_t target = 0);

}  // namespace pyscope::cli
