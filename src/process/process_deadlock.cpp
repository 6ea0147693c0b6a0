#include "process/process_deadlock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <csignal>
#include <map>
#include <thread>
#include <unordered_set>
#include <utility>

#include "process/descriptors.hpp"
#include "process/other_processes.hpp"
#include "process/polled.hpp"
#include "process/unix_peers.hpp"
#include "process/words.hpp"

namespace pyscope {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(10);
// Bound: processes that wait for each other
constexpr std::size_t kMostProcesses = 64;
// Bound: threads of a process that waits for another
constexpr std::size_t kMostThreads = 1024;  // of one process
// 32 and 33 are the C library's own signals. Python itself catches SIGINT, and faulthandler catches
// the faults.
constexpr int kHarmlessSignals[] = {2, 4, 6, 7, 8, 11, 17, 32, 33};
// The signals of timers: where they are handled, a wait may end by itself.
constexpr int kTimerSignals[] = {SIGALRM, SIGVTALRM, SIGPROF};

int to_int(std::uint64_t argument) {
  return std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(argument));
}

enum class End : std::uint8_t { Reads, Writes };  // what the waiting thread does

/// What one thread waits for, before the processes that could end the wait are known.
struct Want {
  enum class Kind : std::uint8_t { OwnThreads, Child, Descriptor, Polled, Shared };
  Kind kind = Kind::OwnThreads;
  pid_t child = 0;  // 0: any
  int fd = -1;
  End end = End::Reads;
  RemoteAddr word = {};  // of a futex in memory that may be shared
};

/// The wait of a system call other than poll and its like; nothing if time, the network or a
/// terminal could end it.
std::optional<Want> want_of(const SystemCall& call) {
  const auto& arguments = call.arguments;
  switch (call.number) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
      return Want{.kind = Want::Kind::Descriptor, .fd = to_int(arguments[0]), .end = End::Reads};
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
      return Want{.kind = Want::Kind::Descriptor, .fd = to_int(arguments[0]), .end = End::Writes};
    case SYS_wait4:
      // 0 and numbers below -1 mean a child of a process group.
      if (const int pid = to_int(arguments[0]); pid > 0 || pid == -1) {
        return Want{.kind = Want::Kind::Child, .child = std::max(pid, 0)};
      }
      return std::nullopt;
    case SYS_waitid:
      if (to_int(arguments[0]) == P_ALL) return Want{.kind = Want::Kind::Child};
      if (to_int(arguments[0]) == P_PID) {
        return Want{.kind = Want::Kind::Child, .child = to_int(arguments[1])};
      }
      return std::nullopt;
    case SYS_futex: {
      constexpr std::uint64_t kCommand = 0x7F;
      const std::uint64_t command = arguments[1] & kCommand;
      if (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) return std::nullopt;
      if (arguments[3] != 0) return std::nullopt;  // ends by itself
      const bool own = (arguments[1] & FUTEX_PRIVATE_FLAG) != 0;
      return Want{.kind = own ? Want::Kind::OwnThreads : Want::Kind::Shared,
                  .word = RemoteAddr{arguments[0]}};
    }
    default:
      return std::nullopt;
  }
}

constexpr std::uint64_t bit_of(int signal) {
  return std::uint64_t{1} << (signal - 1);
}

/// The signals for which a process has handlers that may end a wait; empty if that isn't known.
std::optional<std::uint64_t> handled_signals(const Process& process) {
  const auto status = process.read_file("status");
  if (!status) return std::nullopt;
  const auto words = status_words(*status, "SigCgt");
  const auto caught = words.empty() ? std::nullopt : to_number<std::uint64_t>(words[0], 16);
  if (!caught) return std::nullopt;
  std::uint64_t left = *caught;
  for (const int signal : kHarmlessSignals)
    left &= ~bit_of(signal);
  return left;
}

bool has_timers(std::uint64_t handled) {
  return std::any_of(std::begin(kTimerSignals), std::end(kTimerSignals),
                     [&](int signal) { return (handled & bit_of(signal)) != 0; });
}

/// A place in memory that processes share: the file that is mapped there, and where in it.
struct SharedPlace {
  Mapping mapping;
  std::uint64_t offset = 0;
  [[nodiscard]] bool is_same(const SharedPlace& other) const {
    return mapping.same_file(other.mapping) && offset == other.offset;
  }
};

