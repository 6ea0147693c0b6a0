// Native frames: the same ones that gdb sees, each run of Python frames right before the native
// frame that executes it.

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/native_stacks.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

constexpr int kPartial = 6;
constexpr const char* kLoop = "_PyEval_EvalFrameDefault";

Workspace workspace_with_library(const Interpreter& interpreter) {
  Workspace workspace(interpreter);
  fs::copy_file(PYSCOPE_NATIVE_LIBRARY, workspace.outside("native_library.so"));
  return workspace;
}

/// A target that does one of the cases of native.py, and has got there.
Target start(const Interpreter& interpreter, const std::string& name,
             const TargetOptions& options = {}) {
  Target target(workspace_with_library(interpreter), "native.py", {name}, options);
  REQUIRE(target.read().at("ready") == true);
  return target;
}

Target start_blocked(const Interpreter& interpreter, const std::string& name,
                     const TargetOptions& options = {}) {
  Target target = start(interpreter, name, options);
  REQUIRE(all_sleep(target.pid()));
  return target;
}

std::map<pid_t, NativeStack> judge(const Target& target) {
  return gdb_stacks(target.pid(), target.interpreter().root, target.interpreter().executable);
}

std::string text_of(const json& frame, const char* key) {
  return frame.contains(key) && frame.at(key).is_string() ? frame.at(key).get<std::string>() : "";
}

bool is_native(const json& frame) {
  return frame.at("kind") == "native";
}

/// The functions of a stack's Python frames, without their module's other names: one row for each
/// run that no native frame interrupts.
using Runs = std::vector<std::vector<std::string>>;

Runs runs_of(const json& thread) {
  Runs runs;
  bool native = true;
  for (const json& frame : thread.at("frames")) {
    if (frame.at("kind") == "python") {
      if (native) runs.emplace_back();
      runs.back().push_back(frame.at("qualified_name"));
    }
    native = is_native(frame) || (native && frame.at("kind") == "shim");
  }
  return runs;
}

/// The native frames right behind runs of Python frames, as indices into the native stack.
std::set<std::size_t> loops_of(const json& thread) {
  std::set<std::size_t> loops;
  std::size_t native = 0;
  bool behind_entry = false;
  for (const json& frame : thread.at("frames")) {
    if (is_native(frame)) {
      if (behind_entry) loops.insert(native);
      ++native;
    }
    behind_entry = frame.at("kind") == "shim";
  }
  return loops;
}

std::set<std::size_t> loops_of(const NativeStack& judged) {
  std::set<std::size_t> loops;
  for (std::size_t i = 0; i < judged.size(); ++i) {
    if (judged[i].function == kLoop) loops.insert(i);
  }
  return loops;
}

/// With --native=full each run ends in the mark of its entry, and then comes a native frame; the
/// end of a chain may have a mark of its own.
void check_order(const json& thread) {
  const json& frames = thread.at("frames");
  for (std::size_t i = 0; i + 1 < frames.size(); ++i) {
    CAPTURE(i);
    const std::string kind = frames[i].at("kind");
    const std::string next = frames[i + 1].at("kind");
    if (kind == "python") CHECK(next != "native");
    if (kind == "shim") CHECK(next == "native");
  }
}

/// What folding leaves is in its order, has all Python frames and all native ones of libraries that
/// Python code has called, and not the interpreter's loop.
void check_folded(const json& folded, const json& full, const std::string& interpreter) {
  std::vector<json> left;
  std::vector<json> all;
  const auto without_marks = [](const json& thread, std::vector<json>& frames) {
    for (const json& frame : thread.at("frames"))
      if (frame.at("kind") != "shim") frames.push_back(frame);
  };
  without_marks(folded, left);
  without_marks(full, all);
  const auto last_python =
      std::find_if(all.rbegin(), all.rend(), [](const json& f) { return !is_native(f); }).base();
  auto next = left.begin();
  for (auto frame = all.begin(); frame != all.end(); ++frame) {
    if (next != left.end() && *next == *frame) {
      ++next;
      continue;
    }
    CAPTURE(frame->dump());
    CHECK(is_native(*frame));
    const bool of_interpreter = text_of(*frame, "module").ends_with(interpreter);
    CHECK((of_interpreter || frame >= last_python));
  }
  CHECK(next == left.end());
  for (const json& frame : left) {
    CHECK(text_of(frame, "function") != kLoop);
    CHECK(text_of(frame, "function") != "PyObject_Vectorcall");
  }
}

/// These are on the stack in this order, among others: "py " and a Python function's name, or a
/// part of a native function's.
void check_has(const json& thread, const std::vector<std::string>& wanted) {
  auto next = wanted.begin();
  for (const json& frame : thread.at("frames")) {
    if (next == wanted.end()) break;
    if (frame.at("kind") == "python") {
      if ("py " + frame.at("qualified_name").get<std::string>() == *next) ++next;
    } else if (is_native(frame)) {
      if (text_of(frame, "function").find(*next) != std::string::npos) ++next;
    }
  }
  CAPTURE(thread.dump(1));
  CHECK((next == wanted.end() ? std::string() : *next) == "");
}

