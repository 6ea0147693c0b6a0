#include "process/other_processes.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>

#include "base/shortage.hpp"
#include "process/facts.hpp"
#include "process/proc_file.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

// Bound: looking for the other ends of pipes, and for children
constexpr std::chrono::milliseconds kMostScanTime{50};
// So many processes are looked at even when the time is up: on a busy machine our own turn may come
// later than that.
constexpr std::size_t kLeastProcesses = 256;
// Bound: processes that are looked through for other ends of pipes
constexpr std::size_t kMostProcessesScanned = 32768;
// Bound: descriptors of one of these processes
constexpr std::size_t kMostDescriptors = 4096;            // of one process
constexpr std::size_t kMostMaps = std::size_t{1} << 24U;  // bytes of one process's maps

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

Folder open_folder(const char* path) {
  Folder folder{::opendir(path), ::closedir};
  if (!folder) Shortages::note(errno);
  return folder;
}

/// The text of a small file below /proc; empty if it can't be read.
std::string read_small(const std::string& path) {
  return std::string(SmallFile(AT_FDCWD, path.c_str()).text());
}

/// The text of a file of any size up to a bound; nothing if the file can't be read whole.
std::optional<std::string> read_whole(const std::string& path) {
  auto text = read_whole_file(AT_FDCWD, path.c_str(), kMostMaps);
  if (text) return *std::move(text);
  // The process has ended, or is a kernel thread, which has no such file (Linux 6.11 on).
  if (text.error().kind == ErrorKind::NoSuchProcess) return "";
  return std::nullopt;
}

std::optional<pid_t> parse_pid(std::string_view word) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), pid);
  if (error != std::errc{} || end != word.data() + word.size() || pid <= 0) return std::nullopt;
  return pid;
}

/// All processes, ordered by how near their pids are to `near`.
std::vector<pid_t> list_nearest(pid_t near) {
  std::vector<pid_t> pids = list_pids();
  std::sort(pids.begin(), pids.end(),
            [&](pid_t a, pid_t b) { return std::abs(a - near) < std::abs(b - near); });
  return pids;
}

bool exists(pid_t pid) {
  return ::access(fmt::format("/proc/{}", pid).c_str(), F_OK) == 0;
}

/// Calls `look` for one process after the other, nearest first, within the bounds. False if a
/// process was left out, or if `look` failed for a process that still exists.
template <class Look>
bool for_each_process(pid_t near, const Look& look) {
  const auto deadline = Clock::now() + kMostScanTime;
  const std::vector<pid_t> pids = list_nearest(near);
  constexpr pid_t kInit = 1;
  // Where /proc is mounted with hidepid, it lists no processes of other users: not even init.
  bool complete = pids.size() < kMostProcessesScanned &&
                  std::find(pids.begin(), pids.end(), kInit) != pids.end();
  std::size_t looked_at = 0;
  for (const pid_t pid : pids) {
    if (++looked_at > kLeastProcesses && Clock::now() > deadline) return false;
    // Init may refuse even root, so its refusal doesn't count. Where init is part of a service, as
    // in containers, it is read like the rest of that service.
    if (!look(pid) && pid != kInit && exists(pid)) complete = false;
  }
  return complete;
}

/// Hands on the descriptors of one process that are among `links`; false if the process doesn't let
/// its descriptors be seen.
template <class Take>
bool for_each_descriptor(pid_t pid, const std::unordered_set<std::string>& links,
                         const Take& take) {
  const Folder folder = open_folder(fmt::format("/proc/{}/fd", pid).c_str());
  if (!folder) return false;
  std::size_t count = 0;
  std::string link;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] == '.') continue;
    if (++count > kMostDescriptors) return false;
    std::array<char, 256> text;  // longer than the links of pipes and sockets
    const ssize_t n = ::readlinkat(::dirfd(folder.get()), entry->d_name, text.data(), text.size());
    if (n <= 0) continue;
    link.assign(text.data(), static_cast<std::size_t>(n));
    if (!links.contains(link)) continue;
    // The permissions of the link itself are the mode in which the file was opened.
    struct stat info {};
    if (::fstatat(::dirfd(folder.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    take(link, Holder{pid, (info.st_mode & S_IRUSR) != 0, (info.st_mode & S_IWUSR) != 0});
  }
  return true;
}

}  // namespace

std::vector<pid_t> list_pids() {
  std::vector<pid_t> pids;
  const Folder proc = open_folder("/proc");
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
    if (const auto pid = parse_pid(entry->d_name)) pids.push_back(*pid);
    if (pids.size() == kMostProcessesScanned) break;
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::vector<std::pair<pid_t, pid_t>> list_parents() {
  std::vector<std::pair<pid_t, pid_t>> parents;
  for (const pid_t pid : list_pids()) {
    const auto stat = parse_stat(read_small(fmt::format("/proc/{}/stat", pid)));
    if (stat) parents.emplace_back(pid, stat->parent);
  }
  return parents;
}

std::string name_process(pid_t pid) {
  std::string name = read_small(fmt::format("/proc/{}/comm", pid));
  if (name.ends_with('\n')) name.pop_back();
  return name.empty() ? fmt::format("process {}", pid) : fmt::format("{} (pid {})", name, pid);
}

Children find_children(pid_t parent) {
  Children children;
  children.complete = for_each_process(parent, [&](pid_t pid) {
    const auto stat = parse_stat(read_small(fmt::format("/proc/{}/stat", pid)));
    if (!stat) return false;
    if (stat->parent != parent) return true;
    const std::string status = read_small(fmt::format("/proc/{}/status", pid));
    const auto ids = status_words(status, "NSpid");
    children.processes.push_back({pid, ids.empty() ? pid : parse_pid(ids.back()).value_or(pid)});
    return true;
  });
  return children;
}

OpenFiles find_holders(const std::unordered_set<std::string>& links, pid_t near, const Log& log) {
  const auto begin = Clock::now();
  OpenFiles found;
  std::size_t looked_at = 0;
  found.complete = for_each_process(near, [&](pid_t pid) {
    ++looked_at;
    return for_each_descriptor(pid, links, [&](const std::string& link, const Holder& holder) {
      std::vector<Holder>& holders = found.holders[link];
      if (holders.empty() || holders.back().pid != pid) {
        holders.push_back(holder);
      } else {
        holders.back().reads |= holder.reads;
        holders.back().writes |= holder.writes;
      }
    });
  });
  log("{} processes looked at for the other ends of {} pipes and sockets in {} us", looked_at,
      links.size(),
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count());
  return found;
}

Sharers find_sharers_of(const Mapping& mapping, pid_t near, const Log& log) {
  const auto begin = Clock::now();
  Sharers found;
  found.complete = for_each_process(near, [&](pid_t pid) {
    const auto text = read_whole(fmt::format("/proc/{}/maps", pid));
    if (!text) return false;
    const auto maps = parse_maps(*text);  // none for a kernel thread
    if (std::any_of(maps.begin(), maps.end(),
                    [&](const Mapping& other) { return other.same_file(mapping); })) {
      found.pids.push_back(pid);
    }
    return true;
  });
  log("{} processes have the memory of a semaphore mapped, found in {} us", found.pids.size(),
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count());
  return found;
}

}  // namespace pyscope