/// One thing that a thread waits for, and the processes that could end the wait.
struct ForeverWait {
  Want want;
  ProcessWaitKind kind = ProcessWaitKind::Child;
  std::string link = {};  // of a pipe or socket: what others have open who can end the wait
  std::vector<pid_t> wakers = {};
  std::optional<SharedPlace> place = {};  // of a semaphore
};

/// A thread that is blocked for good unless one of these processes goes on.
struct StuckThread {
  Task task;
  std::uint64_t switches = 0;      // when it was first looked at
  std::vector<ForeverWait> waits;  // several: a poll, which any of them ends
};

struct StuckProcess {
  const Process* process = nullptr;
  std::optional<Process> opened;  // where it is another than the first
  std::vector<StuckThread> threads;
  std::uint64_t signals = 0;  // that it handles
};

class Search {
 public:
  explicit Search(const Log& log) : log_(log) {}

  /// Explores all processes from the first one on. False as soon as one of them could go on by
  /// itself.
  bool explore(const Process& first, std::span<const Task> tasks) {
    StuckProcess& root = processes_[first.pid()];
    root.process = &first;
    if (!look_at(root, tasks)) return false;
    std::vector<pid_t> level{first.pid()};
    while (!level.empty()) {
      if (!find_wakers(level)) return false;
      std::vector<pid_t> next;
      for (const pid_t pid : level) {
        for (const pid_t waker : wakers_of(processes_[pid])) {
          if (!processes_.contains(waker) && !open(waker)) return false;
          if (is_new(waker, next)) next.push_back(waker);
        }
      }
      level = std::move(next);
    }
    return true;
  }

  /// Whether no thread of any of these processes has run since the thread was first looked at.
  [[nodiscard]] bool stands_still() const {
    return std::all_of(processes_.begin(), processes_.end(), [](const auto& entry) {
      const StuckProcess& stuck = entry.second;
      if (stuck.process->tasks(false).size() != stuck.threads.size()) return false;
      return !stuck.process->ended() &&
             std::all_of(stuck.threads.begin(), stuck.threads.end(), [&](const StuckThread& t) {
               return stuck.process->switches_at_rest(t.task.tid) == t.switches;
             });
    });
  }

  /// Which handlers of signals could end it all: "python3 (pid 12) handles SIGTERM"; empty: none.
  [[nodiscard]] std::string handlers() const {
    std::string text;
    for (const auto& [pid, stuck] : processes_) {
      if (stuck.signals == 0) continue;
      text += fmt::format("{}{} handles {}", text.empty() ? "" : ", ", name_process(pid),
                          name_signals(stuck.signals));
    }
    return text;
  }

  /// Follows the waits from the first process on, until a process comes up again.
  [[nodiscard]] std::vector<ProcessWait> cycle(pid_t first) const {
    std::vector<ProcessWait> way;
    pid_t at = first;
    while (true) {
      const auto seen = std::find_if(way.begin(), way.end(),
                                     [&](const ProcessWait& wait) { return wait.pid == at; });
      if (seen != way.end()) return {seen, way.end()};
      const auto step = next_step(at);
      if (!step) return {};
      way.push_back(*step);
      at = step->waits_for;
    }
  }

 private:
  [[nodiscard]] bool is_new(pid_t pid, const std::vector<pid_t>& next) const {
    return !expanded_.contains(pid) && std::find(next.begin(), next.end(), pid) == next.end();
  }

  bool open(pid_t pid) {
    if (processes_.size() == kMostProcesses) return false;
    auto opened = Process::open(pid, log_);
    if (!opened) return false;
    StuckProcess& stuck = processes_[pid];
    stuck.opened.emplace(*std::move(opened));
    stuck.process = &*stuck.opened;
    return look_at(stuck, stuck.process->tasks(true));
  }

  [[nodiscard]] static std::vector<pid_t> wakers_of(const StuckProcess& stuck) {
    std::vector<pid_t> wakers;
    for (const StuckThread& thread : stuck.threads) {
      for (const ForeverWait& wait : thread.waits)
        wakers.insert(wakers.end(), wait.wakers.begin(), wait.wakers.end());
    }
    return wakers;
  }

