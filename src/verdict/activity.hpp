// What one thread is doing, in as few words as possible.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/standard_waits.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// In the order in which somebody who looks for trouble wants to read them.
enum class ActivityKind : std::uint8_t {
  Deadlocked,  // known only of the snapshot as a whole: ActivityFinder doesn't say it
  WaitingForLock,
  WaitingForEvent,  // that another thread or process has to bring about: a result, an item
  WaitingOutside,   // for a socket, a child process, a clock
  Blocked,          // in the kernel, for a reason that the stack doesn't tell
  Stopped,          // by a signal or a tracer
  Running,
  WaitingForGil,
  Unreadable,
  Unknown,
  Elsewhere,  // its OS thread is in another interpreter: that stack tells
  Ended,
  Idle,
  NoFrames,  // native threads, most of which are at rest
};

struct Activity {
  ActivityKind kind = ActivityKind::Unknown;
  /// "idle in Queue.get", "waiting for a lock", "blocked"; may hold a file's name, with any bytes.
  std::string words;
  const Frame* frame = nullptr;  // where; nullptr if nobody knows, or if the words say it all
};

/// Names the activities of a snapshot's threads. The snapshot must outlive it.
class ActivityFinder {
 public:
  explicit ActivityFinder(const Snapshot& snapshot)
      : snapshot_(snapshot), waits_(snapshot.codes.size()) {}

  [[nodiscard]] Activity find(const Thread& thread);

 private:
  const StandardWait* known_wait(const Frame& frame);
  /// The innermost frame but for those of functions that do their work in C (re.match).
  [[nodiscard]] const Frame* caller_of_wrappers(const Thread& thread) const;
  [[nodiscard]] bool is_library_wait(const Frame& frame) const;
  [[nodiscard]] const Code* code_of(const Frame* frame) const;
  [[nodiscard]] bool is_all_that_its_thread_does(const Thread& thread, const Frame* function,
                                                 const Frame* caller) const;
  [[nodiscard]] Activity blocked_in_system_call(const Thread& thread, const Frame* frame,
                                                const Frame* caller) const;

  const Snapshot& snapshot_;
  std::vector<std::optional<const StandardWait*>> waits_;  // by code; empty: not looked up yet
};

/// What a thread does that waits on a futex for no lock of Python's: "waiting in native code".
inline constexpr std::string_view kWaitingInNativeCode = "waiting in native code";

/// " (libgrpc.so)": the innermost library that such a thread is in, but for those that only pass a
/// wait on (the C library, Python itself); empty if the native frames aren't known.
[[nodiscard]] std::string waiting_library(const Snapshot& snapshot, const Thread& thread);

/// True if the thread itself is no more: it ended while it was read, or Python only remembers it.
[[nodiscard]] bool has_ended(const Thread& thread);

}  // namespace pyscope
