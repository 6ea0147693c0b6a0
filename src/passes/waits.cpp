#include "passes/waits.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <limits>
#include <string>
#include <utility>

#include "memory/page_cache.hpp"
#include "process/database_locks.hpp"
#include "process/descriptors.hpp"
#include "process/other_processes.hpp"
#include "process/system_calls.hpp"

namespace pyscope {
namespace {

// Bound: descriptors of a poll
constexpr std::uint64_t kMostPolled = 64;  // of an array of struct pollfd
// Bound: descriptors of a select
constexpr std::uint64_t kMostInSets = 4096;            // bits of a set of select
constexpr std::uint64_t kMostPath = 4096;              // PATH_MAX, with the zero byte
constexpr std::size_t kMostChildren = 4;               // that are named
constexpr std::uint64_t kMostSeconds = 1'000'000'000;  // of a timeout; more is for ever

/// The kernel looks at the lower half of an argument that is an int.
int to_int(std::uint64_t argument) {
  return std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(argument));
}

/// A thread in a system call, and what is found out about it.
struct BlockedCall {
  const Task* task = nullptr;
  const SystemCall* call = nullptr;
  const BlockingCall* known = nullptr;  // nullptr: none that is known to block
  Wait wait;
  std::vector<int> descriptors;        // that a poll or select waits for, as far as they are named
  std::uint64_t descriptor_count = 0;  // of all of them

  [[nodiscard]] Subject subject() const {
    return known == nullptr ? Subject::None : known->subject;
  }
  [[nodiscard]] std::uint64_t argument(std::size_t i) const { return call->arguments.at(i); }
};

/// The parts of a system call's arguments that lie in memory.
class Arguments {
 public:
  explicit Arguments(const BudgetedMemory& memory) : cache_(memory, kBudget) {}

  /// Fetches what the calls refer to in one go.
  void prefetch(const std::vector<BlockedCall>& calls) const {
    std::vector<RemoteRange> ranges;
    const auto want = [&](std::uint64_t at, std::uint64_t size) {
      if (at != 0) ranges.push_back({RemoteAddr{at}, size});
    };
    for (const BlockedCall& call : calls) {
      switch (call.subject()) {
        case Subject::PollArray:
          want(call.argument(0), std::min(call.argument(1), kMostPolled) * sizeof(pollfd));
          break;
        case Subject::DescriptorSets:
          for (std::size_t set = 1; set <= 3; ++set)
            want(call.argument(set), set_size(call.argument(0)));
          break;
        case Subject::Path:
          want(call.argument(0), 1);
          break;
        case Subject::PathAt:
          want(call.argument(1), 1);
          break;
        case Subject::Signals:
          want(call.argument(0), sizeof(std::uint64_t));
          break;
        case Subject::Connection:
          want(call.argument(1), 2);
          break;
        default:
          break;
      }
      if (has_timeout_in_memory(call)) {
        want(call.argument(call.known->timeout_argument), 2 * sizeof(std::uint64_t));
      }
    }
    cache_.fetch(ranges);
  }

  /// The descriptors of an array of struct pollfd: up to kMostPolled of them.
  [[nodiscard]] std::vector<int> polled(std::uint64_t at, std::uint64_t count) const {
    std::vector<pollfd> array(std::min(count, kMostPolled));
    if (!cache_.read(RemoteAddr{at}, std::as_writable_bytes(std::span(array)))) return {};
    std::vector<int> descriptors;
    for (const pollfd& one : array) {
      if (one.fd >= 0) descriptors.push_back(one.fd);  // poll leaves out negative ones
    }
    return descriptors;
  }

