#include "process/namespace_pids.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "process/cgroup.hpp"
#include "process/facts.hpp"
#include "process/other_processes.hpp"
#include "process/proc_file.hpp"
#include "process/words.hpp"
#include "pyscope/command_hint.hpp"

namespace pyscope {
std::string name_container(const std::string& container) {
  // A container's id has so many hexadecimal digits.
  constexpr std::size_t kIdDigits = 64;
  constexpr std::size_t kShownDigits = 12;
  return "container " +
         (container.size() == kIdDigits ? container.substr(0, kShownDigits) : container);
}

bool has_inner_pid(std::string_view status, pid_t inner) {
  const auto pids = status_words(status, "NSpid");
  return pids.size() > 1 && std::any_of(pids.begin() + 1, pids.end(), [&](std::string_view word) {
           return to_number<pid_t>(word) == inner;
         });
}

std::vector<InnerProcess> find_inner_pid(pid_t inner) {
  std::vector<InnerProcess> found;
  for (const pid_t pid : list_pids()) {
    const SmallFile status(AT_FDCWD, fmt::format("/proc/{}/status", pid).c_str());
    if (!has_inner_pid(status.text(), inner)) continue;
    const SmallFile stat_text(AT_FDCWD, fmt::format("/proc/{}/stat", pid).c_str());
    const auto stat = parse_stat(stat_text.text());
    const SmallFile cgroup(AT_FDCWD, fmt::format("/proc/{}/cgroup", pid).c_str());
    found.push_back({pid, stat ? stat->comm : "?", parse_cgroup(cgroup.text()).container});
  }
  std::sort(found.begin(), found.end(),
            [](const InnerProcess& a, const InnerProcess& b) { return a.pid < b.pid; });
  return found;
}

Error with_inner_processes(Error error, pid_t pid, const std::vector<InnerProcess>& found) {
  if (found.empty()) return error;
  // Every container has a PID 1. A few of them are enough to show which processes are meant.
  constexpr std::size_t kMostNamed = 3;
  error.message += fmt::format("; PID {} exists inside ", pid);
  for (std::size_t i = 0; i < std::min(found.size(), kMostNamed); ++i) {
    const InnerProcess& process = found[i];
    error.message += fmt::format(
        "{}{} as host PID {} ({})", i == 0 ? "" : ", ",
        process.container.empty() ? "another pid namespace" : name_container(process.container),
        process.pid, process.name);
  }
  if (found.size() > kMostNamed) {
    error.message += fmt::format(", and {} more", found.size() - kMostNamed);
  }
  return with_command_hint(
      error.kind, std::move(error.message),
      found.size() == 1
          ? CommandHint{.action = CommandHint::Action::UsePidHere,
                        .pid = found[0].pid,
                        .named_pid = pid}
          : CommandHint{.action = CommandHint::Action::ListPidsHere, .named_pid = pid});
}

}  // namespace pyscope
