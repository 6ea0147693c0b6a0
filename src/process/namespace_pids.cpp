#include "process/namespace_pids.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/unique_fd.hpp"
#include "process/cgroup.hpp"
#include "process/facts.hpp"
#include "process/other_processes.hpp"
#include "process/words.hpp"
#include "pyscope/invocation.hpp"

namespace pyscope {
namespace {

std::string read_start(const std::string& path) {
  const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::array<char, 4096> buffer;
  const ssize_t n = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : -1;
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string{};
}

}  // namespace

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
    const std::string status = read_start(fmt::format("/proc/{}/status", pid));
    if (!has_inner_pid(status, inner)) continue;
    const auto stat = parse_stat(read_start(fmt::format("/proc/{}/stat", pid)));
    found.push_back({pid, stat ? stat->comm : "?",
                     parse_cgroup(read_start(fmt::format("/proc/{}/cgroup", pid))).container});
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
  error.hint = found.size() == 1
                   ? "pyscope " + shell_command(invocation_for(invocation(), pid, found[0].pid))
                   : "take the PID that it has here, which the first column of this has (INSIDE "
                     "is the other one): pyscope ps";
  return error;
}

}  // namespace pyscope