  /// The descriptors that are in any of the three sets of a select.
  [[nodiscard]] std::vector<int> selected(const BlockedCall& call) const {
    std::vector<std::uint64_t> any(set_size(call.argument(0)) / sizeof(std::uint64_t));
    std::vector<std::uint64_t> set(any.size());
    for (std::size_t i = 1; i <= 3; ++i) {
      if (call.argument(i) == 0) continue;
      if (!cache_.read(RemoteAddr{call.argument(i)}, std::as_writable_bytes(std::span(set)))) {
        continue;
      }
      for (std::size_t word = 0; word < any.size(); ++word)
        any[word] |= set[word];
    }
    constexpr unsigned kBits = 64;
    std::vector<int> descriptors;
    for (std::uint64_t fd = 0; fd < std::min(call.argument(0), kMostInSets); ++fd) {
      if ((any[fd / kBits] >> (fd % kBits) & 1U) != 0) descriptors.push_back(static_cast<int>(fd));
    }
    return descriptors;
  }

  /// A path; empty if it can't be read or isn't one.
  [[nodiscard]] std::string path(std::uint64_t at) const {
    std::string path;
    std::vector<char> bytes;
    while (path.size() < kMostPath) {
      const auto here = RemoteAddr{at}.plus(path.size());
      if (!here) return {};
      // To the end of its page: the next one may not be there.
      bytes.resize(PageCache::kPageSize - here->raw() % PageCache::kPageSize);
      if (!cache_.read(*here, std::as_writable_bytes(std::span(bytes)))) return {};
      const auto end = std::find(bytes.begin(), bytes.end(), '\0');
      path.append(bytes.begin(), end);
      if (end != bytes.end()) return path.size() < kMostPath ? path : std::string{};
    }
    return {};
  }

  [[nodiscard]] std::optional<std::uint64_t> word(std::uint64_t at) const {
    const auto value = read_as<std::uint64_t>(cache_, RemoteAddr{at});
    return value ? std::optional{*value} : std::nullopt;
  }

  /// The path in a unix socket's address, with an "@" in front of an abstract name; empty for an
  /// address of another kind.
  [[nodiscard]] std::string unix_path(std::uint64_t at, std::uint64_t size) const {
    constexpr std::size_t kPath = offsetof(sockaddr_un, sun_path);
    std::array<char, sizeof(sockaddr_un)> bytes{};
    const auto part = std::span(bytes).first(std::min<std::uint64_t>(size, bytes.size()));
    if (part.size() <= kPath || !cache_.read(RemoteAddr{at}, std::as_writable_bytes(part))) {
      return {};
    }
    sa_family_t family = 0;
    std::memcpy(&family, bytes.data(), sizeof family);
    if (family != AF_UNIX) return {};
    std::string name(part.begin() + kPath, part.end());
    if (name.front() == '\0') {
      std::replace(name.begin(), name.end(), '\0', '@');
    } else {
      name.resize(std::min(name.find('\0'), name.size()));
    }
    return name;
  }

  /// How long the call waits at most, in microseconds; empty: for ever, or not known. For one with
  /// a deadline that is the time of the deadline by its clock.
  [[nodiscard]] std::optional<std::uint64_t> timeout_us(const BlockedCall& call) const {
    if (call.known == nullptr || call.known->timeout == TimeoutForm::None) return std::nullopt;
    const std::uint64_t argument = call.argument(call.known->timeout_argument);
    constexpr std::uint64_t kMillisecond = 1000;
    constexpr std::uint64_t kSecond = 1000 * kMillisecond;
    if (call.known->timeout == TimeoutForm::Milliseconds) {
      const int milliseconds = to_int(argument);
      if (milliseconds < 0) return std::nullopt;
      return static_cast<std::uint64_t>(milliseconds) * kMillisecond;
    }
    if (argument == 0) return std::nullopt;
    std::array<std::uint64_t, 2> time{};
    if (!cache_.read(RemoteAddr{argument}, std::as_writable_bytes(std::span(time)))) {
      return std::nullopt;
    }
    const std::uint64_t per_microsecond = call.known->timeout == TimeoutForm::Timeval ? 1 : 1000;
    if (time[0] > kMostSeconds || time[1] / per_microsecond >= kSecond) return std::nullopt;
    return time[0] * kSecond + time[1] / per_microsecond;
  }

