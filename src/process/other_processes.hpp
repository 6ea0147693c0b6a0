// Facts about processes other than the target: their names, their parents, and which of them have a
// pipe or a socket open. Only processes that the caller may read are seen, and only within bounds:
// the other end of a pipe isn't worth a long wait.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "process/maps.hpp"

namespace pyscope {

/// "sort (pid 4711)", with the command name, which may hold any byte; "process 4711" if the name
/// can't be read.
[[nodiscard]] std::string name_process(pid_t pid);

/// All processes in /proc, ordered by their pids. Of more than some ten thousand, not all.
[[nodiscard]] std::vector<pid_t> list_pids();

/// Each process with its parent, which is 0 if the parent is in another pid namespace.
[[nodiscard]] std::vector<std::pair<pid_t, pid_t>> list_parents();

struct ChildProcess {
  pid_t pid = 0;
  pid_t namespace_pid = 0;  // in its own pid namespace
};

struct Children {
  std::vector<ChildProcess> processes;
  bool complete = true;  // all processes were looked at, and none could be hidden
};

/// The children of a process that haven't been waited for yet.
[[nodiscard]] Children find_children(pid_t parent);

/// A process that has a file open.
struct Holder {
  pid_t pid = 0;
  bool reads = false;  // the descriptor is open for reading
  bool writes = false;
};

struct OpenFiles {
  std::unordered_map<std::string, std::vector<Holder>> holders;  // by link
  bool complete = true;  // all processes were looked at, and none refused
};

/// The processes that have open the files whose links in /proc/PID/fd are in `links`
/// ("pipe:[123]"). Processes with pids near to `near` come first, since processes that share a pipe
/// were mostly started together. Some hundred are looked at in any case, further ones until the
/// time is up.
[[nodiscard]] OpenFiles find_holders(const std::unordered_set<std::string>& links, pid_t near,
                                     const Log& log);

struct Sharers {
  std::vector<pid_t> pids;
  bool complete = true;
};

/// The processes that have the file of this mapping mapped, in the same order and within the same
/// bounds.
[[nodiscard]] Sharers find_sharers_of(const Mapping& mapping, pid_t near, const Log& log);

}  // namespace pyscope
