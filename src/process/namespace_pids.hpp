// Who has a PID in a pid namespace below ours: whoever looks from outside of a container is often
// given the PID that a process has inside.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/error.hpp"

namespace pyscope {

struct InnerProcess {
  pid_t pid = 0;  // as we see it
  std::string name;
  std::string container;  // its id or name; empty: it is in none that its control group tells
};

/// Whether a process has this PID in one of the namespaces below ours, by the text of its
/// /proc/PID/status.
[[nodiscard]] bool has_inner_pid(std::string_view status, pid_t inner);

/// All processes that have it, by their pids.
[[nodiscard]] std::vector<InnerProcess> find_inner_pid(pid_t inner);

/// Adds to an error about `pid` who has it inside of which container, and the command for that one.
/// As it is if there are none.
[[nodiscard]] Error with_inner_processes(Error error, pid_t pid,
                                         const std::vector<InnerProcess>& found);

/// "container 4f1c6c0d8a7e" by its id or name.
[[nodiscard]] std::string name_container(const std::string& container);

}  // namespace pyscope