 private:
  // Bound (bytes): copies of memory for the arguments of system calls
  static constexpr std::size_t kBudget = std::size_t{64} << 20U;

  /// Bytes of a set of select for descriptors below `count`.
  static std::uint64_t set_size(std::uint64_t count) {
    constexpr std::uint64_t kBits = 64;
    return (std::min(count, kMostInSets) + kBits - 1) / kBits * sizeof(std::uint64_t);
  }

  static bool has_timeout_in_memory(const BlockedCall& call) {
    return call.known != nullptr && call.known->timeout != TimeoutForm::None &&
           call.known->timeout != TimeoutForm::Milliseconds;
  }

  PageCache cache_;
};

/// The target's children by name, listed when the first one is asked for.
class Children {
 public:
  explicit Children(const Process& process) : process_(process) {}

  /// A child by its pid as the target sees it.
  [[nodiscard]] std::string name(pid_t namespace_pid) {
    if (process_.shares_namespace("pid")) return name_process(namespace_pid);
    const auto& children = list();
    const auto found = std::find_if(
        children.begin(), children.end(),
        [&](const ChildProcess& child) { return child.namespace_pid == namespace_pid; });
    return found == children.end() ? std::string{} : name_process(found->pid);
  }

  /// All of them, as long as they aren't many.
  [[nodiscard]] std::string names() {
    const auto& children = list();
    if (children.empty()) return "any child";
    std::vector<std::string> named;
    for (std::size_t i = 0; i < std::min(children.size(), kMostChildren); ++i)
      named.push_back(name_process(children[i].pid));
    return list_descriptors(named, children.size());
  }

 private:
  [[nodiscard]] const std::vector<ChildProcess>& list() {
    if (!children_) children_ = find_children(process_.pid()).processes;
    return *children_;
  }

  const Process& process_;
  std::optional<std::vector<ChildProcess>> children_;
};

class WaitReader {
 public:
  WaitReader(const BudgetedMemory& memory, const Process* process, const Log& log)
      : process_(process), log_(log), arguments_(memory) {}

  std::vector<std::optional<Wait>> read(std::span<const Task* const> tasks) {
    std::vector<std::optional<Wait>> waits(tasks.size());
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (!tasks[i]->system_call || tasks[i]->system_call->number < 0) continue;
      BlockedCall call = classify(*tasks[i]);
      if (call.known == nullptr ||
          (call.subject() == Subject::None && call.known->timeout == TimeoutForm::None)) {
        waits[i] = std::move(call.wait);
        continue;
      }
      calls_.push_back(std::move(call));
      places.push_back(i);
    }
    look_up();
    for (std::size_t i = 0; i < calls_.size(); ++i)
      waits[places[i]] = std::move(calls_[i].wait);
    return waits;
  }

 private:
  static BlockedCall classify(const Task& task) {
    BlockedCall call;
    call.task = &task;
    call.call = &*task.system_call;
    call.known = find_blocking_call(call.call->number);
    call.wait.system_call = system_call_name(call.call->number);
    call.wait.kind = call.known == nullptr ? "other" : std::string(call.known->kind);
    return call;
  }

  void look_up() {
    if (calls_.empty()) return;
    arguments_.prefetch(calls_);
    std::optional<Descriptors> descriptors;
    if (process_ != nullptr) descriptors.emplace(*process_, log_);
    for (BlockedCall& call : calls_) {
      read_arguments(call);
      if (!descriptors) continue;
      if (call.wait.fd) descriptors->want(*call.wait.fd);
      for (std::size_t i = 0; i < std::min(call.descriptors.size(), Descriptors::kMostNamed); ++i)
        descriptors->want(call.descriptors[i]);
    }
    if (!descriptors) {
      for (BlockedCall& call : calls_)
        list_unknown_descriptors(call);
      return;
    }
    descriptors->resolve();
    Children children(*process_);
    for (BlockedCall& call : calls_) {
      const Wait plain = plain_wait(call);
      name_target(call, *descriptors, children);
      if (!still_waits(call)) call.wait = plain;
    }
  }

