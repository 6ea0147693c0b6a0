// Judgements over samples that are made by hand: what each verdict takes.
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "verdict/diagnosis_builder.hpp"

using namespace pyscope;
using namespace std::chrono_literals;

namespace {

constexpr pid_t kTid = 7;

struct SampleFrame {
  std::uint64_t id = 1;
  std::string function;
  std::int32_t line = 1;
};

/// One thread that is seen again and again.
class Sampler {
 public:
  Sampler() {
    thread.tid = kTid;
    thread.name = "worker";
    thread.consistent = true;
    thread.os_state = 'R';
    thread.state = ThreadState::Running;
    thread.cpu_time_us = 0;
    interpreter.id = 0;
  }

  /// A sample 10 ms after the last one; frames innermost first.
  void add(const std::vector<SampleFrame>& frames, std::uint64_t cpu_us = 10'000) {
    Snapshot snapshot;
    snapshot.interpreters.push_back(interpreter);
    DiagnosisBuilder::StackMarks marks;
    thread.frames.clear();
    thread.cpu_time_us = *thread.cpu_time_us + cpu_us;
    for (const SampleFrame& frame : frames) {
      Frame& made = thread.frames.emplace_back();
      made.code = static_cast<std::uint32_t>(snapshot.codes.size());
      made.position.line = frame.line;
      snapshot.codes.push_back({frame.function, frame.function, "/srv/app/app.py", 1});
      marks.frames.push_back(frame.id);
    }
    marks.at_backward_jump = at_backward_jump;
    snapshot.threads.push_back(thread);
    snapshot.deadlocks = deadlocks;
    now += 10ms;
    builder.add(std::move(snapshot), {marks}, now);
  }

  ThreadDiagnosis judge() {
    Diagnosis diagnosis = builder.finish();
    REQUIRE(diagnosis.threads.size() == 1);
    return diagnosis.threads.front();
  }

  void block(const std::string& kind) {
    thread.state = ThreadState::Blocked;
    thread.os_state = 'S';
    thread.wait = Wait{};
    thread.wait->kind = kind;
    thread.wait->system_call = "recvfrom";
    thread.wait->fd = 12;
    thread.wait->target = "tcp a -> b established";
  }

