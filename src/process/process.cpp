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
#include <iterator>
#include <memory>
#include <system_error>
#include <thread>

#include "base/kernel_call.hpp"
#include "process/permission.hpp"
#include "process/proc_file.hpp"
#include "process/rooted_open.hpp"
#include "pyscope/command_hint.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD in field 9 of /proc/PID/stat

/// Replaces the number of restart_syscall by that of the original call, if the thread's file
/// `wchan` (a path below `directory`) tells which call that is.
void find_restarted_call(int directory, const char* wchan, SystemCall& call) {
  call.number = restarted_call(SmallFile(directory, wchan).text()).value_or(call.number);
}

Error no_such_process(pid_t pid) {
  return with_command_hint(ErrorKind::NoSuchProcess, fmt::format("there is no process {}", pid),
                           {.action = CommandHint::Action::ListProcesses});
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
  const ssize_t n = pread_noted(fd, in_file.data(), in_file.size(), 0);
  return n >= 0 && static_cast<std::size_t>(n) == head.size() && !head.empty() && in_file == head;
}

}  // namespace

namespace {

/// Whether the process exists but isn't visible in /proc. A process that is visible now is another
/// one, which got the PID after the first look-up failed.
bool is_hidden(pid_t pid) {
  if (::kill(pid, 0) != 0 && errno != EPERM) return false;
  return ::access(fmt::format("/proc/{}/stat", pid).c_str(), F_OK) != 0;
}

}  // namespace

Result<Process> Process::open(pid_t pid, const Log& log) {
  Process process;
  process.pid_ = pid;
  const std::string path = fmt::format("/proc/{}", pid);
  process.directory_ = UniqueFd{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!process.directory_) {
    if (is_shortage(errno)) return fail(Shortages::error());
    if (::access("/proc/self", F_OK) != 0) {
      return fail(ErrorKind::Failed, "/proc is not mounted, so no process can be looked at",
                  "mount it: mount -t proc proc /proc");
    }
    if (!is_hidden(pid)) return fail(no_such_process(pid));
    return fail(explain_hidden(pid));
  }
  process.pidfd_ = UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  log("pidfd_open({}): {}", pid, process.pidfd_ ? "ok" : std::strerror(errno));

  process.address_space_ = UniqueFd{::openat(process.directory(), "mem", O_RDONLY | O_CLOEXEC)};

  // These files are read after the pidfd was opened, through a directory that was opened before. So
  // if they can be read, pidfd, directory and files all mean the same process.
  const SmallFile stat_text(process.directory(), "stat");
  const SmallFile status(process.directory(), "status");
  if (!stat_text || !status) {
    if (stat_text.unanswered() || status.unanswered()) {
      return fail(ErrorKind::Failed, fmt::format("the kernel gives no answer about {}", path));
    }
    // With hidepid=invisible the folder itself can be opened, and seems to be empty.
    if (stat_text.denied() || status.denied() || is_hidden(pid)) return fail(explain_hidden(pid));
    return fail(no_such_process(pid));
  }
  const auto stat = parse_stat(stat_text.text());
  if (!stat) return fail(ErrorKind::Failed, fmt::format("{}/stat can't be understood", path));
  process.name_ = stat->comm;
  process.started_at_ = wall_clock_of_ticks(stat->start_ticks);

  const auto tgid = status_words(status.text(), "Tgid");
  if (!tgid.empty() && to_pid(tgid[0]) != pid) {
    return fail(
        ErrorKind::NoSuchProcess,
        fmt::format("{} is a thread of process {}, not a process", pid, tgid[0]),
        CommandHint{
            .action = CommandHint::Action::ShowThread, .pid = to_pid(tgid[0]), .thread = pid});
  }
  if (stat->state == 'Z' || stat->state == 'X') {
    return fail(
        ErrorKind::NoSuchProcess,
        fmt::format("process {} ({}) has ended: it is a zombie that its parent, process {}, "
                    "has not waited for",
                    pid, stat->comm, stat->parent),
        CommandHint{.action = CommandHint::Action::ShowParent, .pid = stat->parent});
  }
  if ((stat->flags & kKernelThreadFlag) != 0) {
    return fail(ErrorKind::Unsupported,
                fmt::format("process {} is a kernel thread ({}), not Python", pid, stat->comm));
  }
  const auto namespace_pids = status_words(status.text(), "NSpid");  // absent before Linux 4.1
  process.other_pid_namespace_ = namespace_pids.size() > 1;
  process.namespace_pid_ = namespace_pids.empty() ? pid : to_pid(namespace_pids.back());
  return process;
}

bool Process::ended() const {
  if (pidfd_) {
    pollfd poll{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, 0) > 0;
  }
  const auto stat = parse_stat(SmallFile(directory(), "stat").text());
  return !stat || stat->state == 'Z' || stat->state == 'X';
}