  /// What the system call tells without a question to the kernel.
  void read_arguments(BlockedCall& call) {
    Wait& wait = call.wait;
    wait.timeout_us = arguments_.timeout_us(call);
    switch (call.subject()) {
      case Subject::Descriptor:
      case Subject::Connection:
      case Subject::FileLock:
        wait.fd = to_int(call.argument(0));
        break;
      case Subject::FileControl: {
        wait.fd = to_int(call.argument(0));
        const int command = to_int(call.argument(1));
        if (command == F_SETLKW || command == F_OFD_SETLKW) wait.kind = "file_lock";
        break;
      }
      case Subject::PollArray: {
        call.descriptors = arguments_.polled(call.argument(0), call.argument(1));
        const std::uint64_t unread = call.argument(1) - std::min(call.argument(1), kMostPolled);
        call.descriptor_count = call.descriptors.size() + unread;
        if (call.argument(1) == 0) wait.kind = "sleep";
        break;
      }
      case Subject::DescriptorSets:
        call.descriptors = arguments_.selected(call);
        call.descriptor_count = call.descriptors.size();
        if (call.argument(0) == 0) wait.kind = "sleep";
        break;
      case Subject::Path:
        wait.target = arguments_.path(call.argument(0));
        break;
      case Subject::PathAt:
        wait.target = arguments_.path(call.argument(1));
        break;
      case Subject::Signals:
        if (const auto set = arguments_.word(call.argument(0))) wait.target = name_signals(*set);
        break;
      case Subject::ChildById:
        if (call.argument(0) == P_PIDFD) wait.fd = to_int(call.argument(1));
        break;
      case Subject::Clock:
        read_deadline(call);
        break;
      case Subject::None:
      case Subject::Child:
      case Subject::AnyChild:
        break;
    }
    // A call that waits for one of a single descriptor waits for that one.
    if (call.descriptor_count == 1 && call.descriptors.size() == 1) {
      wait.fd = call.descriptors.front();
    }
  }