  DiagnosisBuilder builder;
  Thread thread;
  Interpreter interpreter;
  std::vector<Deadlock> deadlocks;
  bool at_backward_jump = false;
  DiagnosisBuilder::Clock::time_point now;
};

bool says(const ThreadDiagnosis& judged, const std::string& part) {
  for (const std::string& sentence : judged.evidence) {
    if (sentence.find(part) != std::string::npos) return true;
  }
  return judged.summary.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("one unchanged line with CPU time is native code") {
  Sampler sampler;
  for (int i = 0; i < 20; ++i)
    sampler.add({{2, "match", 9}, {1, "main", 3}});
  const ThreadDiagnosis judged = sampler.judge();
  CHECK(judged.verdict == Verdict::InNativeCode);
  CHECK(says(judged, "match (app.py:9)"));
  CHECK(says(judged, "used 100 % of one CPU"));
}

TEST_CASE("one unchanged line that ends a loop is a loop") {
  Sampler sampler;
  sampler.at_backward_jump = true;
  for (int i = 0; i < 20; ++i)
    sampler.add({{2, "spin", 9}, {1, "main", 3}});
  CHECK(sampler.judge().verdict == Verdict::Looping);
}

TEST_CASE("coming back to lines is a loop, and its variables tell which") {
  Sampler sampler;
  for (int i = 0; i < 20; ++i) {
    sampler.add({{3, "step", i}, {2, "solve", 40 + i % 3}, {1, "main", 3}});
    const auto places = sampler.builder.frames_to_look_into();
    REQUIRE(places.size() == 1);
    if (i == 0) continue;  // nothing is known to stay yet
    CHECK(places[0].frame == 1);
    Locals locals;
    locals.variables.push_back({.name = "i", .type = "int", .repr = std::to_string(1000 * i)});
    locals.variables.push_back({.name = "limit", .type = "int", .repr = "5"});
    sampler.builder.add_variables(places[0], locals, sampler.now);
  }
  const ThreadDiagnosis judged = sampler.judge();
  CHECK(judged.verdict == Verdict::Looping);
  CHECK(says(judged, "looping in solve (app.py)"));
  CHECK(says(judged, "lines 40 (35 %), 41 (35 %), 42 (30 %)"));
  CHECK(says(judged, "i: 1,000 → 19,000, about 100.0 k/s"));
  CHECK(says(judged, "unchanged: limit"));
}

TEST_CASE("a loop that others leave little of the CPU to is a loop") {
  Sampler sampler;
  for (int i = 0; i < 100; ++i) {
    sampler.thread.run_delay_us = 5'000'000 + 7'000 * static_cast<std::uint64_t>(i);
    sampler.add({{2, "loop", 10 + i % 3}, {1, "main", 3}}, 3'000);
  }
  const auto judged = sampler.judge();
  CHECK(judged.verdict == Verdict::Looping);
  CHECK(says(judged, "used 30 % of one CPU"));
  CHECK(says(judged, "could have run for another 70 % of the time"));
}

TEST_CASE("a loop in which no variable changes may be endless") {
  Sampler sampler;
  for (int i = 0; i < 20; ++i) {
    sampler.add({{2, "wait", 40 + i % 2}, {1, "main", 3}});
    Locals locals;
    locals.variables.push_back({.name = "done", .type = "bool", .repr = "False"});
    for (const auto& place : sampler.builder.frames_to_look_into())
      sampler.builder.add_variables(place, locals, sampler.now);
  }
  CHECK(says(sampler.judge(), "no variable of that function changed (done)"));
}

TEST_CASE("one line after the other is progress") {
  Sampler sampler;
  for (int i = 0; i < 20; ++i)
    sampler.add({{static_cast<std::uint64_t>(100 + i), "part", 1}, {1, "main", i}});
  CHECK(sampler.judge().verdict == Verdict::Progressing);
}

TEST_CASE("a recursion that only grows is told") {
  Sampler sampler;
  std::vector<SampleFrame> frames{{1, "main", 3}};
  for (int i = 0; i < 20; ++i) {
    for (int n = 0; n < 10; ++n)
      frames.insert(frames.begin(), {frames.size() + 10, "descend", 5});
    sampler.add(frames);
  }
  const ThreadDiagnosis judged = sampler.judge();
  CHECK(judged.verdict == Verdict::Looping);
  CHECK(says(judged, "recursion that grows, now 201 frames deep"));
}

TEST_CASE("most of the time without the GIL is a wait for it") {
  Sampler sampler;
  sampler.interpreter.gil_held_by = 99;
  for (int i = 0; i < 20; ++i) {
    sampler.thread.state = i % 4 == 0 ? ThreadState::Running : ThreadState::WaitingForGil;
    sampler.add({{2, "work", i % 3}, {1, "main", 3}});
  }
  const ThreadDiagnosis judged = sampler.judge();
  CHECK(judged.verdict == Verdict::WaitingForGil);
  CHECK(says(judged, "75 % of the time"));
  CHECK(says(judged, "99 had it (100 %)"));
}

TEST_CASE("what a blocked thread waits for is its verdict") {
  const auto verdict = [](const std::string& kind) {
    Sampler sampler;
    sampler.block(kind);
    for (int i = 0; i < 20; ++i)
      sampler.add({{2, "fetch", 9}, {1, "main", 3}}, 0);
    return sampler.judge();
  };
  CHECK(verdict("socket").verdict == Verdict::WaitingForIo);
  CHECK(says(verdict("socket"), "blocked in recvfrom on fd 12: tcp a -> b established"));
  CHECK(says(verdict("socket"), "for at least 0.2 s"));
  CHECK(verdict("child").verdict == Verdict::WaitingForIo);
  CHECK(verdict("sleep").verdict == Verdict::Sleeping);
  CHECK(verdict("file_lock").verdict == Verdict::WaitingForLock);
  CHECK(verdict("futex").verdict == Verdict::Waiting);
}

TEST_CASE("a lock's holder is part of the verdict") {
  const auto judged = [](Held held, bool deadlocked) {
    Sampler sampler;
    sampler.block("futex");
    LockWait lock;
    lock.type = "threading.Lock";
    lock.address = 0x1000;
    lock.name = "self.lock";
    lock.held = held;
    lock.held_by = held == Held::ByThread ? 9 : 0;
    sampler.thread.lock = lock;
    if (deadlocked) sampler.deadlocks.push_back({{{kTid, "worker", lock}, {9, "other", lock}}});
    for (int i = 0; i < 20; ++i)
      sampler.add({{2, "fetch", 9}, {1, "main", 3}}, 0);
    return sampler.judge();
  };
  CHECK(judged(Held::ByThread, false).verdict == Verdict::WaitingForLock);
  CHECK(says(judged(Held::ByThread, false), "for self.lock (threading.Lock), held by 9"));
  CHECK(says(judged(Held::ByNobodyFound, false), "no thread is seen to hold"));
  CHECK(judged(Held::NotALock, false).verdict == Verdict::Waiting);
  CHECK(judged(Held::ByThread, true).verdict == Verdict::Deadlocked);
}

TEST_CASE("a thread that is stopped, or was seen once, gets no verdict that isn't true") {
  Sampler sampler;
  sampler.thread.os_state = 'T';
  sampler.thread.state = ThreadState::Blocked;
  for (int i = 0; i < 5; ++i)
    sampler.add({{1, "main", 3}}, 0);
  const ThreadDiagnosis judged = sampler.judge();
  CHECK_FALSE(judged.verdict);
  CHECK(says(judged, "stopped"));
}

TEST_CASE("of a stack that isn't verified only what held still is used") {
  Sampler sampler;
  sampler.thread.consistent = false;
  for (int i = 0; i < 20; ++i) {
    Snapshot snapshot;
    snapshot.codes = {{"inner", "inner", "/a.py", 1}, {"loop", "loop", "/a.py", 9}};
    Thread thread = sampler.thread;
    thread.cpu_time_us = static_cast<std::uint64_t>(i) * 10'000;
    thread.frames.resize(2);
    thread.frames[0].code = 0;
    thread.frames[0].moving = true;
    thread.frames[0].position.line = i;
    thread.frames[1].code = 1;
    thread.frames[1].position.line = 20 + i % 2;
    snapshot.threads.push_back(thread);
    sampler.now += 10ms;
    sampler.builder.add(std::move(snapshot), {{{static_cast<std::uint64_t>(i), 1}, false}},
                        sampler.now);
  }
  const ThreadDiagnosis judged = sampler.judge();
  CHECK(judged.verdict == Verdict::Looping);
  CHECK(says(judged, "looping in loop (a.py)"));
  CHECK(says(judged, "could not be verified"));
}

TEST_CASE("a sleep may have centuries left", "[why]") {
  Sampler sampler;
  sampler.block("sleep");
  sampler.thread.wait->left_us = 1'000'000'000'000'000'000;
  for (int i = 0; i < 10; ++i)
    sampler.add({{1, "nap", 3}}, 0);
  const ThreadDiagnosis judged = sampler.judge();
  CHECK(judged.verdict == Verdict::Sleeping);
  CHECK(says(judged, "1000000000000.0 s are left"));
}
