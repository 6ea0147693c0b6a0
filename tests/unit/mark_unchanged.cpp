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

TEST_CASE("the stacks that one thread has in several interpreters are told apart") {
  const auto in_two = [](const std::string& outer, const std::string& inner) {
    Snapshot snapshot = snapshot_in("poll", outer);
    snapshot.threads.front().thread_state = 0x1000;
    snapshot.threads.front().runs_in = 1;
    Thread second = snapshot.threads.front();
    second.thread_state = 0x2000;
    second.interpreter = 1;
    second.runs_in.reset();
    second.frames.back().code = 1;
    snapshot.codes.push_back({inner, inner, "/srv/app.py", 1});
    snapshot.threads.push_back(second);
    return snapshot;
  };
  Snapshot now = in_two("run", "work");
  mark_unchanged(now, in_two("run", "begin"));
  CHECK(now.threads[0].unchanged == true);
  CHECK(now.threads[1].unchanged == false);
  // It goes on in the interpreter that it came from: it hasn't ended.
  Snapshot back = in_two("run", "work");
  back.threads.pop_back();
  back.threads.front().runs_in.reset();
  mark_unchanged(back, in_two("run", "work"));
  CHECK(back.threads.front().unchanged == false);
  CHECK(back.warnings.empty());
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