bool Process::replaced_program() const {
  if (!address_space_) return false;
  // A descriptor of mem stays with the address space that the process had when mem was opened. Once
  // nobody uses that address space, a read finds the end of the file. Before, a read at address 0
  // fails, since nothing is mapped there.
  std::array<char, 1> byte{};
  return ::pread(address_space_.get(), byte.data(), byte.size(), 0) == 0;
}

bool Process::read_memory(RemoteAddr at, std::span<std::byte> bytes) const {
  if (!address_space_ || at.raw() > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()))
    return false;
  // An address of the target, which is never followed here.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  const iovec range{reinterpret_cast<void*>(at.raw()), bytes.size()};
  const KernelCall call(pid_, {&range, 1});
  if (!call) return false;
  const ssize_t n =
      ::pread(address_space_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at.raw()));
  return n >= 0 && static_cast<std::size_t>(n) == bytes.size();
}

Result<std::string> Process::read_file(const char* name, std::size_t limit) const {
  return read_whole_file(directory_.get(), name, limit);
}

bool Process::forked_without_exec() const {
  constexpr std::uint64_t kForkedWithoutExec = 0x40;  // PF_FORKNOEXEC
  const auto text = read_file("stat");
  const auto stat = text ? parse_stat(*text) : std::nullopt;
  return stat && (stat->flags & kForkedWithoutExec) != 0;
}

Result<std::string> Process::read_link(const char* name) const {
  std::string target(PATH_MAX, '\0');
  const ssize_t n = ::readlinkat(directory_.get(), name, target.data(), target.size());
  if (n < 0) return fail(error_from_errno(fmt::format("reading the link {}", name), errno));
  target.resize(static_cast<std::size_t>(n));
  return target;
}

bool Process::shares_namespace(const char* kind) const {
  std::array<char, 64> theirs{};
  std::array<char, 64> ours{};
  const auto size =
      ::readlinkat(directory(), fmt::format("ns/{}", kind).c_str(), theirs.data(), theirs.size());
  const auto own_size =
      ::readlink(fmt::format("/proc/self/ns/{}", kind).c_str(), ours.data(), ours.size());
  return size == own_size && theirs == ours;
}

Result<std::vector<Mapping>> Process::maps() const {
  auto text = read_file("maps");
  if (!text) {
    if (text.error().kind == ErrorKind::NotPermitted)
      return fail(explain_refusal(*this, RefusedStep::Listing));
    return fail(std::move(text).error());
  }
  return parse_maps(*text);
}

Result<UniqueFd> Process::open_mapped_file(const Mapping& mapping,
                                           const std::vector<std::byte>& head,
                                           const Log& log) const {
  // First the mapped file itself is tried, which needs privileges on some kernels. Then come names.
  // A name may mean another file by now, or another one in our mount namespace, so the file is
  // compared.
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
      log("  {}: {}", way.name,
          way.error == EINVAL ? "not a regular file" : std::strerror(way.error));
      return false;
    }
    struct stat info {};
    if (fstat_noted(way.fd.get(), info) != 0) return false;
    const bool same_device = ::major(info.st_dev) == mapping.device_major &&
                             ::minor(info.st_dev) == mapping.device_minor;
    if (info.st_ino == mapping.inode && (same_device || same_bytes_at_start(way.fd.get(), head))) {
      log("  {}: opened", way.name);
      return true;
    }
    log("  {}: another file than the one that is mapped", way.name);
    return false;
  };
  // The target chooses the names, and may have mapped a device: nothing but a regular file is
  // opened.
  const auto open_regular = [](int folder, const std::string& name) {
    return open_if_regular(UniqueFd{open_noted(folder, name.c_str(), O_PATH | O_CLOEXEC)});
  };
  if (try_way(map_file, open_regular(directory(), map_file)) ||
      try_way("exe", open_regular(directory(), "exe")) ||
      try_way("root" + path, open_below_root(directory(), path)) ||
      try_way(path, open_regular(AT_FDCWD, path))) {
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
  if (const auto text = read_file_start(directory(), "cmdline", kMostCommandBytes)) {
    facts.command = parse_command_line(*text);
  }
  facts.executable = read_link("exe").value_or("");
  facts.started_at = started_at_;
  facts.captured_at = std::chrono::system_clock::now();
  return facts;
}

