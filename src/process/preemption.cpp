#include "process/preemption.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "process/process.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

// Bound: waiting for the CPU of a thread
constexpr std::chrono::milliseconds kMostWait{20};

/// Frees a pinned thread of pyscope that doesn't get the CPU which it is pinned to. A thread of its
/// own, as the pinned one can't do anything then. It lives as long as pyscope.
class Watchdog {
 public:
  /// Null where no thread can be started.
  [[nodiscard]] static Watchdog* get() {
    // Never destroyed: its thread waits on its members until pyscope ends.
    static Watchdog* const watchdog = start();
    return watchdog;
  }

  /// From now on: after some time, the thread `tid` of pyscope gets this affinity back.
  void arm(pid_t tid, const cpu_set_t& affinity) {
    {
      const std::lock_guard lock(mutex_);
      tid_ = tid;
      affinity_ = affinity;
      deadline_ = Clock::now() + kMostWait;
      armed_ = true;
      fired_ = false;
    }
    changed_.notify_one();
  }
  /// False if the thread had to be freed.
  [[nodiscard]] bool disarm() {
    const std::lock_guard lock(mutex_);
    armed_ = false;
    return !fired_;
  }

 private:
  Watchdog() = default;
  ~Watchdog() = default;

  static Watchdog* start() {
    auto* const watchdog = new Watchdog;
    // Signals are for the thread that knows what to do about them.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([watchdog] { watchdog->watch(); }).detach();
    } catch (const std::system_error&) {
      started = false;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (started) return watchdog;
    delete watchdog;
    return nullptr;
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (true) {
      if (!armed_) {
        changed_.wait(lock);
      } else if (Clock::now() < deadline_) {
        changed_.wait_until(lock, deadline_);
      } else {
        ::sched_setaffinity(tid_, sizeof affinity_, &affinity_);
        fired_ = true;
        // Once more later: the thread may have been about to pin itself just now.
        deadline_ = Clock::now() + kMostWait;
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool armed_ = false;
  bool fired_ = false;
  pid_t tid_ = 0;
  cpu_set_t affinity_{};
  Clock::time_point deadline_;
};

/// pyscope's calling thread, pinned to one CPU.
class Pin {
 public:
  Pin(Watchdog& watchdog, const cpu_set_t& before) : watchdog_(watchdog), before_(before) {}
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin() {
    if (armed_) (void)release();
  }

  /// errno, or 0.
  [[nodiscard]] int to(unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    cpu_ = cpu;
    watchdog_.arm(::gettid(), before_);
    armed_ = true;
    return ::sched_setaffinity(0, sizeof one, &one) == 0 ? 0 : errno;
  }
  /// False if the watchdog has unpinned it before.
  [[nodiscard]] bool release() {
    const bool in_time = watchdog_.disarm();
    leave();
    ::sched_setaffinity(0, sizeof before_, &before_);
    armed_ = false;
    return in_time;
  }

 private:
  /// Gives the CPU back at once, where pyscope may use another one. Otherwise the scheduler shares
  /// the CPU between pyscope and the thread for some milliseconds more, which costs both.
  void leave() const {
    cpu_set_t others = before_;
    CPU_CLR(cpu_, &others);
    if (CPU_COUNT(&others) > 0) ::sched_setaffinity(0, sizeof others, &others);
  }

  Watchdog& watchdog_;
  const cpu_set_t& before_;
  unsigned cpu_ = 0;
  bool armed_ = false;
};

/// The text of an open file of /proc, from its start.
template <std::size_t N>
std::string_view read_anew(const UniqueFd& fd, std::array<char, N>& buffer) {
  const ssize_t n = ::pread(fd.get(), buffer.data(), buffer.size(), 0);
  return {buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

UniqueFd open_of(const Process& process, pid_t tid, const char* file) {
  const std::string path = fmt::format("task/{}/{}", tid, file);
  return UniqueFd{::openat(process.directory(), path.c_str(), O_RDONLY | O_CLOEXEC)};
}

}  // namespace

Result<ThreadPreemption> ThreadPreemption::of(const Process& process, pid_t tid) {
  return of(open_of(process, tid, "stat"), open_of(process, tid, "schedstat"));
}

Result<ThreadPreemption> ThreadPreemption::of(UniqueFd stat, UniqueFd schedstat) {
  // The sandbox allows to change the affinity of the first thread only.
  if (::gettid() != ::getpid()) {
    return fail(ErrorKind::Unsupported, "only the first thread of pyscope may be pinned to a CPU");
  }
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return fail(ErrorKind::Unsupported, fmt::format("sched_getaffinity: {}", std::strerror(errno)));
  }
  ThreadPreemption made(std::move(stat), std::move(schedstat), allowed);
  const auto facts = made.scheduling();
  if (!facts) return fail(ErrorKind::Unsupported, "the thread's CPU can't be read");
  if (facts->policy != SCHED_OTHER && facts->policy != SCHED_BATCH && facts->policy != SCHED_IDLE) {
    return fail(ErrorKind::Unsupported,
                fmt::format("its scheduling policy ({}) may keep others off its CPU for long",
                            facts->policy == SCHED_FIFO ? "SCHED_FIFO"
                            : facts->policy == SCHED_RR ? "SCHED_RR"
                                                        : fmt::to_string(facts->policy)));
  }
  // A thread that has run was given a CPU once at the least.
  if (made.times_scheduled().value_or(0) == 0) {
    return fail(ErrorKind::Unsupported,
                "the kernel doesn't count in schedstat how often a thread gets a CPU");
  }
  if (Watchdog::get() == nullptr) {
    return fail(ErrorKind::Unsupported, "no thread can be started to watch over it");
  }
  return made;
}

std::optional<SchedulingFacts> ThreadPreemption::scheduling() const {
  std::array<char, 1024> buffer;
  return parse_scheduling(read_anew(stat_, buffer));
}

std::optional<std::uint64_t> ThreadPreemption::times_scheduled() const {
  std::array<char, 128> buffer;
  const auto stats = parse_schedstat(read_anew(schedstat_, buffer));
  return stats ? std::optional(stats->times_scheduled) : std::nullopt;
}

Result<bool> ThreadPreemption::during(const std::function<void()>& read) {
  const auto at_first = scheduling();
  if (!at_first) return false;  // it has ended
  if (at_first->cpu >= CPU_SETSIZE || !CPU_ISSET(at_first->cpu, &allowed_)) {
    return fail(ErrorKind::Unsupported,
                fmt::format("it runs on CPU {}, which pyscope may not use", at_first->cpu));
  }
  // Threads that wait for pyscope's present CPU get their turn first. A thread that arrives on
  // another CPU with time owed to others doesn't get that CPU before the next tick of the clock.
  ::sched_yield();
  Pin pin(*Watchdog::get(), allowed_);
  if (const int error = pin.to(at_first->cpu); error != 0) {
    return fail(ErrorKind::Unsupported, fmt::format("sched_setaffinity to CPU {}: {}",
                                                    at_first->cpu, std::strerror(error)));
  }
  const auto begin = Clock::now();
  const auto before = times_scheduled();
  const auto facts = scheduling();
  // It was moved while pyscope waited for the CPU.
  if (!before || !facts || facts->cpu != at_first->cpu) return false;
  read();
  const bool stood_still = times_scheduled() == before;
  microseconds_ +=
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
  // Once the watchdog has freed pyscope, it may run anywhere, and did perhaps at step 2.
  return pin.release() && stood_still;
}

}  // namespace pyscope
