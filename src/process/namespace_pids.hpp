// Finds processes by their PID in a pid namespace below ours. A person outside of a container is
// often given the PID that a process has inside.
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
  std::string container;  // its id or name; empty: its control group names none
};

/// Whether a process has this PID in a pid namespace below ours, by the text of its
/// /proc/PID/status.
[[nodiscard]] bool has_inner_pid(std::string_view status, pid_t inner);

/// All processes that have this PID in a namespace below ours, ordered by their pids here.
[[nodiscard]] std::vector<InnerProcess> find_inner_pid(pid_t inner);

/// Adds to an error about `pid` the processes that have this PID inside of a container, and the
/// command that reads such a process. Without such processes the error stays as it is.
[[nodiscard]] Error with_inner_processes(Error error, pid_t pid,
                                         const std::vector<InnerProcess>& found);

/// "container 4f1c6c0d8a7e" by its id or name.
[[nodiscard]] std::string name_container(const std::string& container);

}  // namespace pyscope
