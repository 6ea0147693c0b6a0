#include "verdict/activity.hpp"

#include <sys/syscall.h>

#include <cstddef>

namespace pyscope {
namespace {

bool is_stopped(const Thread& thread) {
  const char state = thread.os_state.value_or('?');
  return state == 'T' || state == 't';
}

/// The first Python frame from `at` on; nullptr if there is none.
const Frame* next_frame(const std::vector<Frame>& frames, std::size_t& at) {
  while (at < frames.size() && frames[at].kind != FrameKind::Python) {
    ++at;
  }
  return at < frames.size() ? &frames[at] : nullptr;
}

/// What a blocked thread waits for where its stack doesn't say: the system call is a hint. Its
/// numbers are those of this machine, which is the target's too.
Activity blocked_in_system_call(const Thread& thread, const Frame* frame) {
  switch (thread.system_call.value_or(-1)) {
    case SYS_futex:
      // Written in C, so there is no frame of its own.
      if (thread.lock && thread.lock->type == "queue.SimpleQueue") {
        return {ActivityKind::Idle, "idle in SimpleQueue.get", nullptr};
      }
      return {ActivityKind::WaitingForLock, "waiting for a lock", frame};
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return {ActivityKind::WaitingOutside, "sleeping", frame};
    default:
      return {ActivityKind::Blocked, "blocked", frame};
  }
}

/// The waits at the inner end of a stack.
struct WaitRun {
  const StandardWait* outermost = nullptr;  // what the programmer called; nullptr: no known wait
  const Frame* frame = nullptr;             // its frame
  const Frame* caller = nullptr;            // who called it
};

ActivityKind kind_of(WaitKind wait) {
  switch (wait) {
    case WaitKind::Idle:
      return ActivityKind::Idle;
    case WaitKind::Lock:
      return ActivityKind::WaitingForLock;
    case WaitKind::Outside:
      return ActivityKind::WaitingOutside;
  }
  return ActivityKind::Blocked;
}

}  // namespace

bool has_ended(const Thread& thread) {
  return thread.tid == 0 || thread.os_state == 'Z' || thread.os_state == 'X';
}

const StandardWait* ActivityFinder::known_wait(const Frame& frame) {
  if (!frame.code || *frame.code >= waits_.size()) return nullptr;
  auto& wait = waits_[*frame.code];
  if (!wait) {
    wait = find_standard_wait(snapshot_.codes[*frame.code]);
    // Functions without words may wait in a lock of the library, and say nothing of the thread.
    if (*wait != nullptr && (*wait)->words.empty()) wait = nullptr;
  }
  return *wait;
}

Activity ActivityFinder::find(const Thread& thread) {
  std::size_t at = 0;
  const Frame* innermost = next_frame(thread.frames, at);
  if (has_ended(thread)) return {ActivityKind::Ended, "ended", nullptr};
  if (thread.runs_in) return {ActivityKind::Elsewhere, "in another interpreter", nullptr};
  if (innermost == nullptr && !thread.error.empty()) {
    return {ActivityKind::Unreadable, "unreadable", nullptr};
  }

  WaitRun run;
  const Frame* frame = innermost;
  for (; frame != nullptr; frame = next_frame(thread.frames, ++at)) {
    const StandardWait* wait = known_wait(*frame);
    if (wait == nullptr || (run.outermost != nullptr && wait->place == WaitPlace::Alone)) break;
    if (run.outermost == nullptr && wait->place == WaitPlace::Caller) break;
    run.outermost = wait;
    run.frame = frame;
    if (wait->place == WaitPlace::Alone) {
      frame = next_frame(thread.frames, ++at);
      break;
    }
  }
  run.caller = frame;
  const bool idle = run.outermost != nullptr && run.outermost->kind == WaitKind::Idle;
  // For a wait that is part of something else, who waits says more than how.
  const Frame* notable = idle ? run.frame : run.outermost != nullptr ? run.caller : innermost;

  if (is_stopped(thread)) return {ActivityKind::Stopped, "stopped", notable};
  switch (thread.state) {
    case ThreadState::Running:
      if (innermost == nullptr)
        return {ActivityKind::Running, "running outside of Python", nullptr};
      return {ActivityKind::Running, "running", innermost};
    case ThreadState::WaitingForGil:
      return {ActivityKind::WaitingForGil, "waiting for the GIL", innermost};
    case ThreadState::Blocked:
      if (innermost == nullptr) break;
      if (run.outermost == nullptr) return blocked_in_system_call(thread, innermost);
      return {kind_of(run.outermost->kind), run.outermost->words, idle ? nullptr : run.caller};
    case ThreadState::Unknown:
      if (innermost == nullptr) break;
      return {ActivityKind::Unknown, "in", notable};
  }
  if (!thread.python) return {ActivityKind::NoFrames, "without Python", nullptr};
  return {ActivityKind::NoFrames, "without Python frames", nullptr};
}

}  // namespace pyscope
