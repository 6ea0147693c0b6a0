#include <fmt/core.h>

#include <algorithm>

#include "pyscope/snapshot.hpp"

namespace pyscope {
namespace {

const Code* code_of(const Snapshot& snapshot, const Frame& frame) {
  return frame.code && *frame.code < snapshot.codes.size() ? &snapshot.codes[*frame.code] : nullptr;
}

const Locals* locals_of(const Snapshot& snapshot, const Frame& frame) {
  return frame.locals && *frame.locals < snapshot.locals.size() ? &snapshot.locals[*frame.locals]
                                                                : nullptr;
}

template <class T>
bool same(const T* x, const T* y) {
  return x == nullptr || y == nullptr ? x == y : *x == *y;
}

/// The numbers of codes and the like are each snapshot's own: what they mean is compared.
bool same_frame(const Snapshot& a, const Frame& x, const Snapshot& b, const Frame& y) {
  if (x.kind != y.kind || !(x.position == y.position) || x.error != y.error) return false;
  if (!same(code_of(a, x), code_of(b, y))) return false;
  if (!same(native_location(a, x), native_location(b, y))) return false;
  const Locals* locals_x = locals_of(a, x);
  const Locals* locals_y = locals_of(b, y);
  if ((locals_x == nullptr) != (locals_y == nullptr)) return false;
  return locals_x == nullptr || locals_x->variables == locals_y->variables;
}

}  // namespace

void mark_unchanged(Snapshot& snapshot, const Snapshot& before) {
  const auto find = [](const Snapshot& in, const Thread& wanted) {
    return std::find_if(in.threads.begin(), in.threads.end(),
                        [&](const Thread& thread) { return stack_id(thread) == stack_id(wanted); });
  };
  const auto same_frames = [&](const std::vector<Frame>& now, const std::vector<Frame>& then) {
    return std::equal(
        now.begin(), now.end(), then.begin(), then.end(),
        [&](const Frame& x, const Frame& y) { return same_frame(snapshot, x, before, y); });
  };
  for (Thread& thread : snapshot.threads) {
    const auto old = find(before, thread);
    thread.unchanged = old != before.threads.end() && thread.consistent && old->consistent &&
                       thread.state == old->state && thread.runs_in == old->runs_in &&
                       thread.error == old->error && thread.native_note == old->native_note &&
                       thread.native_error == old->native_error &&
                       same_frames(thread.frames, old->frames) &&
                       same_frames(thread.native_frames, old->native_frames);
  }
  // A thread that has left an interpreter goes on in the one that it came from.
  const auto is_there = [&](const Thread& wanted) {
    return std::any_of(snapshot.threads.begin(), snapshot.threads.end(), [&](const Thread& thread) {
      return thread.tid == wanted.tid && thread.ident == wanted.ident;
    });
  };
  for (const Thread& thread : before.threads) {
    if (is_there(thread)) continue;
    snapshot.warnings.push_back(fmt::format("thread {}{} has ended since the last dump", thread.tid,
                                            thread.name ? " " + *thread.name : std::string{}));
  }
}

}  // namespace pyscope