  /// clock_nanosleep sleeps for a time, or until one.
  void read_deadline(BlockedCall& call) {
    if (call.known->timeout != TimeoutForm::ClockTimespec ||
        (call.argument(1) & TIMER_ABSTIME) == 0) {
      return;
    }
    const auto deadline = std::exchange(call.wait.timeout_us, std::nullopt);
    const auto clock = static_cast<clockid_t>(to_int(call.argument(0)));
    // Clocks of a thread's CPU time are the target's own; those since boot may be shifted.
    if (!deadline || process_ == nullptr || clock < 0 ||
        (clock != CLOCK_REALTIME && !shares_clocks())) {
      return;
    }
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME) return;
    timespec now{};
    if (::clock_gettime(clock, &now) != 0) return;
    const std::uint64_t now_us = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                                 static_cast<std::uint64_t>(now.tv_nsec) / 1000;
    call.wait.left_us = *deadline > now_us ? *deadline - now_us : 0;
  }

  [[nodiscard]] bool shares_clocks() {
    if (!shares_clocks_) shares_clocks_ = process_->shares_namespace("time");
    return *shares_clocks_;
  }

  static void list_unknown_descriptors(BlockedCall& call) {
    if (call.wait.fd || call.descriptors.empty()) return;
    std::vector<std::string> named;
    for (std::size_t i = 0; i < std::min(call.descriptors.size(), Descriptors::kMostNamed); ++i)
      named.push_back(fmt::format("fd {}", call.descriptors[i]));
    call.wait.target = list_descriptors(named, call.descriptor_count);
  }

  void name_target(BlockedCall& call, const Descriptors& descriptors, Children& children) const {
    Wait& wait = call.wait;
    const auto take = [&](int fd) {
      Descriptor descriptor = descriptors.describe(fd);
      // A wait for a lock of a file stays one.
      if (!descriptor.kind.empty() && wait.kind != "file_lock") wait.kind = descriptor.kind;
      wait.target = std::move(descriptor.target);
    };
    switch (call.subject()) {
      case Subject::Descriptor:
        take(*wait.fd);
        break;
      case Subject::Connection: {
        take(*wait.fd);
        const std::string path = arguments_.unix_path(call.argument(1), call.argument(2));
        if (!path.empty()) wait.target += " -> " + path;
        break;
      }
      case Subject::FileLock:
      case Subject::FileControl:
        take(*wait.fd);
        if (wait.kind == "file_lock") {
          const std::string holder = descriptors.lock_holder(*wait.fd);
          if (!holder.empty()) wait.target += ", locked by " + holder;
        }
        break;
      case Subject::PollArray:
      case Subject::DescriptorSets: {
        if (wait.fd) {
          take(*wait.fd);
          break;
        }
        std::vector<std::string> named;
        for (std::size_t i = 0; i < std::min(call.descriptors.size(), Descriptors::kMostNamed); ++i)
          named.push_back(descriptors.name(call.descriptors[i]));
        if (!named.empty()) wait.target = list_descriptors(named, call.descriptor_count);
        break;
      }
      case Subject::Child: {
        const pid_t pid = to_int(call.argument(0));
        wait.target = pid > 0 ? children.name(pid) : children.names();
        break;
      }
      case Subject::ChildById:
        if (wait.fd) {
          take(*wait.fd);
        } else {
          wait.target = call.argument(0) == P_PID ? children.name(to_int(call.argument(1)))
                                                  : children.names();
        }
        break;
      case Subject::Clock:
        if (may_be_busy_handler(call)) {
          if (!locked_database_) locked_database_ = name_locked_database(*process_);
          if (locked_database_->empty()) break;
          wait.kind = "database";
          wait.target = *locked_database_;
        }
        break;
      default:
        break;
    }
  }

  /// SQLite's busy handler sleeps by nanosleep for a while and tries again. Python's own sleeps
  /// have a deadline.
  static bool may_be_busy_handler(const BlockedCall& call) {
    constexpr std::uint64_t kLongest = 100'000;  // of sqliteDefaultBusyCallback, in microseconds
    if (!call.wait.timeout_us || *call.wait.timeout_us == 0 || *call.wait.timeout_us > kLongest)
      return false;
    return call.known->timeout == TimeoutForm::Timespec ||
           (call.argument(0) == CLOCK_REALTIME && call.argument(1) == 0);
  }

  /// What was known when the thread was listed.
  static Wait plain_wait(const BlockedCall& call) {
    Wait wait = classify(*call.task).wait;
    const bool is_fd =
        call.subject() == Subject::Descriptor || call.subject() == Subject::Connection ||
        call.subject() == Subject::FileLock || call.subject() == Subject::FileControl;
    if (is_fd) wait.fd = call.wait.fd;
    if (call.subject() == Subject::FileControl) wait.kind = call.wait.kind;
    return wait;
  }

  /// Whether the thread is still, or again, in the call that its target was found out for.
  [[nodiscard]] bool still_waits(const BlockedCall& call) const {
    auto now = process_->system_call(call.task->tid);
    if (!now) return false;
    // Python calls again with what is left of the time when a signal or a tracer interrupts a call.
    if (call.known->timeout == TimeoutForm::Milliseconds) {
      now->arguments.at(call.known->timeout_argument) = call.argument(call.known->timeout_argument);
    }
    return now->number == call.call->number && now->arguments == call.call->arguments;
  }

  const Process* process_;
  const Log& log_;
  Arguments arguments_;
  std::vector<BlockedCall> calls_;
  std::optional<bool> shares_clocks_;
  mutable std::optional<std::string> locked_database_;  // once it was looked for
};

}  // namespace

std::vector<std::optional<Wait>> read_waits(std::span<const Task* const> tasks,
                                            const BudgetedMemory& memory, const Process* process,
                                            const Log& log) {
  return WaitReader(memory, process, log).read(tasks);
}

}  // namespace pyscope
