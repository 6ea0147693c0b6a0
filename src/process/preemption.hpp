// Keeps a thread of another process off the CPU, for as long as a read takes, without touching the
// thread: pyscope runs on that CPU itself.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/unique_fd.hpp"
#include "process/facts.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

class Process;

/// A thread of the target that can be kept from running.
class Preemption {
 public:
  virtual ~Preemption() = default;

  /// Calls `read` with pyscope pinned to the thread's CPU. True: the thread did not run during that
  /// call. False: it may have run, or was moved to another CPU before `read` was called at all; a
  /// later try may do. Fails where pyscope can't be pinned to that CPU. pyscope's affinity is as
  /// before afterwards. Where the CPU isn't given to pyscope within 20 ms, pyscope gives up
  /// waiting.
  [[nodiscard]] virtual Result<bool> during(const std::function<void()>& read) = 0;

  /// For how long the thread was kept from running, in all calls of during(), at the most.
  [[nodiscard]] virtual std::int64_t microseconds() const = 0;

 protected:
  Preemption() = default;
  Preemption(const Preemption&) = default;
  Preemption(Preemption&&) = default;
  Preemption& operator=(const Preemption&) = default;
  Preemption& operator=(Preemption&&) = default;
};

/// A thread can't run on a CPU on which pyscope runs. So pyscope pins itself to the CPU of a thread
/// of the target, and reads there. The thread is preempted, as it is by every other program of the
/// machine; nothing stops, signals or traces it.
///
/// The proof that the thread did not run while something was read, with pyscope pinned to `cpu`:
///
/// 1. /proc/PID/task/TID/schedstat says how often the thread was given a CPU: n.
/// 2. /proc/PID/task/TID/stat says that the thread's CPU is `cpu`. As pyscope runs there, the
/// thread doesn't run at that moment.
/// 3. It is read.
/// 4. schedstat still says n. So the thread was not given a CPU since step 1.
class ThreadPreemption final : public Preemption {
 public:
  /// Fails where the proof can't be had, with the reason: the thread has a real-time policy and
  /// would keep pyscope off its CPU, the kernel doesn't count, or pyscope runs several threads.
  [[nodiscard]] static Result<ThreadPreemption> of(const Process& process, pid_t tid);
  /// The same of any two files in place of the thread's `stat` and `schedstat`.
  [[nodiscard]] static Result<ThreadPreemption> of(UniqueFd stat, UniqueFd schedstat);

  [[nodiscard]] Result<bool> during(const std::function<void()>& read) override;
  [[nodiscard]] std::int64_t microseconds() const override { return microseconds_; }

 private:
  ThreadPreemption(UniqueFd stat, UniqueFd schedstat, const cpu_set_t& allowed)
      : stat_(std::move(stat)), schedstat_(std::move(schedstat)), allowed_(allowed) {}
  [[nodiscard]] std::optional<SchedulingFacts> scheduling() const;
  [[nodiscard]] std::optional<std::uint64_t> times_scheduled() const;

  UniqueFd stat_;
  UniqueFd schedstat_;
  cpu_set_t allowed_;  // pyscope's own affinity
  std::int64_t microseconds_ = 0;
};

}  // namespace pyscope
