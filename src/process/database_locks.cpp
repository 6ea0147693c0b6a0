#include "process/database_locks.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/file_name.hpp"
#include "process/other_processes.hpp"
#include "process/proc_file.hpp"
#include "process/words.hpp"

namespace pyscope {
namespace {

constexpr std::string_view kIndexSuffix = "-shm";

/// "3: POSIX  ADVISORY  WRITE 4711 fd:01:393243 1073741824 1073742335", as a range of bytes.
struct RangeLock {
  bool writes = false;
  pid_t pid = 0;
  std::uint64_t inode = 0;
  std::uint64_t begin = 0;
  std::uint64_t last = 0;
  [[nodiscard]] bool within(std::uint64_t from, std::uint64_t to) const {
    return begin >= from && last <= to;
  }
  [[nodiscard]] bool covers(std::uint64_t byte) const { return begin <= byte && byte <= last; }
};

std::optional<RangeLock> parse_range_lock(std::string_view text) {
  RangeLock lock;
  next_word(text);  // the lock's number
  const std::string_view kind = next_word(text);
  next_word(text);  // ADVISORY
  lock.writes = next_word(text) == "WRITE";
  const auto pid = to_number<pid_t>(next_word(text));
  const std::string_view file = next_word(text);
  const auto inode = to_number<std::uint64_t>(file.substr(file.rfind(':') + 1));
  const auto begin = to_number<std::uint64_t>(next_word(text));
  const auto last = to_number<std::uint64_t>(next_word(text));  // no number: "EOF"
  if (kind != "POSIX" || !pid || *pid <= 0 || !inode || !begin || !last) return std::nullopt;
  lock.pid = *pid;
  lock.inode = *inode;
  lock.begin = *begin;
  lock.last = *last;
  return lock;
}

// In the database's file: PENDING_BYTE, RESERVED_BYTE, and SHARED_SIZE bytes for those who read.
constexpr std::uint64_t kPending = 0x4000'0000;
constexpr std::uint64_t kShared = kPending + 2;
constexpr std::uint64_t kLastShared = kShared + 509;
// In the "-shm" file: eight locks, of which the first is WAL_WRITE_LOCK.
constexpr std::uint64_t kIndexWrite = 120;
constexpr std::uint64_t kIndexLast = 127;

}  // namespace

std::vector<DatabaseLock> find_database_locks(std::string_view locks, pid_t waiter) {
  std::vector<RangeLock> ranges;
  std::vector<std::uint64_t> written;  // databases that `waiter` itself is about to write
  while (!locks.empty()) {
    const std::size_t end = locks.find('\n');
    const auto lock = parse_range_lock(locks.substr(0, end));
    locks.remove_prefix(end == std::string_view::npos ? locks.size() : end + 1);
    if (!lock) continue;
    ranges.push_back(*lock);
    const bool writes = lock->writes && lock->within(kPending, kLastShared);
    if (writes && lock->pid == waiter) written.push_back(lock->inode);
  }
  std::vector<DatabaseLock> found;
  for (const RangeLock& lock : ranges) {
    if (lock.pid == waiter) continue;
    const bool in_database = lock.within(kPending, kLastShared);
    const bool in_index =
        lock.writes && lock.within(kIndexWrite, kIndexLast) && lock.covers(kIndexWrite);
    // Those who read keep only a writer from what it wants.
    const bool keeps = in_database && (lock.writes || std::find(written.begin(), written.end(),
                                                                lock.inode) != written.end());
    if (!keeps && !in_index) continue;
    const DatabaseLock database{lock.inode, lock.pid, in_index};
    if (std::find(found.begin(), found.end(), database) == found.end()) found.push_back(database);
  }
  return found;
}

std::string name_locked_database(const Process& process) {
  constexpr std::size_t kMostText = std::size_t{4} << 20U;
  constexpr int kMostDescriptors = 65'536;
  const auto text = read_file_start(AT_FDCWD, "/proc/locks", kMostText);
  if (!text) return {};
  const auto locks = find_database_locks(*text, process.pid());
  if (locks.empty()) return {};
  const int folder = ::openat(process.directory(), "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return {};
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(folder), &::closedir);
  if (!list) {
    ::close(folder);
    return {};
  }
  std::string path;
  std::vector<pid_t> holders;
  for (int seen = 0; seen < kMostDescriptors; ++seen) {
    const dirent* entry = ::readdir(list.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] == '.') continue;
    const std::string name = fmt::format("fd/{}", &entry->d_name[0]);
    struct statx info {};
    if (::statx(process.directory(), name.c_str(), AT_STATX_DONT_SYNC, STATX_INO, &info) != 0) {
      continue;
    }
    for (const DatabaseLock& lock : locks) {
      if (lock.inode != info.stx_ino) continue;
      std::string opened = process.read_link(name.c_str()).value_or("");
      if (!opened.starts_with('/') || opened.ends_with(kIndexSuffix) != lock.in_index) continue;
      if (lock.in_index) opened.resize(opened.size() - kIndexSuffix.size());
      if (!path.empty() && path != opened) return {};
      path = std::move(opened);
      if (std::find(holders.begin(), holders.end(), lock.holder) == holders.end())
        holders.push_back(lock.holder);
    }
  }
  if (holders.empty()) return {};
  std::string words = fmt::format("the SQLite database {}, locked by {}", file_name(path),
                                  name_process(holders.front()));
  if (holders.size() > 1) words += fmt::format(" and {} others", holders.size() - 1);
  return words;
}

}  // namespace pyscope
