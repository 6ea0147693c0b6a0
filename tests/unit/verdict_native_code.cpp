// What native frames add to a verdict, over models that are made by hand.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "verdict/native_code.hpp"

using namespace pyscope;

namespace {

constexpr pid_t kTid = 7;

/// A look at one thread whose innermost native frames are these, then a Python frame, then main().
Snapshot look(const std::vector<NativeLocation>& innermost) {
  Snapshot snapshot;
  Thread thread;
  thread.tid = kTid;
  const auto add = [&](const NativeLocation& location) {
    Frame& frame = thread.frames.emplace_back();
    frame.kind = FrameKind::Native;
    frame.native = static_cast<std::uint32_t>(snapshot.native_locations.size());
    snapshot.native_locations.push_back(location);
  };
  for (const NativeLocation& location : innermost)
    add(location);
  thread.frames.emplace_back();
  add({.function = "main", .module = "/srv/app/server"});
  snapshot.threads.push_back(std::move(thread));
  snapshot.capture.paused_threads = 1;
  snapshot.capture.paused_us = 90;
  return snapshot;
}

NativeLocation function(const std::string& name, const std::string& module) {
  return {.function = name, .module = module, .offset = 0x10};
}

Diagnosis diagnosis_of(Verdict verdict, const std::string& summary) {
  Diagnosis diagnosis;
  ThreadDiagnosis& judged = diagnosis.threads.emplace_back();
  judged.tid = kTid;
  judged.verdict = verdict;
  judged.summary = summary;
  diagnosis.last = look({});
  return diagnosis;
}

const std::string kSummary = "in native code, called in fit (model.py:5)";

}  // namespace

TEST_CASE("a thread in native code is named by its innermost function", "[why]") {
  Diagnosis diagnosis = diagnosis_of(Verdict::InNativeCode, kSummary);
  const Snapshot seen =
      look({function("", "/lib/libblas.so"), function("kernel", "/lib/libblas.so"),
            function("matmul", "/np/umath.so")});
  add_native_code(diagnosis, {seen, seen});
  const ThreadDiagnosis& judged = diagnosis.threads.front();
  CHECK(judged.summary == "in kernel (libblas.so), called in fit (model.py:5)");
  REQUIRE(judged.evidence.size() == 1);
  CHECK(judged.evidence.front() ==
        "in libblas.so, called by kernel, called by matmul (umath.so), in 2 of 2 looks");
  CHECK(diagnosis.native_looks == 2);
  CHECK(diagnosis.paused_us == 90);
}

TEST_CASE("of several native functions, the one that was seen most often is named", "[why]") {
  Diagnosis diagnosis = diagnosis_of(Verdict::InNativeCode, kSummary);
  const Snapshot copy = look({function("copy", "/lib/libblas.so")});
  const Snapshot kernel = look({function("kernel", "/lib/libblas.so")});
  add_native_code(diagnosis, {copy, kernel, kernel});
  const ThreadDiagnosis& judged = diagnosis.threads.front();
  CHECK(judged.summary == "in kernel (libblas.so), called in fit (model.py:5)");
  CHECK(judged.evidence.front() == "most often in kernel (libblas.so), in 2 of 3 looks");
}

TEST_CASE("without names a library is named, and without a library that", "[why]") {
  Diagnosis diagnosis = diagnosis_of(Verdict::InNativeCode, kSummary);
  SECTION("a library") {
    add_native_code(diagnosis, {look({function("", "/lib/libblas.so")})});
    CHECK(diagnosis.threads.front().summary == "in libblas.so, called in fit (model.py:5)");
  }
  SECTION("none") {
    add_native_code(diagnosis, {look({function("", "")})});
    CHECK(diagnosis.threads.front().summary ==
          "in code that is in no file, called in fit (model.py:5)");
  }
  SECTION("nothing below the Python line") {
    add_native_code(diagnosis, {look({})});
    CHECK(diagnosis.threads.front().summary == kSummary);
    CHECK(diagnosis.threads.front().evidence.front() ==
          "no native function was found below its Python line");
  }
  SECTION("it could not be held") {
    Snapshot refused = look({});
    refused.threads.front().native_error = "it is traced by process 12";
    add_native_code(diagnosis, {refused});
    CHECK(diagnosis.threads.front().evidence.front() == "it is traced by process 12");
  }
  SECTION("no look") {
    add_native_code(diagnosis, {});
    CHECK(diagnosis.threads.front().summary == kSummary);
    CHECK(diagnosis.native_looks == 0);
  }
}

TEST_CASE("native frames explain waits that Python knows nothing of, and no others", "[why]") {
  const Snapshot seen =
      look({function("pthread_mutex_lock", "/lib/libc.so.6"), function("commit", "/lib/libdb.so")});
  const auto evidence = [&](Verdict verdict, bool known_lock) {
    Diagnosis diagnosis = diagnosis_of(verdict, "waiting");
    if (known_lock) diagnosis.last.threads.front().lock = LockWait{};
    add_native_code(diagnosis, {seen});
    CHECK(diagnosis.threads.front().summary == "waiting");
    return diagnosis.threads.front().evidence;
  };
  const std::string where =
      "in pthread_mutex_lock (libc.so.6), called by commit (libdb.so), in 1 of 1 looks";
  CHECK(evidence(Verdict::WaitingForLock, false) == std::vector{where});
  CHECK(evidence(Verdict::WaitingForIo, false) == std::vector{where});
  CHECK(evidence(Verdict::WaitingForLock, true).empty());
  for (const Verdict verdict : {Verdict::Deadlocked, Verdict::Looping, Verdict::WaitingForGil,
                                Verdict::Progressing, Verdict::Sleeping, Verdict::Idle}) {
    CHECK(evidence(verdict, false).empty());
  }
}