std::optional<Task> Process::read_task(int list, pid_t tid, bool system_calls) const {
  // The buffer avoids an allocation for each thread: there may be thousands.
  std::array<char, 32> path{};
  const auto name = [&](std::string_view file) {
    *fmt::format_to_n(path.data(), path.size() - 1, "{}/{}", tid, file).out = '\0';
    return path.data();
  };
  Task task;
  // The count is read before all else: if it is the same later, then all of this was so in between.
  if (system_calls) {
    if (const auto stats = parse_schedstat(SmallFile(list, name("schedstat")).text())) {
      task.run_delay_us = stats->run_delay_us;
      task.times_scheduled = stats->times_scheduled;
    }
  }
  const auto stat = parse_stat(SmallFile(list, name("stat")).text());
  if (!stat) return std::nullopt;  // ended since it was listed
  task.tid = tid;
  task.namespace_tid = tid;
  task.os_name = stat->comm;
  task.state = stat->state;
  task.cpu_time_us = cpu_time_us(*stat);
  if (other_pid_namespace_) {
    if (const SmallFile status(list, name("status")); status) {
      const auto ids = status_words(status.text(), "NSpid");
      if (!ids.empty()) task.namespace_tid = to_pid(ids.back());
    }
  }
  if (system_calls && task.state != 'R') {
    if (const SmallFile call(list, name("syscall")); call) {
      task.system_call = parse_system_call(call.text());
      if (!task.system_call) {
        task.state = 'R';  // "running": it woke up since its state was read
      } else if (task.system_call->number == SYS_restart_syscall) {
        find_restarted_call(list, name("wchan"), *task.system_call);
      }
    }
  }
  return task;
}

std::optional<Task> Process::task(pid_t tid) const {
  const UniqueFd list{::openat(directory(), "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  return list ? read_task(list.get(), tid, true) : std::nullopt;
}

std::vector<Task> Process::tasks(bool system_calls) const {
  const UniqueFd list{::openat(directory(), "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const int second = list ? ::fcntl(list.get(), F_DUPFD_CLOEXEC, 0) : -1;
  if (second < 0) {
    if (list) Shortages::note(errno);
    return {};
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> entries{::fdopendir(second), ::closedir};
  if (!entries) {
    Shortages::note(errno);
    ::close(second);
    return {};
  }
  std::vector<pid_t> tids;
  while (const dirent* entry = ::readdir(entries.get())) {
    if (const pid_t tid = to_pid(entry->d_name); tid != 0) tids.push_back(tid);
  }

  // The kernel needs some ten microseconds for each thread, so hundreds are read by several threads
  // of ours.
  constexpr std::size_t kEach = 128;
  constexpr std::size_t kMostReaders = 4;
  const std::size_t readers = std::clamp<std::size_t>(
      std::min<std::size_t>(tids.size() / kEach, std::thread::hardware_concurrency()), 1,
      kMostReaders);
  std::vector<std::vector<Task>> parts(readers);
  const auto read_part = [&](std::size_t part) {
    const std::size_t begin = tids.size() * part / readers;
    const std::size_t end = tids.size() * (part + 1) / readers;
    parts[part].reserve(end - begin);
    for (std::size_t i = begin; i < end; ++i) {
      if (auto task = read_task(list.get(), tids[i], system_calls))
        parts[part].push_back(*std::move(task));
    }
  };
  std::vector<std::thread> others;
  others.reserve(readers);
  std::size_t started = 1;
  try {
    for (; started < readers; ++started)
      others.emplace_back(read_part, started);
  } catch (const std::system_error&) {
    // The machine, or a limit, has no more threads for us: this one reads their parts, too.
  }
  read_part(0);
  for (std::size_t part = started; part < readers; ++part)
    read_part(part);
  for (std::thread& other : others)
    other.join();
  std::vector<Task> tasks = std::move(parts[0]);
  for (std::size_t part = 1; part < readers; ++part)
    std::move(parts[part].begin(), parts[part].end(), std::back_inserter(tasks));
  return tasks;
}

std::optional<std::uint64_t> Process::times_scheduled(pid_t tid) const {
  const std::string path = fmt::format("task/{}/schedstat", tid);
  const auto stats = parse_schedstat(SmallFile(directory(), path.c_str()).text());
  return stats ? std::optional(stats->times_scheduled) : std::nullopt;
}

std::optional<SystemCall> Process::system_call(pid_t tid) const {
  const std::string folder = fmt::format("task/{}/", tid);
  auto call = parse_system_call(SmallFile(directory(), (folder + "syscall").c_str()).text());
  if (call && call->number == SYS_restart_syscall) {
    find_restarted_call(directory(), (folder + "wchan").c_str(), *call);
  }
  return call;
}

std::optional<std::uint64_t> Process::switches_at_rest(pid_t tid) const {
  const std::string folder = fmt::format("task/{}/", tid);
  const auto count = [&]() -> std::optional<std::uint64_t> {
    return count_switches(SmallFile(directory(), (folder + "status").c_str()).text());
  };
  const auto before = count();
  if (!before) return std::nullopt;
  const SmallFile call(directory(), (folder + "syscall").c_str());
  if (!parse_system_call(call.text())) return std::nullopt;
  return count() == before ? before : std::nullopt;
}

}  // namespace pyscope
