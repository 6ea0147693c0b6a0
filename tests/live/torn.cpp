// Threads that never hold still: what is said to be verified must be possible.
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "pyscope/capture.hpp"
#include "support/catch.hpp"
#include "support/legal_stacks.hpp"
#include "support/target.hpp"

using namespace pyscope;
using namespace pyscope::test;
using nlohmann::json;

namespace {

/// How many stacks there were with each proof.
using Counts = std::map<Proof, int>;

/// Takes snapshots of all kinds of restless threads, and fails for each verified stack that is
/// impossible.
Counts watch_restless_threads(const test::Interpreter& interpreter, const CaptureOptions& options,
                              int snapshots, const TargetOptions& of_target = {},
                              const std::vector<std::string>& kinds = {}) {
  Target target(interpreter, "torn.py", kinds, of_target);
  const LegalStacks legal(target.read().at("callers"));
  Counts counts;
  for (int i = 0; i < snapshots; ++i) {
    const auto snapshot = capture(target.pid(), options);
    REQUIRE(snapshot);
    for (const Thread& thread : snapshot->threads) {
      ++counts[thread.proof];
      if (!thread.consistent) {
        CHECK_FALSE(thread.inconsistency.empty());
        // What was to be paused and wasn't says why: on a machine that is busy enough, the time is
        // up. A thread that ends while it is read is nobody's to pause.
        if (options.pause != Pause::Never && thread.name && !thread.name->starts_with("Thread-")) {
          CAPTURE(thread.inconsistency);
          CHECK((thread.inconsistency.find("paused") != std::string::npos ||
                 thread.inconsistency.find("held") != std::string::npos));
        }
        continue;
      }
      const std::string fault = legal.find_fault(*snapshot, thread);
      CAPTURE(thread.name.value_or(""), thread.attempts, static_cast<int>(thread.proof));
      CHECK(fault == "");
    }
  }
  return counts;
}

/// Runs something that may throw in a thread that isn't the program's first one.
void in_another_thread(const std::function<void()>& run) {
  std::exception_ptr thrown;
  std::thread([&] {
    try {
      run();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace

TEST_CASE("a stack that is said to be verified is never an impossible one", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  // The frames of 3.11's debug build are those of its release build.
  if (interpreter.debug() && interpreter.minor() < 13) return;
  CaptureOptions options;
  options.source = false;
  const Counts counts = watch_restless_threads(interpreter, options, 200);
  int all = 0;
  for (const auto& [proof, count] : counts)
    all += count;
  // Else nothing was tried.
  CHECK(all > 200);
  CHECK(counts.at(Proof::Preempted) > 100);
}

TEST_CASE("a stack that is verified by two copies is never an impossible one", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  // The frames of 3.11's debug build are those of its release build.
  if (interpreter.debug() && interpreter.minor() < 13) return;
  CaptureOptions options;
  options.source = false;
  // A thread of pyscope that isn't its first one can't be pinned to another thread's CPU.
  Counts counts;
  in_another_thread([&] { counts = watch_restless_threads(interpreter, options, 200); });
  CHECK(counts[Proof::Preempted] == 0);
  CHECK(counts[Proof::Gil] > 20);
  CHECK(counts[Proof::TwoCopies] > 100);
}

TEST_CASE("a stack of what CPython has compiled is never an impossible one", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  // The frames of 3.11's debug build are those of its release build.
  if (interpreter.debug() && interpreter.minor() < 13) return;
  // 3.13 has no compiler in the builds that there are. That of 3.14 is an experiment which ends one
  // of these threads by a SystemError sooner or later.
  if (interpreter.minor() < 15) return;
  CaptureOptions options;
  options.source = false;
  TargetOptions compiled;
  compiled.environment = {"PYTHON_JIT=1"};
  Counts counts = watch_restless_threads(interpreter, options, 100, compiled);
  CHECK(counts[Proof::Preempted] > 50);
  in_another_thread([&] { counts = watch_restless_threads(interpreter, options, 100, compiled); });
  CHECK(counts[Proof::Gil] > 20);
  CHECK(counts[Proof::TwoCopies] > 50);
}

TEST_CASE("what can not be verified is exact when it is paused", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  // The frames of 3.11's debug build are those of its release build.
  if (interpreter.debug() && interpreter.minor() < 13) return;
  CaptureOptions options;
  options.source = false;
  SECTION("only that") {
    options.pause = Pause::Unverified;
    Counts counts;
    in_another_thread([&] { counts = watch_restless_threads(interpreter, options, 100); });
    CHECK(counts[Proof::Gil] > 20);
  }
  SECTION("with all others") {
    options.pause = Pause::All;
    Counts counts = watch_restless_threads(interpreter, options, 50);
    CHECK(counts[Proof::Paused] > 50);
  }
  SECTION("with native frames") {
    options.native = Native::Folded;
    Counts counts = watch_restless_threads(interpreter, options, 20, {}, {"code", "churn"});
    CHECK(counts[Proof::Paused] > 20);
  }
}
