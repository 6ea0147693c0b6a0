#include "verdict/activity.hpp"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "base/file_name.hpp"

namespace pyscope {
namespace {

bool is_stopped(const Thread& thread) {
  const char state = thread.os_state.value_or('?');
  return state == 'T' || state == 't';
}

/// A thread's frames from the innermost on, with those that were left out by request.
class Frames {
 public:
  explicit Frames(const Thread& thread) : thread_(thread) {}
  /// The next Python frame; nullptr if there is none.
  const Frame* next() {
    const std::size_t shown = thread_.frames.size();
    while (at_ < shown + thread_.outer_frames.size()) {
      const Frame& frame = at_ < shown ? thread_.frames[at_] : thread_.outer_frames[at_ - shown];
      ++at_;
      if (frame.kind == FrameKind::Python) return &frame;
    }
    return nullptr;
  }

 private:
  const Thread& thread_;
  std::size_t at_ = 0;
};

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
    case WaitKind::Intake:
    case WaitKind::Event:
      return ActivityKind::WaitingForEvent;
    case WaitKind::Lock:
      return ActivityKind::WaitingForLock;
    case WaitKind::Outside:
      return ActivityKind::WaitingOutside;
  }
  return ActivityKind::Blocked;
}

}  // namespace

std::string waiting_library(const Snapshot& snapshot, const Thread& thread) {
  static constexpr std::string_view kPassOn[] = {"libc.",     "libc-",  "libpthread", "libstdc++",
                                                 "libc++",    "libgcc", "libffi",     "_ctypes",
                                                 "libpython", "python", "ld-",        "["};
  const auto& frames = thread.native_frames.empty() ? thread.frames : thread.native_frames;
  for (const Frame& frame : frames) {
    if (frame.kind == FrameKind::Python) break;
    const NativeLocation* location = native_location(snapshot, frame);
    if (location == nullptr || location->module.empty()) continue;
    const std::string_view name = file_name(location->module);
    const bool passes_on =
        std::any_of(std::begin(kPassOn), std::end(kPassOn),
                    [&](std::string_view part) { return name.starts_with(part); });
    if (!passes_on) return fmt::format(" ({})", name);
  }
  return {};
}

bool has_ended(const Thread& thread) {
  return thread.tid == 0 || thread.os_state == 'Z' || thread.os_state == 'X';
}

