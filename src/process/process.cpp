#include "process/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstring>
#include <memory>

#include "process/rooted_open.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD in field 9 of /proc/PID/stat

Error error_from_errno(const std::string& what, int error) {
  ErrorKind kind = ErrorKind::Failed;
  if (error == ESRCH || error == ENOENT) kind = ErrorKind::NoSuchProcess;
  if (error == EPERM || error == EACCES) kind = ErrorKind::NotPermitted;
  return {kind, fmt::format("{}: {}", what, std::strerror(error)), ""};
}

Result<std::string> read_all(int fd, const std::string& what, std::size_t limit) {
  std::string content;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(error_from_errno("reading " + what, errno));
    if (n == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(n));
    if (content.size() > limit) {
      return fail(ErrorKind::Failed, fmt::format("{} is larger than {} bytes", what, limit));
    }
  }
}

Result<std::string> read_at(int directory, const char* name, std::size_t limit) {
  const UniqueFd fd{::openat(directory, name, O_RDONLY | O_CLOEXEC)};
  if (!fd) return fail(error_from_errno(fmt::format("opening {}", name), errno));
  return read_all(fd.get(), name, limit);
}

Error no_such_process(pid_t pid) {
  return {ErrorKind::NoSuchProcess, fmt::format("there is no process {}", pid),
          "list the Python processes with: pgrep -a python"};
}

std::chrono::system_clock::time_point wall_clock_of_ticks(std::uint64_t ticks_since_boot) {
  timespec since_boot{};
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  const auto now = std::chrono::system_clock::now();
  const auto up =
      std::chrono::seconds(since_boot.tv_sec) + std::chrono::nanoseconds(since_boot.tv_nsec);
  const auto ticks_per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const auto start = std::chrono::milliseconds(ticks_since_boot * 1000 / ticks_per_second);
  return now - std::chrono::duration_cast<std::chrono::system_clock::duration>(up - start);
}

pid_t to_pid(std::string_view word) {
  pid_t pid = 0;
  std::from_chars(word.data(), word.data() + word.size(), pid);
  return pid;
}

bool same_bytes_at_start(int fd, const std::vector<std::byte>& head) {
  std::vector<std::byte> in_file(head.size());
  const ssize_t n = ::pread(fd, in_file.data(), in_file.size(), 0);
  return n >= 0 && static_cast<std::size_t>(n) == head.size() && !head.empty() && in_file == head;
}

}  // namespace

Result<Process> Process::open(pid_t pid, const Log& log) {
  Process process;
  process.pid_ = pid;
  const std::string path = fmt::format("/proc/{}", pid);
  process.directory_ = UniqueFd{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!process.directory_) {
    if (::access("/proc/self", F_OK) != 0) {
      return fail(ErrorKind::Failed, "/proc is not mounted, so no process can be looked at",
                  "mount it: mount -t proc proc /proc");
    }
    if (::kill(pid, 0) != 0 && errno != EPERM) return fail(no_such_process(pid));
    return fail(
        ErrorKind::NotPermitted,
        fmt::format("process {} exists, but /proc is mounted with hidepid and hides it", pid),
        fmt::format("run as root: sudo pyscope dump {}", pid));
  }
  process.pidfd_ = UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  log("pidfd_open({}): {}", pid, process.pidfd_ ? "ok" : std::strerror(errno));

  // These are read after the pidfd was opened and through the directory that was opened before it:
  // if they can be read, then all three mean the same process.
  auto stat_text = process.read_file("stat");
  auto status = process.read_file("status");
  if (!stat_text || !status) return fail(no_such_process(pid));
  const auto stat = parse_stat(*stat_text);
  if (!stat) return fail(ErrorKind::Failed, fmt::format("{}/stat can't be understood", path));
  process.name_ = stat->comm;
  process.started_at_ = wall_clock_of_ticks(stat->start_ticks);

  const auto tgid = status_words(*status, "Tgid");
  if (!tgid.empty() && to_pid(tgid[0]) != pid) {
    return fail(ErrorKind::NoSuchProcess,
                fmt::format("{} is a thread of process {}, not a process", pid, tgid[0]),
                fmt::format("pyscope dump {} --thread {}", tgid[0], pid));
  }
  if (stat->state == 'Z' || stat->state == 'X') {
    return fail(
        ErrorKind::NoSuchProcess,
        fmt::format("process {} ({}) has ended: it is a zombie that its parent, process {}, "
                    "has not waited for",
                    pid, stat->comm, stat->parent),
        fmt::format("look at the parent: pyscope dump {}", stat->parent));
  }
  if ((stat->flags & kKernelThreadFlag) != 0) {
    return fail(ErrorKind::Unsupported,
                fmt::format("process {} is a kernel thread ({}), not Python", pid, stat->comm));
  }
  const auto namespace_pids = status_words(*status, "NSpid");  // absent before Linux 4.1
  process.other_pid_namespace_ = namespace_pids.size() > 1;
  process.namespace_pid_ = namespace_pids.empty() ? pid : to_pid(namespace_pids.back());
  return process;
}

bool Process::ended() const {
  if (pidfd_) {
    pollfd poll{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, 0) > 0;
  }
  const auto text = read_file("stat");
  const auto stat = text ? parse_stat(*text) : std::nullopt;
  return !stat || stat->state == 'Z' || stat->state == 'X';
}

