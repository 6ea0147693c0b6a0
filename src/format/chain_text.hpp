// What a waiting thread waits for in the end: the thread that it waits for, what that one waits
// for, and so on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "model/origin.hpp"
#include "pyscope/snapshot.hpp"
#include "verdict/activity.hpp"

namespace pyscope {

/// How wide the words for what a thread does may be, which can hold names of the target's.
inline constexpr std::size_t kMaxWordsColumns = 120;

/// "get_user (app/views.py:88)", with the parts of the path that tell; empty if the frame doesn't
/// tell. Escaped.
[[nodiscard]] std::string short_place(const Snapshot& snapshot, const Frame* frame);
/// The function's name alone.
[[nodiscard]] std::string short_function(const Snapshot& snapshot, const Frame* frame);

enum class ChainDetail : std::uint8_t {
  Full,
  Brief,  // without the thing outside of the process that the last thread waits for
};

/// The snapshot must outlive it.
class ChainTexts {
 public:
  explicit ChainTexts(const Snapshot& snapshot);

  /// `4713 "b", which waits for 4714 "c", which is blocked in recv (db.py:8) on fd 5: tcp …`; empty
  /// if the thread waits for no thread, or for one of several, or is deadlocked itself. Escaped.
  [[nodiscard]] std::string follow(const Thread& thread, ChainDetail detail = ChainDetail::Full);
  /// The same behind the name of the first thread: ", which waits for …".
  [[nodiscard]] std::string follow_from_holder(const Thread& thread,
                                               ChainDetail detail = ChainDetail::Full);
  /// The thread at the end of the chain, as far as follow() tells what it is doing; else nullptr.
  [[nodiscard]] const Thread* end_of(const Thread& thread) const;

 private:
  [[nodiscard]] const Thread* find(pid_t tid) const;
  [[nodiscard]] bool is_deadlocked(pid_t tid) const { return deadlocked_.contains(tid); }

  const Snapshot& snapshot_;
  ActivityFinder activities_;
  Origins origins_;
  std::unordered_map<pid_t, const Thread*> by_tid_;
  std::unordered_map<pid_t, bool> deadlocked_;
};

/// The one thread that this thread's wait depends on; 0: none, or one of several.
[[nodiscard]] pid_t waits_for_thread(const Thread& thread);

}  // namespace pyscope