/// The innermost runs of a stack, to the one that begins with the case's own function.
void check_runs(const json& thread, const Runs& wanted, const std::string& own) {
  Runs runs = runs_of(thread);
  const auto last =
      std::find_if(runs.begin(), runs.end(), [&](const auto& run) { return run.front() == own; });
  REQUIRE(last != runs.end());
  CHECK(Runs(runs.begin(), last) == wanted);
}

/// Stops a process that runs, and starts it again until it stands where it is wanted.
class Stopped {
 public:
  Stopped(pid_t pid, const std::function<bool(const json& frame)>& innermost) : pid_(pid) {
    reached_ = eventually([&] {
      ::kill(pid_, SIGCONT);
      ::kill(pid_, SIGSTOP);
      const bool stands = eventually([&] {
        const auto tasks = task_activity(pid_);
        return std::all_of(tasks.begin(), tasks.end(),
                           [](const TaskActivity& task) { return task.state == 'T'; });
      });
      if (!stands) return false;
      dump_ = dump(pid_, {"--native=full"});
      return innermost(thread_of(dump_.json, pid_).at("frames").at(0));
    });
  }
  ~Stopped() { ::kill(pid_, SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

  [[nodiscard]] bool reached() const { return reached_; }
  [[nodiscard]] const Dump& dumped() const { return dump_; }

 private:
  pid_t pid_;
  bool reached_ = false;
  Dump dump_;
};

}  // namespace

TEST_CASE("native frames are those that gdb sees, and Python frames have their places among them",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start_blocked(interpreter, "all");
  const Dump full = dump(target.pid(), {"--native=full"});
  CAPTURE(full.err);
  CHECK(full.status == 0);
  const json& capture = full.json.at("capture");
  CHECK(capture.at("consistent") == true);
  CHECK(capture.at("paused_us") > 0);
  CHECK(capture.at("paused_threads") == full.json.at("threads").size());
  const Dump folded = dump(target.pid(), {"--native"});
  CHECK(folded.status == 0);
  CHECK(goes_on(target.pid()));
  const auto judged = judge(target);
  const json truth = target.ask();
  CHECK(difference(full.json, truth) == "");
  CHECK(difference(folded.json, truth) == "");

  for (const json& thread : full.json.at("threads")) {
    const std::string name = text_of(thread, "name");
    CAPTURE(name, thread.at("tid").dump());
    CHECK_FALSE(thread.contains("native_error"));
    CHECK_FALSE(thread.contains("native_note"));
    const NativeStack& stack = judged.at(thread.at("tid"));
    CHECK(native_stack(thread) == stack);
    check_order(thread);
    // What was compiled without its symbols has gdb guess.
    if (interpreter.debug()) CHECK(loops_of(thread) == loops_of(stack));
    check_folded(thread_of(folded.json, thread.at("tid").get<pid_t>()), thread,
                 interpreter.executable);
  }

  const auto thread = [&](const std::string& name) { return thread_of(full.json, name); };
  Runs sorts{{"block", "sort.<locals>.key"}};
  sorts.resize(51, {"sort.<locals>.key"});
  check_runs(thread("sort"), sorts, "sort");
  check_runs(thread("qsort"), {{"block", "qsort.<locals>.compare"}}, "qsort");
  check_runs(thread("finalizer"), {{"block", "finalizer.<locals>.Resource.__del__"}}, "finalizer");
  check_runs(thread("attribute"), {{"block", "attribute.<locals>.Lazy.__getattr__"}}, "attribute");
  check_runs(thread("generator"),
             {{"block", "generator.<locals>.more", "generator.<locals>.numbers"}}, "generator");
  check_runs(thread("mapping"), {{"block", "mapping.<locals>.double"}}, "mapping");
  check_runs(thread("python_on_signal_stack"), {{"block"}}, "python_on_signal_stack");
  check_runs(thread("poll"), {}, "poll");

  const auto shown = [&](const std::string& name) { return thread_of(folded.json, name); };
  check_has(shown("qsort"),
            {"read", "py block", "py qsort.<locals>.compare", "qsort", "ffi_call", "py qsort"});
  check_has(shown("cart"), {"poll", "wait_for_good", "shop::Cart<double>::wait(double)",
                            "wait_in_cart", "py cart"});
  check_has(shown("exception"), {"wait_for_good", "catch_and_wait", "ffi_call", "py exception"});
  check_has(shown("signal_handler"), {"wait_for_good", "wait_in_handler", "wait_in_signal_handler",
                                      "ffi_call", "py signal_handler"});
  check_has(shown("signal_stack"),
            {"wait_in_handler", "wait_on_signal_stack", "ffi_call", "py signal_stack"});
  check_has(shown("python_on_signal_stack"),
            {"py block", "call_in_handler", "call_on_signal_stack", "py python_on_signal_stack"});
  check_has(shown("poll"), {"poll", "py poll"});
  check_has(shown("sleep"), {"clock_nanosleep", "py sleep"});
  // The one that Python doesn't know by a name.
  const auto attached =
      std::find_if(folded.json.at("threads").begin(), folded.json.at("threads").end(),
                   [](const json& t) { return t.at("name").is_null(); });
  REQUIRE(attached != folded.json.at("threads").end());
  check_has(*attached, {"py block", "py attached_thread", "begin_attached_thread"});
}
