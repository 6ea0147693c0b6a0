#include "format/chain_text.hpp"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "format/escape.hpp"
#include "format/lock_text.hpp"
#include "format/wait_text.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxPlaceColumns = 48;

std::string label_of_next(const LockWait& lock) {
  return lock.held_by != 0 ? thread_label(lock.held_by, lock.holder_name)
                           : thread_label(lock.served_by.front().tid, lock.served_by.front().name);
}

}  // namespace

std::string short_function(const Snapshot& snapshot, const Frame* frame) {
  if (frame == nullptr || !frame->code || *frame->code >= snapshot.codes.size()) return {};
  return clip(escape(snapshot.codes[*frame->code].qualified_name), kMaxPlaceColumns);
}

std::string short_place(const Snapshot& snapshot, const Frame* frame) {
  if (frame == nullptr || !frame->code || *frame->code >= snapshot.codes.size()) return {};
  const Code& code = snapshot.codes[*frame->code];
  const std::string name = short_function(snapshot, frame);
  const std::string path = clip(escape(telling_path(code.file)), kMaxPlaceColumns);
  if (!frame->position.line) return fmt::format("{} ({})", name, path);
  return fmt::format("{} ({}:{})", name, path, *frame->position.line);
}

pid_t waits_for_thread(const Thread& thread) {
  if (!thread.lock || thread.state != ThreadState::Blocked) return 0;
  if (thread.lock->held_by != 0) return thread.lock->held_by;
  return thread.lock->served_by.size() == 1 ? thread.lock->served_by.front().tid : 0;
}

ChainTexts::ChainTexts(const Snapshot& snapshot)
    : snapshot_(snapshot), activities_(snapshot), origins_(snapshot) {
  for (const Thread& thread : snapshot.threads) {
    // Of several stacks of a thread, the one that it executes tells why it goes on.
    if (!thread.runs_in && thread.tid != 0) by_tid_.emplace(thread.tid, &thread);
  }
  for (const Deadlock& deadlock : snapshot.deadlocks) {
    if (deadlock.of_processes()) continue;
    for (const Deadlock::Member& member : deadlock.cycle)
      deadlocked_.emplace(member.tid, true);
  }
}

const Thread* ChainTexts::find(pid_t tid) const {
  const auto found = by_tid_.find(tid);
  return found == by_tid_.end() ? nullptr : found->second;
}

namespace {
constexpr int kMostChainSteps = 8;
}

std::string ChainTexts::follow(const Thread& thread, ChainDetail detail) {
  if (waits_for_thread(thread) == 0 || is_deadlocked(thread.tid)) return {};
  return label_of_next(*thread.lock) + follow_from_holder(thread, detail);
}

const Thread* ChainTexts::end_of(const Thread& thread) const {
  const Thread* at = &thread;
  for (int step = 0; step < kMostChainSteps; ++step) {
    const pid_t next = waits_for_thread(*at);
    if (next == 0) return at == &thread ? nullptr : at;
    at = find(next);
    if (at == nullptr || at == &thread || is_deadlocked(next)) return nullptr;
  }
  return nullptr;
}

std::string ChainTexts::follow_from_holder(const Thread& thread, ChainDetail detail) {
  std::string text;
  if (waits_for_thread(thread) == 0 || is_deadlocked(thread.tid)) return text;
  const Thread* at = &thread;
  for (int step = 0; step < kMostChainSteps; ++step) {
    const pid_t next = waits_for_thread(*at);
    if (step > 0 && next != 0) text += ", which waits for " + label_of_next(*at->lock);
    if (next == 0) break;
    if (is_deadlocked(next)) return text + ", which is deadlocked";
    at = find(next);
    if (at == nullptr || at == &thread) return text;
  }
  if (waits_for_thread(*at) != 0) return text + ", and so on";
  const Activity activity = activities_.find(*at);
  switch (activity.kind) {
    case ActivityKind::Unreadable:
    case ActivityKind::Unknown:
    case ActivityKind::NoFrames:
    case ActivityKind::Elsewhere:
      return text;
    case ActivityKind::Ended:
      return text + ", which has ended";
    default:
      break;
  }
  const std::string place = short_place(snapshot_, origins_.own_frame(*at, activity.frame));
  text += fmt::format(", which is {}", clip(escape(activity.words), kMaxWordsColumns));
  if (!place.empty()) {
    text += activity.kind == ActivityKind::Running ? " " + place : " in " + place;
  }
  const bool outside =
      activity.kind == ActivityKind::WaitingOutside || activity.kind == ActivityKind::Blocked;
  if (outside && at->wait && detail == ChainDetail::Full) text += wait_details(*at->wait);
  return text;
}

}  // namespace pyscope
