// Moments at which no thread of the target ran Python code, without any thread being held.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/log.hpp"
#include "memory/instant_image.hpp"
#include "python/runtime_state.hpp"
#include "structures/runtime.hpp"
#include "target/target.hpp"

namespace pyscope {

/// What the kernel said of threads in the moment in which memory was copied.
struct InstantTasks {
  std::vector<Task> tasks;
  std::unordered_set<pid_t> described;  // tids of those that were asked for within the moment
  bool preempted = false;  // pyscope kept the last holder from running; else that thread rested
};

/// Tells whether a process stood still, and copies memory in moments at which it does. Nobody runs
/// Python code without the GIL. So nothing of Python's changes while the GIL's state stays the same
/// and its last holder, who could take the GIL again without a trace, doesn't run: because that
/// thread rests, or because pyscope runs on its CPU.
class InstantCopier {
 public:
  enum class Outcome : std::uint8_t { Copied, TryAgain, Impossible };

  InstantCopier(const Target& target, const Runtime& runtime, InstantImage& image, const Log& log)
      : target_(target), runtime_(runtime), image_(image), log_(log) {}

  /// True if the last holders of all GILs rest, as in an idle process. Then stood_since_mark()
  /// tells later whether any thread may have run Python code meanwhile.
  [[nodiscard]] bool mark();
  [[nodiscard]] bool stood_since_mark() const;
  /// The GILs when mark() was called last.
  [[nodiscard]] const std::unordered_map<std::uint64_t, GilMoment>& marked_gils() const {
    return moments_;
  }

  /// Whether pyscope may keep the last holder from running that mark() has found. The log is told
  /// why not.
  [[nodiscard]] bool possible();

  /// Copies the pages that the image has noted, and asks the kernel about these threads, while
  /// nobody runs Python code.
  [[nodiscard]] Outcome try_once(const std::vector<pid_t>& tids);

  /// What the kernel said of all threads: of some of them in the moment of the last copy.
  [[nodiscard]] const InstantTasks& tasks() const { return tasks_; }
  /// Takes the kernel's list of all threads as it is now, or was a moment ago.
  void list_tasks() { take_tasks(target_.threads(ThreadDetail::SystemCalls)); }
  void take_tasks(std::vector<Task> tasks);

  /// Whether the kernel knew that thread when its list was taken.
  [[nodiscard]] bool knows(std::uint64_t native_id) const {
    return tid_of_native_id_.contains(native_id);
  }

  /// For how long threads of the target were kept from running, at the most.
  [[nodiscard]] std::int64_t microseconds() const { return microseconds_; }

 private:
  using Gils = std::unordered_map<std::uint64_t, GilMoment>;  // by the GIL's address

  /// Who had a GIL last.
  struct Holder {
    pid_t tid = 0;  // 0: that thread has ended
    /// As LivingProcess::switches_at_rest; empty: the thread may run.
    std::optional<std::uint64_t> rests;
  };
  /// Takes the moments of all GILs, and finds their last holders. False if one isn't known.
  [[nodiscard]] bool find_holders();
  [[nodiscard]] std::optional<std::uint64_t> find_native_id(const Reader& reader,
                                                            RemoteAddr thread_state) const;
  [[nodiscard]] std::optional<Holder> find_holder(const Reader& reader, RemoteAddr thread_state);
  [[nodiscard]] bool still_rests(const Holder& holder) const;
  [[nodiscard]] Gils moments() const;
  [[nodiscard]] Preemption* preemption_of(pid_t tid);
  /// The one holder that may run, or any if all rest. Null if several may run.
  [[nodiscard]] const Holder* runner() const;

  const Target& target_;
  const Runtime& runtime_;
  InstantImage& image_;
  const Log& log_;
  RawRuntime interpreters_;
  Gils moments_;                 // when the holders were looked for
  std::vector<Holder> holders_;  // of all GILs
  bool marked_ = false;
  InstantTasks tasks_;
  std::unordered_map<std::uint64_t, pid_t> tid_of_native_id_;
  /// Each has two files of /proc open; threads that have ended may be among them.
  std::unordered_map<pid_t, std::unique_ptr<Preemption>> preemptions_;
  std::int64_t microseconds_ = 0;
};

/// The objects that C code may be in the middle of changing at this moment, on behalf of whoever
/// has a GIL.
[[nodiscard]] std::unordered_set<std::uint64_t> find_objects_being_changed(
    const Reader& reader, const std::unordered_map<std::uint64_t, GilMoment>& gils);

}  // namespace pyscope
