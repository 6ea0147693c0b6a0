// What counts as the same as in the last dump.
#include <catch2/catch.hpp>

#include "pyscope/snapshot.hpp"

using namespace pyscope;

namespace {

/// One thread in a native function that a Python function has called.
Snapshot snapshot_in(const std::string& native, const std::string& python = "run") {
  Snapshot snapshot;
  snapshot.codes.push_back({python, python, "/srv/app.py", 1});
  snapshot.native_locations.push_back(
      {.function = native, .module = "/lib/libc.so.6", .offset = 0x10});
  Thread& thread = snapshot.threads.emplace_back();
  thread.tid = 7;
  thread.consistent = true;
  Frame& inner = thread.frames.emplace_back();
  inner.kind = FrameKind::Native;
  inner.native = 0;
  Frame& outer = thread.frames.emplace_back();
  outer.code = 0;
  return snapshot;
}

bool unchanged(Snapshot snapshot, const Snapshot& before) {
  mark_unchanged(snapshot, before);
  return snapshot.threads.front().unchanged.value();
}

}  // namespace

TEST_CASE("a thread is as before only if its Python and its native frames are") {
  const Snapshot before = snapshot_in("poll");
  CHECK(unchanged(snapshot_in("poll"), before));
  CHECK_FALSE(unchanged(snapshot_in("poll", "stop"), before));
  CHECK_FALSE(unchanged(snapshot_in("read"), before));
  Snapshot elsewhere = snapshot_in("poll");
  elsewhere.native_locations.front().offset = 0x20;
  CHECK_FALSE(unchanged(elsewhere, before));
}

TEST_CASE("native frames that stand apart, and what is said of them, count, too") {
  const auto apart = [](const std::string& native) {
    Snapshot snapshot = snapshot_in(native);
    Thread& thread = snapshot.threads.front();
    thread.native_frames.push_back(thread.frames.front());
    thread.frames.erase(thread.frames.begin());
    return snapshot;
  };
  const Snapshot before = apart("poll");
  CHECK(unchanged(apart("poll"), before));
  CHECK_FALSE(unchanged(apart("read"), before));
  Snapshot held = apart("poll");
  held.threads.front().native_error = "it could not be held";
  CHECK_FALSE(unchanged(held, before));
  Snapshot noted = apart("poll");
  noted.threads.front().native_note = "the stacks contradict each other";
  CHECK_FALSE(unchanged(noted, before));
}