  /// Reads what the threads of a process wait for; false if one of them may go on.
  bool look_at(StuckProcess& stuck, std::span<const Task> tasks) {
    if (tasks.empty() || tasks.size() > kMostThreads) return false;
    for (const Task& task : tasks) {
      if (!task.system_call) return false;
      StuckThread& thread = stuck.threads.emplace_back();
      thread.task = task;
      if (polls_for_ever(*task.system_call)) continue;
      const auto want = want_of(*task.system_call);
      if (!want) return false;
      thread.waits.push_back({.want = *want});
    }
    const bool asks_others =
        std::any_of(stuck.threads.begin(), stuck.threads.end(), [](const StuckThread& thread) {
          return thread.waits.empty() || thread.waits[0].want.kind != Want::Kind::OwnThreads;
        });
    // A child whose threads wait for each other ends a cycle. In the process that was asked for,
    // such threads have been searched for already.
    if (!asks_others && !stuck.opened) return false;
    const auto signals = handled_signals(*stuck.process);
    if (!signals || has_timers(*signals)) return false;
    stuck.signals = *signals;
    for (StuckThread& thread : stuck.threads) {
      const auto switches = stuck.process->switches_at_rest(thread.task.tid);
      const auto call = stuck.process->system_call(thread.task.tid);
      if (!switches || !call || call->number != thread.task.system_call->number ||
          call->arguments != thread.task.system_call->arguments) {
        return false;
      }
      thread.switches = *switches;
    }
    // What lies in memory is read after the marks: it may have changed before.
    return std::all_of(stuck.threads.begin(), stuck.threads.end(), [&](StuckThread& thread) {
      if (!thread.waits.empty()) return true;
      const auto descriptors = polled_descriptors(*stuck.process, *thread.task.system_call);
      for (const int fd : descriptors ? *descriptors : std::vector<int>{})
        thread.waits.push_back({.want = {.kind = Want::Kind::Polled, .fd = fd}});
      return !thread.waits.empty();
    });
  }

  bool find_wakers(const std::vector<pid_t>& level) {
    std::unordered_set<std::string> links;
    // Descriptors first: of a socket of the network, nobody else needs to be looked at.
    for (const pid_t pid : level) {
      expanded_.insert(pid);
      StuckProcess& stuck = processes_[pid];
      for (StuckThread& thread : stuck.threads) {
        for (ForeverWait& wait : thread.waits) {
          if (!is_descriptor(wait)) continue;
          if (!find_other_end(*stuck.process, wait)) return false;
          if (!wait.link.empty()) links.insert(wait.link);
        }
      }
    }
    for (const pid_t pid : level) {
      StuckProcess& stuck = processes_[pid];
      for (StuckThread& thread : stuck.threads) {
        for (ForeverWait& wait : thread.waits) {
          if (!is_descriptor(wait) && !find_wakers(*stuck.process, wait)) return false;
        }
      }
    }
    return links.empty() || find_ends(level, links);
  }

  [[nodiscard]] static bool is_descriptor(const ForeverWait& wait) {
    return wait.want.kind == Want::Kind::Descriptor || wait.want.kind == Want::Kind::Polled;
  }

  bool find_wakers(const Process& process, ForeverWait& wait) {
    if (wait.want.kind == Want::Kind::Shared) return find_sharers(process, wait);
    if (wait.want.kind == Want::Kind::OwnThreads) {
      wait.wakers = {process.pid()};
      return true;
    }
    const Children children = find_children(process.pid());
    // A child that can't be seen may end, and so end the wait for any of them.
    if (!children.complete && wait.want.child == 0) {
      log_("not all processes could be seen: a deadlock with a child can't be known");
      return false;
    }
    for (const ChildProcess& child : children.processes) {
      if (wait.want.child == 0 || wait.want.child == child.namespace_pid ||
          wait.want.child == child.pid) {
        wait.wakers.push_back(child.pid);
      }
    }
    return !wait.wakers.empty();
  }

