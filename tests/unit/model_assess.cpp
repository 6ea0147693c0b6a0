// The one judgement that "verified" and the exit status rest on.
#include <catch2/catch.hpp>

#include "pyscope/snapshot.hpp"

using namespace pyscope;

namespace {

Snapshot whole() {
  Snapshot snapshot;
  snapshot.capture.complete = true;
  Thread& thread = snapshot.threads.emplace_back();
  thread.consistent = true;
  thread.frames.emplace_back();
  snapshot.locals.emplace_back();
  SuspendedStack& task = snapshot.stacks.emplace_back();
  task.consistent = true;
  task.frames.emplace_back();
  return snapshot;
}

}  // namespace

TEST_CASE("a snapshot of which all was read and proven is verified", "[assess]") {
  const Snapshot snapshot = whole();
  CHECK(assess(snapshot).complete);
  CHECK(assess(snapshot).consistent);
  CHECK(exit_status(snapshot) == 0);
}

TEST_CASE("whatever is missing costs the word verified and the exit status alike", "[assess]") {
  Snapshot snapshot = whole();
  SECTION("threads") {
    snapshot.capture.complete = false;
  }
  SECTION("a part of a thread") {
    snapshot.threads[0].error = "no";
  }
  SECTION("native frames") {
    snapshot.threads[0].native_error = "no";
  }
  SECTION("a frame") {
    snapshot.threads[0].frames[0].error = "no";
  }
  SECTION("variables") {
    snapshot.locals[0].error = "no";
  }
  SECTION("a part of variables") {
    snapshot.locals[0].complete = false;
  }
  SECTION("a task") {
    snapshot.stacks[0].error = "no";
  }
  SECTION("a frame of a task") {
    snapshot.stacks[0].frames[0].error = "no";
  }
  CHECK_FALSE(assess(snapshot).complete);
  CHECK(assess(snapshot).consistent);
  CHECK_FALSE(assess(snapshot).verified());
  CHECK(exit_status(snapshot) == 6);
}

TEST_CASE("whatever is not proven costs the word verified and the exit status alike", "[assess]") {
  Snapshot snapshot = whole();
  SECTION("a thread") {
    snapshot.threads[0].consistent = false;
  }
  SECTION("variables") {
    snapshot.locals[0].consistent = false;
  }
  SECTION("a task") {
    snapshot.stacks[0].consistent = false;
  }
  CHECK(assess(snapshot).complete);
  CHECK_FALSE(assess(snapshot).verified());
  CHECK(exit_status(snapshot) == 6);
}