Result<std::string> Process::read_file(const char* name, std::size_t limit) const {
  return read_at(directory_.get(), name, limit);
}

Result<std::string> Process::read_link(const char* name) const {
  std::string target(PATH_MAX, '\0');
  const ssize_t n = ::readlinkat(directory_.get(), name, target.data(), target.size());
  if (n < 0) return fail(error_from_errno(fmt::format("reading the link {}", name), errno));
  target.resize(static_cast<std::size_t>(n));
  return target;
}

Result<std::vector<Mapping>> Process::maps() const {
  auto text = read_file("maps");
  if (!text) {
    if (text.error().kind == ErrorKind::NotPermitted) return fail(explain_refusal(*this));
    return fail(std::move(text).error());
  }
  return parse_maps(*text);
}

Result<UniqueFd> Process::open_mapped_file(const Mapping& mapping,
                                           const std::vector<std::byte>& head,
                                           const Log& log) const {
  // The order: what is mapped itself, which needs privileges on some kernels; then names, which can
  // mean another file by now, or in our mount namespace, and are therefore compared.
  const std::string map_file = fmt::format("map_files/{:x}-{:x}", mapping.range.start.raw(),
                                           mapping.range.start.raw() + mapping.range.size);
  std::string path = mapping.path;
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());

  struct Way {
    std::string name;
    UniqueFd fd;
    int error;
  };
  std::vector<Way> ways;
  const auto try_way = [&](std::string name, UniqueFd fd) {
    const int error = errno;
    ways.push_back({std::move(name), std::move(fd), error});
    const Way& way = ways.back();
    if (!way.fd) {
      log("  {}: {}", way.name, std::strerror(way.error));
      return false;
    }
    struct stat info {};
    if (::fstat(way.fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
      log("  {}: not a regular file", way.name);
      return false;
    }
    const bool same_device = ::major(info.st_dev) == mapping.device_major &&
                             ::minor(info.st_dev) == mapping.device_minor;
    if (info.st_ino == mapping.inode && (same_device || same_bytes_at_start(way.fd.get(), head))) {
      log("  {}: opened", way.name);
      return true;
    }
    log("  {}: another file than the one that is mapped", way.name);
    return false;
  };
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  if (try_way(map_file, UniqueFd{::openat(directory(), map_file.c_str(), kFlags)}) ||
      try_way("exe", UniqueFd{::openat(directory(), "exe", kFlags)}) ||
      try_way("root" + path, open_below_root(directory(), path)) ||
      try_way(path, UniqueFd{::open(path.c_str(), kFlags)})) {
    return std::move(ways.back().fd);
  }
  return fail(ErrorKind::NotPermitted,
              fmt::format("the file {} that process {} has mapped can't be opened", path, pid_));
}

ProcessFacts Process::facts() const {
  ProcessFacts facts;
  facts.pid = pid_;
  facts.namespace_pid = namespace_pid_;
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) facts.host = host.data();
  if (auto text = read_file("cmdline")) {
    std::string_view rest = *text;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\0');
      facts.command.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
  }
  facts.executable = read_link("exe").value_or("");
  facts.started_at = started_at_;
  facts.captured_at = std::chrono::system_clock::now();
  return facts;
}

std::vector<Task> Process::tasks(bool system_calls) const {
  std::vector<Task> tasks;
  const int list = ::openat(directory(), "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list < 0) return tasks;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries{::fdopendir(list), ::closedir};
  if (!entries) {
    ::close(list);
    return tasks;
  }
  static const auto microseconds_per_tick =
      1'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  while (const dirent* entry = ::readdir(entries.get())) {
    Task task;
    task.tid = to_pid(entry->d_name);
    if (task.tid == 0) continue;
    const std::string folder = entry->d_name;
    const auto text = read_at(::dirfd(entries.get()), (folder + "/stat").c_str(), 4096);
    const auto stat = text ? parse_stat(*text) : std::nullopt;
    if (!stat) continue;  // ended since it was listed
    task.os_name = stat->comm;
    task.state = stat->state;
    task.cpu_time_us = stat->cpu_ticks * microseconds_per_tick;
    task.namespace_tid = task.tid;
    if (other_pid_namespace_) {
      if (auto status = read_at(::dirfd(entries.get()), (folder + "/status").c_str(), 1U << 16U)) {
        const auto ids = status_words(*status, "NSpid");
        if (!ids.empty()) task.namespace_tid = to_pid(ids.back());
      }
    }
    if (system_calls && task.state != 'R') {
      if (auto call = read_at(::dirfd(entries.get()), (folder + "/syscall").c_str(), 4096)) {
        task.system_call = parse_system_call(*call);
        // "running": it woke up since its state was read.
        if (!task.system_call) task.state = 'R';
      }
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

std::optional<std::uint64_t> Process::switches_at_rest(pid_t tid) const {
  const std::string folder = fmt::format("task/{}/", tid);
  const auto count = [&]() -> std::optional<std::uint64_t> {
    const auto status = read_file((folder + "status").c_str(), 1U << 16U);
    if (!status) return std::nullopt;
    return count_switches(*status);
  };
  const auto before = count();
  if (!before) return std::nullopt;
  const auto call = read_file((folder + "syscall").c_str(), 4096);
  if (!call || !parse_system_call(*call)) return std::nullopt;
  return count() == before ? before : std::nullopt;
}

}  // namespace pyscope
