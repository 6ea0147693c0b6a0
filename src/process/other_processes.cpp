#include "process/other_processes.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>

#include "process/facts.hpp"
#include "process/unique_fd.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kMostTime{50};
// So many are looked at in any case: on a busy machine the time may be up before it was ours.
constexpr std::size_t kLeastProcesses = 256;
constexpr std::size_t kMostProcesses = 32768;
constexpr std::size_t kMostDescriptors = 4096;  // of one process

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

Folder open_folder(const char* path) {
  return {::opendir(path), ::closedir};
}

/// The text of a small file below /proc; empty if it can't be read.
std::string read_small(const std::string& path) {
  const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::array<char, 4096> buffer;
  const ssize_t n = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : -1;
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string{};
}

std::optional<pid_t> to_pid(std::string_view word) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), pid);
  if (error != std::errc{} || end != word.data() + word.size() || pid <= 0) return std::nullopt;
  return pid;
}

/// All processes, those first whose pids are nearest to `near`.
std::vector<pid_t> list_processes(pid_t near) {
  std::vector<pid_t> pids;
  const Folder proc = open_folder("/proc");
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
    if (const auto pid = to_pid(entry->d_name)) pids.push_back(*pid);
    if (pids.size() == kMostProcesses) break;
  }
  std::sort(pids.begin(), pids.end(),
            [&](pid_t a, pid_t b) { return std::abs(a - near) < std::abs(b - near); });
  return pids;
}

/// The descriptors of one process that are among `links`.
template <class Take>
void for_each_descriptor(pid_t pid, const std::unordered_set<std::string>& links,
                         const Take& take) {
  const Folder folder = open_folder(fmt::format("/proc/{}/fd", pid).c_str());
  if (!folder) return;
  std::size_t count = 0;
  std::string link;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] == '.') continue;
    if (++count > kMostDescriptors) return;
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
}

}  // namespace

std::string name_process(pid_t pid) {
  std::string name = read_small(fmt::format("/proc/{}/comm", pid));
  if (name.ends_with('\n')) name.pop_back();
  return name.empty() ? fmt::format("process {}", pid) : fmt::format("{} (pid {})", name, pid);
}

std::vector<ChildProcess> find_children(pid_t parent) {
  const auto deadline = Clock::now() + kMostTime;
  std::vector<ChildProcess> children;
  std::size_t looked_at = 0;
  for (const pid_t pid : list_processes(parent)) {
    if (++looked_at > kLeastProcesses && Clock::now() > deadline) break;
    const auto stat = parse_stat(read_small(fmt::format("/proc/{}/stat", pid)));
    if (!stat || stat->parent != parent) continue;
    const std::string status = read_small(fmt::format("/proc/{}/status", pid));
    const auto ids = status_words(status, "NSpid");
    children.push_back({pid, ids.empty() ? pid : to_pid(ids.back()).value_or(pid)});
  }
  return children;
}

std::unordered_map<std::string, std::vector<Holder>> find_holders(
    const std::unordered_set<std::string>& links, pid_t near, const Log& log) {
  const auto begin = Clock::now();
  const std::vector<pid_t> pids = list_processes(near);
  std::unordered_map<std::string, std::vector<Holder>> found;
  std::size_t looked_at = 0;
  for (const pid_t pid : pids) {
    if (looked_at >= kLeastProcesses && Clock::now() > begin + kMostTime) break;
    ++looked_at;
    for_each_descriptor(pid, links, [&](const std::string& link, const Holder& holder) {
      std::vector<Holder>& holders = found[link];
      if (holders.empty() || holders.back().pid != pid) {
        holders.push_back(holder);
      } else {
        holders.back().reads |= holder.reads;
        holders.back().writes |= holder.writes;
      }
    });
  }
  log("{} of {} processes looked at for the other ends of {} pipes and sockets in {} us", looked_at,
      pids.size(), links.size(),
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count());
  return found;
}

}  // namespace pyscope