bool ActivityFinder::is_library_wait(const Frame& frame) const {
  const Code* code = code_of(&frame);
  return code != nullptr && find_standard_wait(*code) != nullptr;
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

const Code* ActivityFinder::code_of(const Frame* frame) const {
  const bool known = frame != nullptr && frame->code && *frame->code < snapshot_.codes.size();
  return known ? &snapshot_.codes[*frame->code] : nullptr;
}

/// Whether a function is the outermost one of its thread that belongs to the program, and holds no
/// lock. `caller` is what called it.
bool ActivityFinder::is_all_that_its_thread_does(const Thread& thread, const Frame* function,
                                                 const Frame* caller) const {
  if (thread.lock && thread.lock->waits_in_with) return false;
  if (function == nullptr || caller == nullptr) return !thread.truncated && thread.error.empty();
  const Code* code = code_of(function);
  const Code* begin = code_of(caller);
  return (code != nullptr && begins_thread(*code)) || (begin != nullptr && begins_thread(*begin));
}

/// What a blocked thread waits for where its stack doesn't say: the system call is a hint. Its
/// numbers are those of this machine, which is the target's too.
Activity ActivityFinder::blocked_in_system_call(const Thread& thread, const Frame* frame,
                                                const Frame* caller) const {
  if (thread.wait && thread.wait->kind == "database") {
    return {ActivityKind::WaitingForLock, "waiting for " + thread.wait->target, frame};
  }
  switch (thread.system_call.value_or(-1)) {
    case SYS_futex:
      // Written in C, so there is no frame of its own.
      if (thread.lock && thread.lock->type == "queue.SimpleQueue") {
        if (is_all_that_its_thread_does(thread, frame, caller)) {
          return {ActivityKind::Idle, "idle in SimpleQueue.get", nullptr};
        }
        return {ActivityKind::WaitingForEvent, "waiting for an item of a queue", frame};
      }
      if (thread.lock) return {ActivityKind::WaitingForLock, "waiting for a lock", frame};
      return {ActivityKind::Blocked,
              std::string(kWaitingInNativeCode) + waiting_library(snapshot_, thread), frame};
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return {ActivityKind::WaitingOutside, "sleeping", frame};
    default:
      return {ActivityKind::Blocked, "blocked", frame};
  }
}

const Frame* ActivityFinder::caller_of_wrappers(const Thread& thread) const {
  Frames frames(thread);
  const Frame* innermost = frames.next();
  for (const Frame* frame = innermost; frame != nullptr; frame = frames.next()) {
    const Code* code = code_of(frame);
    if (code == nullptr || !wraps_native_code(*code)) return frame;
  }
  return innermost;
}

Activity ActivityFinder::find(const Thread& thread) {
  Frames frames(thread);
  const Frame* innermost = frames.next();
  if (has_ended(thread)) return {ActivityKind::Ended, "ended", nullptr};
  if (thread.runs_in) return {ActivityKind::Elsewhere, "in another interpreter", nullptr};
  if (innermost == nullptr && !thread.error.empty()) {
    return {ActivityKind::Unreadable, "unreadable", nullptr};
  }

  WaitRun run;
  bool handing_on = false;
  const Frame* frame = innermost;
  for (; frame != nullptr; frame = frames.next()) {
    const StandardWait* wait = known_wait(*frame);
    if (wait == nullptr || (run.outermost != nullptr && wait->place == WaitPlace::Alone)) break;
    if (run.outermost == nullptr && wait->place == WaitPlace::Caller) break;
    if (handing_on && wait->kind == WaitKind::Idle) break;
    handing_on = handing_on || hands_on(*wait);
    run.outermost = wait;
    run.frame = frame;
    if (wait->place == WaitPlace::Alone) {
      // The function of the library that needs the lock has no say, but who called it has.
      frame = frames.next();
      break;
    }
  }
  // Functions of the library that only pass a wait on have no say.
  while (run.outermost != nullptr && frame != nullptr && is_library_wait(*frame))
    frame = frames.next();
  run.caller = frame;
  const bool takes_in = run.outermost != nullptr && run.outermost->kind == WaitKind::Intake &&
                        is_all_that_its_thread_does(thread, run.caller, frames.next());
  const bool idle = run.outermost != nullptr && (run.outermost->kind == WaitKind::Idle || takes_in);
  // For a wait that is part of something else, who waits says more than how.
  const Frame* notable = idle ? run.frame : run.outermost != nullptr ? run.caller : innermost;

  if (is_stopped(thread)) return {ActivityKind::Stopped, "stopped", notable};
  switch (thread.state) {
    case ThreadState::Running:
      if (innermost == nullptr)
        return {ActivityKind::Running, "running outside of Python", nullptr};
      return {ActivityKind::Running, "running", caller_of_wrappers(thread)};
    case ThreadState::WaitingForGil:
      return {ActivityKind::WaitingForGil, "waiting for the GIL", innermost};
    case ThreadState::Blocked:
      if (innermost == nullptr) break;
      if (run.outermost == nullptr) {
        Frames again(thread);
        (void)again.next();
        return blocked_in_system_call(thread, innermost, again.next());
      }
      if (takes_in) return {ActivityKind::Idle, std::string(run.outermost->idle_words), nullptr};
      return {kind_of(run.outermost->kind), std::string(run.outermost->words),
              idle ? nullptr : run.caller};
    case ThreadState::Unknown:
      if (innermost == nullptr) break;
      return {ActivityKind::Unknown, "in", notable};
  }
  if (!thread.python) return {ActivityKind::NoFrames, "without Python", nullptr};
  return {ActivityKind::NoFrames, "without Python frames", nullptr};
}

}  // namespace pyscope
