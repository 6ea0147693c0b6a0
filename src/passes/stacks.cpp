#include "passes/stacks.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "passes/proofs.hpp"
#include "passes/threads.hpp"

namespace pyscope {
namespace {

/// So many of the frames that aren't shown are looked at for what their thread is doing.
constexpr std::size_t kOuterFrames = 64;

std::span<ThreadDraft> wanted_threads(Draft& draft) {
  return std::span(draft.threads).first(draft.wanted);
}

/// Keeps what tells what the thread is doing, however few frames are shown.
void add_outer_frames(Draft& draft, Thread& thread, std::span<const RawFrame> frames) {
  for (const RawFrame& raw : frames) {
    if (thread.outer_frames.size() == kOuterFrames) return;
    if (raw.is_entry()) continue;
    if (auto frame = resolve_frame(draft.codes, raw))
      thread.outer_frames.push_back(*std::move(frame));
  }
}

void resolve_frames(Draft& draft, ThreadDraft& entry) {
  constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
  Thread& thread = entry.thread;
  // Native frames are put between all frames, and only then are there too many.
  const std::size_t limit = draft.native ? kAll : draft.options.max_frames.value_or(kAll);
  std::size_t functions = 0;
  std::size_t moving = thread.consistent ? 0 : entry.stack.moving;
  const auto& frames = entry.stack.walk.frames;
  thread.frames.reserve(std::min(frames.size(), limit));
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const RawFrame& raw = frames[i];
    const bool moves = moving > 0;
    if (moves) --moving;
    if (functions == limit) {
      // What C code put between the functions, or beneath the last one, is no loss.
      if (raw.is_entry()) continue;
      thread.truncated = true;
      add_outer_frames(draft, thread, std::span(frames).subspan(i));
      break;
    }
    std::optional<Frame> frame;
    if (raw.is_entry()) {
      frame.emplace().kind = FrameKind::Shim;
    } else {
      frame = resolve_frame(draft.codes, raw);
      if (!frame) continue;
      ++functions;
    }
    frame->moving = moves;
    entry.raw_frames.push_back(i);
    thread.frames.push_back(*std::move(frame));
  }
  if (entry.stack.walk.limited) thread.truncated = true;
  if (!entry.stack.walk.error.empty()) {
    thread.error = entry.stack.walk.error;
    thread.truncated = true;
    thread.consistent = false;
    thread.proof = Proof::None;
  }
}

void take_proofs(std::span<ThreadDraft> threads) {
  for (ThreadDraft& entry : threads) {
    Thread& thread = entry.thread;
    thread.proof = entry.stack.proof;
    thread.consistent = entry.stack.proof != Proof::None;
    thread.attempts = entry.stack.attempts;
    thread.inconsistency = entry.stack.doubt;
  }
}

}  // namespace

std::optional<Frame> resolve_frame(CodeTable& codes, const RawFrame& raw) {
  Frame frame;
  const CodeTable::Entry& entry = codes.at(raw.executable);
  if (!entry.error.empty()) {
    frame.error = entry.error;
    return frame;
  }
  const auto unit = unit_of(codes, raw);
  frame.code = entry.index;
  if (!unit) {
    frame.error = unit.error().message;
    return frame;
  }
  // _PyFrame_IsIncomplete
  if (raw.owner != kOwnedByGenerator && static_cast<std::int64_t>(*unit) < entry.first_traceable) {
    return std::nullopt;
  }
  const CodeTable::Location& location = codes.location(raw.executable, *unit);
  frame.position = location.position;
  frame.error = location.error;
  return frame;
}

void read_stacks(Draft& draft) {
  const std::span<ThreadDraft> threads = wanted_threads(draft);
  if (draft.native) {
    for (const Thread& thread : draft.bare_threads)
      draft.native->others.push_back(thread.tid);
  }
  StackOptions options{.max_frames = draft.options.max_frames,
                       .pause = draft.options.pause,
                       .native = draft.native.has_value()};
  if (options.max_frames) {
    const std::size_t most = std::numeric_limits<std::size_t>::max() - kOuterFrames;
    options.max_frames = std::min(*options.max_frames, most) + kOuterFrames;
  }
  // Any of the frames may have taken a lock, however few are shown.
  if (std::any_of(threads.begin(), threads.end(),
                  [&](const ThreadDraft& thread) { return futex_of(draft, thread).has_value(); })) {
    options.max_frames.reset();
  }
  prove_stacks(draft, threads, options);
  drop_unproven_states(draft, threads);
  take_proofs(threads);
  for (ThreadDraft& thread : threads) {
    draft.snapshot.capture.attempts =
        std::max(draft.snapshot.capture.attempts, thread.stack.attempts);
    resolve_frames(draft, thread);
  }
}

void read_other_stacks(Draft& draft) {
  const std::span<ThreadDraft> others = std::span(draft.threads).subspan(draft.wanted);
  if (others.empty()) return;
  prove_stacks(draft, others, {});
  drop_unproven_states(draft, others);
  take_proofs(others);
}

void end_hold(Draft& draft) {
  const bool in_time = draft.holds.release();
  draft.snapshot.capture.paused_us = draft.holds.microseconds();
  draft.snapshot.capture.paused_threads = draft.holds.threads();
  if (in_time || draft.options.pause != Pause::All) return;
  for (ThreadDraft& entry : draft.threads) {
    if (entry.stack.proof != Proof::Paused) continue;
    entry.stack.proof = Proof::None;
    entry.thread.proof = Proof::None;
    entry.thread.consistent = false;
    entry.thread.inconsistency = "reading took longer than the thread was held";
    for (Frame& frame : entry.thread.frames)
      frame.moving = true;
  }
  for (Locals& locals : draft.snapshot.locals)
    locals.consistent = false;
  // The locks were found by stacks that aren't believed any more.
  draft.locks.clear();
  if (!draft.native) return;
  for (const auto& [tid, state] : draft.native->states)
    draft.native->refusals[tid] = "not for long enough to copy its stack";
  draft.native->states.clear();
}

}  // namespace pyscope
