// What this program denies itself, before it reads anything that a target controls: so that not
// even a mistake in a parser could change a process or a file. docs/security.md has the list.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace pyscope::cli {

enum class Sandbox : std::uint8_t {
  Reading,         // files and processes can be read, and nothing else
  HoldingThreads,  // and a process may be forked that stops threads and lets them go (--pause)
};

/// Enters it for good: no new privileges, no core dump (it would hold what was read), and of the
/// system calls only those that reading takes; all others fail with EPERM. Where the kernel has no
/// such filters, or a filter above forbids to set one, it goes on without and `log` is told.
/// In a build with sanitizers, which make system calls of their own, it does nothing.
void enter_sandbox(Sandbox sandbox, const std::function<void(const std::string&)>& log);

}  // namespace pyscope::cli
