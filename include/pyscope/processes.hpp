// Lists the Python processes of this machine, and selects some of them.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/python_process.hpp"

namespace pyscope {

/// Selects processes: a process fits if it fits everything that is given.
struct ProcessFilter {
  std::string match;      // a POSIX extended regular expression, somewhere in the command line
  std::string user;       // a name, or a number
  std::string unit;       // of systemd, with or without its ".service"
  std::string container;  // the beginning of a container's id, or its name
  std::optional<std::vector<pid_t>> pids;  // only these
  bool show_secrets = false;               // leave secrets in the command lines
  std::vector<std::string> secret_names;   // what counts as one besides the usual
  std::function<void(const std::string&)> log;
};

/// The Python processes that can be seen, ordered by PID. A process that may not be read is listed
/// if its command looks like Python's. Processes that end meanwhile are left out. Fails with Usage
/// for a pattern or user that makes no sense.
[[nodiscard]] Result<std::vector<PythonProcess>> list_python_processes(const ProcessFilter& filter);

/// These processes and all their descendants, each once, behind its parent.
[[nodiscard]] std::vector<pid_t> find_trees(std::span<const pid_t> roots);

}  // namespace pyscope