  /// Finds the link of the other end: the processes that can end the wait have it open. A pidfd
  /// names the process itself.
  bool find_other_end(const Process& process, ForeverWait& wait) {
    const std::string path = fmt::format("fd/{}", wait.want.fd);
    const auto link = process.read_link(path.c_str());
    if (!link) return false;
    if (link->starts_with("pipe:[")) {
      wait.kind = ProcessWaitKind::Pipe;
      wait.link = *link;
      if (wait.want.kind == Want::Kind::Descriptor) return true;
      // The permissions of the link are the mode in which it was opened.
      struct stat info {};
      if (::fstatat(process.directory(), path.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
      const bool reads = (info.st_mode & S_IRUSR) != 0;
      if (reads == ((info.st_mode & S_IWUSR) != 0)) return false;
      wait.want.end = reads ? End::Reads : End::Writes;
      return true;
    }
    if (link->starts_with("pidfd:") || *link == "anon_inode:[pidfd]") {
      constexpr std::size_t kMostText = 4096;
      const auto text =
          process.read_file(fmt::format("fdinfo/{}", wait.want.fd).c_str(), kMostText);
      const auto pid = to_number<pid_t>(text ? fdinfo_value(*text, "Pid") : std::string_view{});
      if (!pid || *pid <= 0) return false;
      wait.kind = ProcessWaitKind::Child;
      wait.wakers = {*pid};
      return true;
    }
    constexpr std::string_view kSocket = "socket:[";
    if (!link->starts_with(kSocket) || !process.shares_namespace("net")) return false;
    const auto inode = to_number<std::uint64_t>(
        std::string_view(*link).substr(kSocket.size(), link->size() - kSocket.size() - 1));
    if (!inode) return false;
    if (!peers_) peers_.emplace();
    const auto peer = peers_->of(*inode);  // of unix sockets only
    if (!peer) return false;
    wait.kind = ProcessWaitKind::Socket;
    wait.link = fmt::format("socket:[{}]", peer->inode);
    return true;
  }

  bool find_ends(const std::vector<pid_t>& level, const std::unordered_set<std::string>& links) {
    const OpenFiles open_files = find_holders(links, level.front(), log_);
    if (!open_files.complete) {
      log_("not all processes could be looked into: a deadlock of processes can't be known");
      return false;
    }
    for (const pid_t pid : level) {
      for (StuckThread& thread : processes_[pid].threads) {
        for (ForeverWait& wait : thread.waits) {
          if (wait.link.empty()) continue;
          const auto holders = open_files.holders.find(wait.link);
          if (holders == open_files.holders.end()) return false;
          for (const Holder& holder : holders->second) {
            const bool fits = wait.kind == ProcessWaitKind::Socket ||
                              (wait.want.end == End::Reads ? holder.writes : holder.reads);
            if (fits) wait.wakers.push_back(holder.pid);
          }
          if (wait.wakers.empty()) return false;  // somebody whom we can't see
        }
      }
    }
    return true;
  }

  bool find_sharers(const Process& process, ForeverWait& wait) {
    const auto maps = process.maps();
    if (!maps) return false;
    const Mapping* mapping = find_mapping(*maps, wait.want.word);
    if (mapping == nullptr) return false;
    if (mapping->inode == 0) {
      wait.want.kind = Want::Kind::OwnThreads;  // sem_init() within one process does the same
      wait.wakers = {process.pid()};
      return true;
    }
    wait.kind = ProcessWaitKind::Semaphore;
    wait.place = SharedPlace{
        *mapping, wait.want.word.raw() - mapping->range.start.raw() + mapping->file_offset};
    const Sharers sharers = find_sharers_of(*mapping, process.pid(), log_);
    wait.wakers = sharers.pids;
    return sharers.complete && !wait.wakers.empty();
  }

  /// Whether a process can't give a semaphore back, because all that it does is to wait for it.
  [[nodiscard]] bool only_waits_for(pid_t pid, const SharedPlace& place) const {
    const auto& threads = processes_.at(pid).threads;
    return std::all_of(threads.begin(), threads.end(), [&](const StuckThread& thread) {
      return std::all_of(thread.waits.begin(), thread.waits.end(), [&](const ForeverWait& wait) {
        return wait.place && wait.place->is_same(place);
      });
    });
  }

  /// The processes that could end a thread's wait, those that wait for it themselves left out.
  [[nodiscard]] std::vector<pid_t> givers(const ForeverWait& wait) const {
    std::vector<pid_t> givers = wait.wakers;
    if (wait.place) {
      std::erase_if(givers, [&](pid_t pid) { return only_waits_for(pid, *wait.place); });
    }
    return givers;
  }

  /// The wait of this process that leads to another one. Of several processes that have the other
  /// end of a pipe, one that waits for a semaphore waits for another one of them to do it; of those
  /// that share a semaphore, one that waits for another semaphore is likelier to have taken this
  /// one than one that waits for a child.
  [[nodiscard]] std::optional<ProcessWait> next_step(pid_t pid) const {
    const StuckProcess& stuck = processes_.at(pid);
    for (const StuckThread& thread : stuck.threads) {
      for (const ForeverWait& wait : thread.waits) {
        std::optional<pid_t> next;
        const bool at_semaphore = wait.kind == ProcessWaitKind::Semaphore;
        for (const pid_t waker : givers(wait)) {
          if (waker == pid) continue;
          if (!next || waits_for_semaphore(*next) != at_semaphore) next = waker;
        }
        if (!next) continue;
        const bool for_message =
            wait.want.kind == Want::Kind::Polled ||
            (wait.want.kind == Want::Kind::Descriptor && wait.want.end == End::Reads);
        return ProcessWait{.pid = pid,
                           .tid = thread.task.tid,
                           .name = stuck.process->name(),
                           .kind = wait.kind,
                           .words = words_of(pid, wait) + words_of_others(thread),
                           .for_message = for_message,
                           .waits_for = *next};
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] bool waits_for_semaphore(pid_t pid) const {
    const auto& threads = processes_.at(pid).threads;
    return std::any_of(threads.begin(), threads.end(), [](const StuckThread& thread) {
      return std::any_of(thread.waits.begin(), thread.waits.end(), [](const ForeverWait& wait) {
        return wait.kind == ProcessWaitKind::Semaphore;
      });
    });
  }

  /// The further descriptors of a poll.
  [[nodiscard]] static std::string words_of_others(const StuckThread& thread) {
    const std::size_t others = thread.waits.size() - 1;
    if (others == 0) return {};
    return fmt::format(", or for {} other descriptor{}, which only these processes can make ready",
                       others, others == 1 ? "" : "s");
  }

  [[nodiscard]] std::string words_of(pid_t pid, const ForeverWait& wait) const {
    std::string who;
    const std::vector<pid_t> wakers = givers(wait);
    for (const pid_t waker : wakers) {
      if (!who.empty()) who += waker == wakers.back() ? " and " : ", ";
      who += waker == pid ? std::string("it itself") : name_process(waker);
    }
    const int fd = wait.want.fd;
    const bool reads = wait.want.end == End::Reads;
    const bool several = wakers.size() > 1;
    switch (wait.kind) {
      case ProcessWaitKind::Child:
        return wait.want.kind == Want::Kind::Polled ? fmt::format("for {} to end", who)
                                                    : fmt::format("for its child {} to end", who);
      case ProcessWaitKind::Pipe:
        return reads ? fmt::format("to read from the empty pipe on fd {}, which only {} {} to", fd,
                                   who, several ? "write" : "writes")
                     : fmt::format("to write to the full pipe on fd {}, which only {} {}", fd, who,
                                   several ? "read" : "reads");
      case ProcessWaitKind::Socket:
        if (wait.want.kind == Want::Kind::Polled) {
          return fmt::format("for the unix socket on fd {}, whose other end only {} {}", fd, who,
                             several ? "have" : "has");
        }
        // The kernel tells nobody else whether SO_RCVTIMEO or SO_SNDTIMEO is set.
        return fmt::format(
            "to {} the unix socket on fd {}, whose other end only {} {}, unless a timeout of the "
            "socket ends the wait",
            reads ? "read from" : "write to", fd, who, several ? "have" : "has");
      case ProcessWaitKind::Semaphore:
        return fmt::format("for a semaphore that only {} can give back", who);
    }
    return {};
  }

  const Log& log_;
  std::map<pid_t, StuckProcess> processes_;  // by address stable: threads refer to processes
  std::unordered_set<pid_t> expanded_;
  std::optional<UnixPeers> peers_;
};

}  // namespace

std::optional<ProcessDeadlock> find_process_deadlock(const Process& process,
                                                     std::span<const Task> tasks, const Log& log) {
  Search search(log);
  if (!search.explore(process, tasks)) return std::nullopt;
  auto cycle = search.cycle(process.pid());
  if (cycle.empty()) return std::nullopt;
  // A process that hasn't run since it was first looked at has opened, closed and started nothing
  // either. So all that was read in between was true at one moment, and stays true.
  std::this_thread::sleep_for(kInterval);
  if (!search.stands_still()) {
    log("processes that seemed to wait for each other have gone on");
    return std::nullopt;
  }
  return ProcessDeadlock{std::move(cycle), search.handlers()};
}

}  // namespace pyscope
