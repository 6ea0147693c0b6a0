// Native frames: the same ones that gdb sees, each run of Python frames right before the native
// frame that executes it.

#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "pyscope/capture.hpp"
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

/// What gdb says of a target whose threads are all blocked. Whoever was held goes back into its
/// system call, which takes a moment, after pyscope as after gdb.
std::map<pid_t, NativeStack> judge(pid_t pid, const std::string& root,
                                   const std::string& executable) {
  REQUIRE(all_sleep(pid));
  auto stacks = gdb_stacks(pid, root, executable);
  REQUIRE(all_sleep(pid));
  return stacks;
}

std::map<pid_t, NativeStack> judge(const Target& target) {
  return judge(target.pid(), target.interpreter().root, target.interpreter().executable);
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
    const bool of_interpreter = text_of(*frame, "module").ends_with(interpreter) ||
                                text_of(*frame, "function").starts_with("py::jit:");
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

void remove_section_headers(std::string& file) {
  const auto zero = [&](std::size_t at, std::size_t size) { file.replace(at, size, size, '\0'); };
  zero(offsetof(Elf64_Ehdr, e_shoff), sizeof(Elf64_Off));
  zero(offsetof(Elf64_Ehdr, e_shnum), sizeof(Elf64_Half));
  zero(offsetof(Elf64_Ehdr, e_shstrndx), sizeof(Elf64_Half));
}

/// As some static programs are linked: no program header leads to .eh_frame_hdr.
void remove_search_table(std::string& file) {
  Elf64_Ehdr header{};
  std::memcpy(&header, file.data(), sizeof header);
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    char* const at = file.data() + header.e_phoff + i * sizeof(Elf64_Phdr);
    Elf64_Phdr segment{};
    std::memcpy(&segment, at, sizeof segment);
    if (segment.p_type != PT_GNU_EH_FRAME) continue;
    segment.p_type = PT_NULL;
    std::memcpy(at, &segment, sizeof segment);
  }
}

/// Stops a process that runs, and starts it again until it stands where it is wanted.
class Stopped {
 public:
  Stopped(pid_t pid, const std::function<bool(const json& thread)>& wanted,
          const std::string& option = "--native=full")
      : pid_(pid) {
    reached_ = eventually([&] {
      ::kill(pid_, SIGCONT);
      ::kill(pid_, SIGSTOP);
      const bool stands = eventually([&] {
        const auto tasks = task_activity(pid_);
        return std::all_of(tasks.begin(), tasks.end(),
                           [](const TaskActivity& task) { return task.state == 'T'; });
      });
      if (!stands) return false;
      dump_ = dump(pid_, {option});
      return wanted(thread_of(dump_.json, pid_));
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
  CHECK(goes_on(target.pid()));
  REQUIRE(all_sleep(target.pid()));
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
  check_has(shown("signal_handler"), {"wait_for_good", "wait_in_handler", "<signal handler called>",
                                      "wait_in_signal_handler", "ffi_call", "py signal_handler"});
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

TEST_CASE("an interpreter in a shared library is read as one in an executable is", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // they have no such library
  Workspace workspace = workspace_with_library(interpreter);
  fs::copy_file(PYSCOPE_EMBEDDING_PROGRAM, workspace.outside("embedding"));
  const std::string library = fmt::format("libpython3.{}.so.1.0", interpreter.minor());
  TargetOptions options;
  options.executable = workspace.inside("embedding");
  options.flags = {library};
  options.environment = {"PYTHONHOME=/usr"};
  Target target(std::move(workspace), "native.py", {"all"}, options);
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump full = dump(target.pid(), {"--native=full"});
  CAPTURE(full.err);
  CHECK(full.status == 0);
  CHECK(goes_on(target.pid()));
  REQUIRE(all_sleep(target.pid()));
  const Dump folded = dump(target.pid(), {"--native"});
  CHECK(folded.status == 0);
  const auto judged = judge(target.pid(), interpreter.root, options.executable);
  const json truth = target.ask();
  CHECK(difference(full.json, truth) == "");
  CHECK(difference(folded.json, truth) == "");
  bool in_library = false;
  for (const json& thread : full.json.at("threads")) {
    CAPTURE(thread.at("tid").dump());
    CHECK_FALSE(thread.contains("native_error"));
    CHECK_FALSE(thread.contains("native_note"));
    const NativeStack stack = native_stack(thread);
    CHECK(stack == judged.at(thread.at("tid")));
    check_order(thread);
    check_folded(thread_of(folded.json, thread.at("tid").get<pid_t>()), thread, library);
    in_library = in_library || std::any_of(stack.begin(), stack.end(), [&](const NativePlace& at) {
                   return at.module.ends_with(library);
                 });
  }
  CHECK(in_library);
  check_has(thread_of(folded.json, "qsort"),
            {"read", "py block", "py qsort.<locals>.compare", "qsort", "ffi_call", "py qsort"});
}

TEST_CASE("an interpreter in a static program is read as one in an executable is", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // their library is left out
  Workspace workspace(interpreter);
  workspace.write("static.c",
                  "int Py_BytesMain(int, char**);\n"
                  "int main(int argc, char** argv) { return Py_BytesMain(argc, argv); }\n");
  // With the C library that the interpreter was compiled for; some of the functions that its hashes
  // call are in no package. What is made has no search table for its unwinding information.
  const std::string libraries = interpreter.root + "/usr/lib/x86_64-linux-gnu/";
  const Outcome linked = run(
      {.command = {"/usr/bin/gcc", "-static", "-fno-use-linker-plugin",
                   "--sysroot=" + interpreter.root, "-B" + libraries, "-L" + libraries,
                   workspace.outside("static.c"), "-Wl,--unresolved-symbols=ignore-in-object-files",
                   fmt::format("-lpython3.{}", interpreter.minor()), "-lexpat", "-lz", "-lm", "-o",
                   workspace.outside("static")},
       .environment = {"PATH=/usr/bin:/bin"}});
  CAPTURE(linked.err);
  REQUIRE(linked.status == 0);
  TargetOptions options;
  const bool stripped = GENERATE(false, true);
  CAPTURE(stripped);
  if (stripped) {
    REQUIRE(run({.command = {"/usr/bin/strip", workspace.outside("static")}}).status == 0);
  }
  options.executable = workspace.inside("static");
  options.environment = {"PYTHONHOME=/usr"};
  Target target(std::move(workspace), "native.py", {"without_library"}, options);
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump full = dump(target.pid(), {"--native=full"});
  CAPTURE(full.err);
  CHECK(full.status == 0);
  CHECK(goes_on(target.pid()));
  const auto judged = judge(target.pid(), interpreter.root, options.executable);
  CHECK(difference(full.json, target.ask()) == "");
  CHECK(full.json.at("threads").size() == 9);
  for (const json& thread : full.json.at("threads")) {
    CAPTURE(text_of(thread, "name"));
    CHECK_FALSE(thread.contains("native_error"));
    CHECK_FALSE(thread.contains("native_note"));
    check_order(thread);
    CHECK(native_stack(thread) == judged.at(thread.at("tid")));
  }
}

TEST_CASE("a thread with Python frames of two interpreters has its native frames in both",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start_blocked(interpreter, "subinterpreter");
  const Dump full = dump(target.pid(), {"--native=full"});
  CHECK(full.status == 0);
  const NativeStack judged = judge(target).at(target.pid());
  std::set<std::size_t> loops;
  for (const json& thread : full.json.at("threads")) {
    if (thread.at("tid") != target.pid()) continue;
    CAPTURE(thread.dump());
    CHECK(native_stack(thread) == judged);
    const bool outer = thread.at("interpreter") == 0;
    const Runs runs = runs_of(thread);
    if (outer) {
      CHECK(runs == Runs{{"subinterpreter", "run_case", "<module>"}});
    } else {
      CHECK(runs == Runs{{"inner", "outer", "<module>"}});
    }
    const auto own = loops_of(thread);
    REQUIRE(own.size() == 1);
    // The outer interpreter called the inner one.
    for (const std::size_t other : loops)
      CHECK(((*own.begin() > other) == outer));
    loops.insert(own.begin(), own.end());
  }
  CHECK(loops.size() == 2);
  if (interpreter.debug()) CHECK(loops == loops_of(judged));
  CHECK(full.json.at("capture").at("paused_threads") == 2);  // the other one tells the truth
}

TEST_CASE("a native stack that was made by hand ends where it began, which is said", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // the same in every respect that matters here
  Target target = start_blocked(interpreter, "other_stack");
  const Dump full = dump(target.pid(), {"--native=full"});
  CHECK(full.status == kPartial);
  const json& thread = thread_of(full.json, target.pid());
  CAPTURE(thread.dump());
  CHECK(text_of(thread, "native_error").find("the native stack ends before") != std::string::npos);
  CHECK(difference(full.json, target.ask()) == "");
  NativeStack judged = judge(target).at(target.pid());
  const NativeStack shown = native_stack(thread);
  // gdb goes on beyond the end, and takes the beginning for the call of something.
  REQUIRE(judged.size() >= shown.size());
  judged.resize(shown.size());
  ++judged.back().offset;
  CHECK(shown == judged);
  check_has(thread, {"read", "py block", "begin_other_stack", "py other_stack", "py <module>"});
  const Outcome text = run_pyscope({"dump", "--native", std::to_string(target.pid())});
  CHECK(text.status == kPartial);
  CHECK(text.out.find("[the native stack ends before") != std::string::npos);
}

TEST_CASE("native frames of a thread that runs are those where it was stopped", "[live]") {
  struct Place {
    std::string function;  // of the library, that runs for good
    std::function<bool(const json&)> reached;
  };
  const auto place = GENERATE(values<Place>({
      {"stay_at_first_instruction",
       [](const json& frame) { return text_of(frame, "function") == "stay_at_first_instruction"; }},
      {"look_at_the_clock", [](const json& frame) { return text_of(frame, "module") == "[vdso]"; }},
      {"allocate",
       [](const json& frame) {
         return text_of(frame, "module").find("/libc.so") != std::string::npos;
       }},
  }));
  CAPTURE(place.function);
  Target target = start(any_interpreter(), place.function);
  const Stopped stopped(target.pid(), [&](const json& thread) {
    const json& frames = thread.at("frames");
    // It may not have been called yet, and then be in the C library for another reason.
    return place.reached(frames.at(0)) &&
           std::any_of(frames.begin(), frames.end(), [&](const json& frame) {
             return is_native(frame) && text_of(frame, "function") == place.function;
           });
  });
  REQUIRE(stopped.reached());
  CHECK(stopped.dumped().status == 0);
  const json& thread = thread_of(stopped.dumped().json, target.pid());
  CAPTURE(thread.dump());
  const Interpreter& interpreter = target.interpreter();
  CHECK(native_stack(thread) ==
        gdb_stacks(target.pid(), interpreter.root, interpreter.executable).at(target.pid()));
  CHECK(runs_of(thread) == Runs{{"run", "<module>"}});
  check_has(thread, {place.function, "ffi_call", "py run", "py <module>"});
}

TEST_CASE("native frames go through what CPython's compiler has made", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.minor() < 14) return;  // 3.13 has no such compiler in the builds that there are
  const auto start_with = [&](const std::string& jit) {
    TargetOptions options;
    options.environment = {"PYTHON_JIT=" + jit};
    return start_blocked(interpreter, "compiled", options);
  };
  Target target = start_with("1");
  const Dump full = dump(target.pid(), {"--native=full"});
  CAPTURE(full.err);
  CHECK(full.status == 0);
  CHECK(difference(full.json, target.ask()) == "");
  const json& thread = thread_of(full.json, target.pid());
  CAPTURE(thread.dump());
  CHECK_FALSE(thread.contains("native_error"));
  check_order(thread);
  check_has(thread, {"_PySemaphore_Wait", "py compiled.<locals>.wait_at", "PyObject_CallOneArg",
                     "py compiled.<locals>.call_at", "Py_RunMain"});
  const NativeStack shown = native_stack(thread);
  const auto is_made = [](const NativePlace& place) { return place.module.empty(); };
  // Both loops have been compiled by then, or else nothing was tried.
  CHECK(std::count_if(shown.begin(), shown.end(), is_made) == 2);
  if (interpreter.minor() >= 15) {
    // gdb is told of it in the same way.
    CHECK(shown == judge(target).at(target.pid()));
  } else {
    // Nobody is told. What has called the loops is where it is without the compiler.
    const Target interpreted = start_with("0");
    const NativeStack other = judge(interpreted).at(interpreted.pid());
    const std::size_t loop = *loops_of(thread).rbegin() + 1;
    REQUIRE(shown.size() > loop);
    REQUIRE(other.size() > shown.size() - loop);
    const auto outer = static_cast<std::ptrdiff_t>(shown.size() - loop);
    CHECK(NativeStack(shown.end() - outer, shown.end()) ==
          NativeStack(other.end() - outer, other.end()));
  }
  const Dump folded = dump(target.pid(), {"--native"});
  check_folded(thread_of(folded.json, target.pid()), thread, interpreter.executable);
  for (const json& frame : thread_of(folded.json, target.pid()).at("frames"))
    CHECK(text_of(frame, "function").find("py::jit") == std::string::npos);
}

TEST_CASE("native frames of more threads than are held at a time are all there", "[live]") {
  constexpr std::size_t kThreads = 100;
  Target target(any_interpreter(), "scale.py", {"threads", std::to_string(kThreads), "3"});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid(), {"--native=full"});
  CHECK(dumped.status == 0);
  const json& threads = dumped.json.at("threads");
  REQUIRE(threads.size() == kThreads + 1);
  CHECK(dumped.json.at("capture").at("paused_threads") == kThreads + 1);
  for (const json& thread : threads) {
    CAPTURE(thread.dump());
    CHECK(thread.at("proof") == "paused");
    const NativeStack stack = native_stack(thread);
    REQUIRE_FALSE(stack.empty());
    // Each was copied as a whole, to where threads begin.
    CHECK(stack.back().module.find(thread.at("main") == true ? "python" : "libc") !=
          std::string::npos);
  }
  CHECK(goes_on(target.pid()));
}

TEST_CASE("threads that run no Python are shown if they are asked for, with their names",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // the same in every respect that matters here
  Target target = start_blocked(interpreter, "all");
  const auto bare = [](const Dump& dumped) {
    std::vector<json> threads;
    for (const json& thread : dumped.json.at("threads"))
      if (thread.at("ident").is_null()) threads.push_back(thread);
    return threads;
  };
  CHECK(bare(dump(target.pid(), {"--native"})).empty());
  REQUIRE(all_sleep(target.pid()));
  const Dump all = dump(target.pid(), {"--native=all"});
  CHECK(all.status == 0);
  const auto threads = bare(all);
  REQUIRE(threads.size() == 1);
  CAPTURE(threads[0].dump());
  CHECK(threads[0].at("os_name") == "bare-worker");
  CHECK(threads[0].at("name").is_null());
  CHECK(threads[0].at("state") == "blocked");
  check_has(threads[0], {"poll", "wait_for_good", "begin_bare_thread"});
  NativeStack shown = native_stack(threads[0]);
  NativeStack judged = judge(target).at(threads[0].at("tid"));
  // Where a thread begins is folded away.
  REQUIRE(shown.size() <= judged.size());
  judged.resize(shown.size());
  CHECK(shown == judged);

  const Outcome text = run_pyscope(
      {"dump", "--native=all", "--thread", "bare-worker", std::to_string(target.pid())});
  CHECK(text.status == 0);
  CHECK(text.out.find("bare-worker") != std::string::npos);
  CHECK(text.out.find("wait_for_good()") != std::string::npos);
  CHECK(text.out.find("qsort") == std::string::npos);
}

TEST_CASE("numpy in a matrix product is shown down to the kernel, and so are its library's threads",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // they have no numpy
  TargetOptions options;
  // Where the distribution keeps it until it is chosen among several.
  options.environment = {
      "LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-pthread:"
      "/usr/lib/aarch64-linux-gnu/openblas-pthread",
      "OPENBLAS_NUM_THREADS=3"};
  Target target(interpreter, "product.py", {}, options);
  const pid_t tid = target.read().at("tid");
  const auto in_library = [](const NativeStack& stack) {
    return std::any_of(stack.begin(), stack.end(), [](const NativePlace& place) {
      return place.module.find("libopenblas") != std::string::npos;
    });
  };
  int at_work = 0;  // threads of the library that were found in it
  int in_product = 0;
  int with_guess = 0;
  // At ten moments at least, until each was seen where it mostly is.
  for (int i = 0; i < 10 || (i < 200 && (at_work == 0 || in_product == 0)); ++i) {
    // It may stand where it calls nothing of the library: between two products.
    const Stopped stopped(
        target.pid(), [](const json&) { return true; }, "--native=all");
    REQUIRE(stopped.reached());
    CHECK(stopped.dumped().status == 0);
    const auto judged = gdb_stacks(target.pid(), interpreter.root, interpreter.executable);
    for (const json& thread : stopped.dumped().json.at("threads")) {
      CAPTURE(thread.dump());
      NativeStack shown = native_stack(thread);
      const bool guessed =
          std::any_of(thread.at("frames").begin(), thread.at("frames").end(),
                      [](const json& frame) { return frame.value("guessed", false); });
      with_guess += guessed ? 1 : 0;
      if (thread.at("tid") == tid) {
        CHECK(runs_of(thread) ==
              Runs{{"multiply", "Thread.run", "Thread._bootstrap_inner", "Thread._bootstrap"}});
        if (!in_library(shown)) continue;
        ++in_product;
        check_has(thread, {"gemm", "py multiply"});
        CHECK(std::any_of(shown.begin(), shown.end(), [](const NativePlace& place) {
          return place.module.find("_multiarray_umath") != std::string::npos;
        }));
      } else if (thread.at("ident").is_null()) {
        CHECK(in_library(shown));
        ++at_work;
      }
      // Of hand-written code without tables, gdb knows no caller. What is folded away is outside.
      if (guessed || thread.at("tid") == target.pid()) continue;
      NativeStack expected = judged.at(thread.at("tid"));
      const auto inside = std::find_if(shown.begin(), shown.end(), [](const NativePlace& place) {
        return place.module.find("python") != std::string::npos;
      });
      shown.erase(inside, shown.end());
      REQUIRE(shown.size() <= expected.size());
      expected.resize(shown.size());
      CHECK(shown == expected);
    }
  }
  CAPTURE(with_guess);
  CHECK(at_work > 0);
  CHECK(in_product > 0);
}

TEST_CASE("native frames are read in other namespaces", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // the same in every respect that matters here
  const Workspace workspace = workspace_with_library(interpreter);
  Program box{.command = {"/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--ro-bind",
                          interpreter.root, "/", "--proc", "/proc", "--dev", "/dev",
                          interpreter.executable, workspace.inside("native.py"), "cart"}};
  box.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"};
  Child child(box);
  try {
    REQUIRE(json::parse(child.read_line()).at("ready") == true);
  } catch (const std::runtime_error&) {
    WARN("not tested: bubblewrap can't make its namespaces here: " << child.finish().err);
    return;
  }
  // bwrap, its own first process in there, and the interpreter.
  pid_t pid = child.pid();
  for (pid_t next = pid; next != 0;) {
    pid = next;
    next = 0;
    std::istringstream(read_file(fmt::format("/proc/{0}/task/{0}/children", pid))) >> next;
  }
  REQUIRE(all_sleep(pid));
  const Dump full = dump(pid, {"--native=full"});
  CHECK(full.status == 0);
  const json& thread = thread_of(full.json, pid);
  CAPTURE(thread.dump());
  CHECK(native_stack(thread) ==
        judge(pid, fmt::format("/proc/{}/root", pid), interpreter.executable).at(pid));
  CHECK(runs_of(thread) == Runs{{"cart", "run_case", "<module>"}});
  check_has(thread, {"shop::Cart<double>::wait(double)", "wait_in_cart", "py cart"});
}

TEST_CASE("native frames are found in files that are gone, or lack tables", "[live]") {
  const std::string change = GENERATE(as<std::string>(), "library deleted", "executable deleted",
                                      "no section headers", "no search table");
  CAPTURE(change);
  const Interpreter& interpreter = any_interpreter();
  const auto start_copy = [&](const std::string& name, const std::string& lacks) {
    Workspace workspace = workspace_with_library(interpreter);
    const std::string executable = workspace.copy_executable("python");
    std::string file = read_file(workspace.outside("python"));
    if (lacks == "no section headers") remove_section_headers(file);
    if (lacks == "no search table") remove_search_table(file);
    write_file(workspace.outside("python"), file);
    Target target(std::move(workspace), "native.py", {name},
                  {.executable = executable, .environment = {"PYTHONHOME=/usr"}});
    REQUIRE(target.read().at("ready") == true);
    REQUIRE(all_sleep(target.pid()));
    return target;
  };
  // The same program, with all its files.
  Target twin = start_copy("cart", "");
  const NativeStack judged =
      judge(twin.pid(), interpreter.root, twin.workspace().inside("python")).at(twin.pid());

  Target target = start_copy(change == "library deleted" ? "deleted_library" : "cart", change);
  if (change == "executable deleted") fs::remove(target.workspace().outside("python"));
  const Dump full = dump(target.pid(), {"--native=full"});
  CHECK(full.status == 0);
  const json& thread = thread_of(full.json, target.pid());
  CAPTURE(thread.dump());
  const auto offsets = [](const NativeStack& stack) {
    std::vector<std::uint64_t> all;
    for (const NativePlace& place : stack)
      all.push_back(place.offset);
    return all;
  };
  const NativeStack shown = native_stack(thread);
  CHECK(offsets(shown) == offsets(judged));
  if (change.ends_with("deleted")) {
    CHECK(std::any_of(shown.begin(), shown.end(), [](const NativePlace& place) {
      return place.module.ends_with(" (deleted)");
    }));
  }
  CHECK(runs_of(thread).size() == 1);
  check_has(thread, {"py cart", "py <module>"});
}

TEST_CASE("elfutils sees the same native frames", "[live]") {
  const Interpreter& interpreter = any_interpreter();
  if (interpreter.root == "/") {
    WARN("not tested: the newest interpreter has no root of its own");
    return;
  }
  const Workspace workspace = workspace_with_library(interpreter);
  // Without a root of its own, as eu-stack opens files by their names.
  const std::string& root = interpreter.root;
  Program program{.command = {root + "/lib64/ld-linux-x86-64.so.2", "--library-path",
                              root + "/usr/lib/x86_64-linux-gnu", root + interpreter.executable,
                              workspace.outside("native.py"), "all"}};
  program.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "PYTHONHOME=" + root + "/usr"};
  Child child(program);
  REQUIRE(json::parse(child.read_line()).at("ready") == true);
  REQUIRE(all_sleep(child.pid()));
  const Dump full = dump(child.pid(), {"--native=full"});
  CHECK(full.status == 0);
  std::size_t whole = 0;
  REQUIRE(all_sleep(child.pid()));
  for (const auto& [judged_tid, judged_stack] : eu_stacks(child.pid())) {
    const pid_t tid = judged_tid;
    NativeStack judged = judged_stack;
    CAPTURE(tid);
    const auto& threads = full.json.at("threads");
    const auto thread = std::find_if(threads.begin(), threads.end(),
                                     [&](const json& t) { return t.at("tid") == tid; });
    if (thread == threads.end()) continue;  // the one without Python
    const NativeStack shown = native_stack(*thread);
    CAPTURE(thread->at("name").dump());
    if (judged.size() == shown.size()) ++whole;
    // It loses its way in libffi (0.188), where gdb doesn't.
    const auto lost = std::find_if(judged.begin(), judged.end(), [](const NativePlace& place) {
      return place.module.find("/libffi.so") != std::string::npos;
    });
    if (lost != judged.end()) {
      judged.erase(lost, judged.end());
      REQUIRE(judged.size() <= shown.size());
      CHECK(NativeStack(shown.begin(),
                        shown.begin() + static_cast<std::ptrdiff_t>(judged.size())) == judged);
    } else {
      CHECK(shown == judged);
    }
  }
  CHECK(whole >= 5);
}

TEST_CASE("a thread that a debugger has is shown without its native frames, and the others with",
          "[live]") {
  Target target = start_blocked(any_interpreter(), "all");
  const json truth = target.ask();
  const Dump before = dump(target.pid(), {"--native=full"});
  const pid_t held = thread_of(before.json, "cart").at("tid");
  REQUIRE(::ptrace(PTRACE_SEIZE, held, nullptr, nullptr) == 0);
  const Dump full = dump(target.pid(), {"--native=full"});
  REQUIRE(::ptrace(PTRACE_INTERRUPT, held, nullptr, nullptr) == 0);
  int status = 0;
  REQUIRE(::waitpid(held, &status, __WALL) == held);
  REQUIRE(::ptrace(PTRACE_DETACH, held, nullptr, nullptr) == 0);
  CHECK(full.status == kPartial);
  CHECK(full.json.at("capture").at("consistent") == false);
  CHECK(difference(full.json, truth) == "");
  for (const json& thread : full.json.at("threads")) {
    CAPTURE(thread.dump());
    CHECK(thread.contains("native_error") == (thread.at("tid") == held));
    CHECK(native_stack(thread).empty() == (thread.at("tid") == held));
  }
  const std::string error = text_of(thread_of(full.json, held), "native_error");
  CHECK(error == fmt::format("it could not be held for its native frames: it is traced by process "
                             "{}",
                             ::getpid()));
  CHECK(goes_on(target.pid()));
}

TEST_CASE("a thread that can not be stopped costs the others none of their native frames",
          "[live]") {
  const Workspace place(any_interpreter());
  Target target(any_interpreter(), "processes.py", {"uninterruptible", place.inside("fifo")});
  REQUIRE(target.read() == "ready");
  REQUIRE(eventually([&] {
    const auto tasks = task_activity(target.pid());
    return std::any_of(tasks.begin(), tasks.end(),
                       [](const TaskActivity& task) { return task.state == 'D'; });
  }));
  const Dump dumped = dump(target.pid(), {"--native"});
  CHECK(dumped.status == kPartial);
  check_has(thread_of(dumped.json, "sleeper"), {"clock_nanosleep", "py Thread.run"});
  const json& stuck = thread_of(dumped.json, "MainThread");
  CHECK(text_of(stuck, "native_error") ==
        "it could not be held for its native frames: it did not stop in time");
  CHECK(stuck.at("consistent") == true);
  CHECK(native_stack(stuck).empty());
  CHECK(runs_of(stuck) == Runs{{"uninterruptible", "<module>"}});
  // Once its child is there to open the other end, it goes on as if nothing had been.
  pyscope::UniqueFd other;
  CHECK(eventually([&] {
    other = pyscope::UniqueFd{::open(place.outside("fifo").c_str(), O_WRONLY | O_NONBLOCK)};
    return static_cast<bool>(other);
  }));
  CHECK(goes_on(target.pid()));
}

TEST_CASE("native frames go together with the other options", "[live]") {
  Target target = start_blocked(any_interpreter(), "all");
  const std::string pid = std::to_string(target.pid());
  const Dump whole = dump(target.pid(), {"--native=full"});
  const json truth = target.ask();
  const NativeStack judged = judge(target).at(thread_of(whole.json, "cart").at("tid"));

  SECTION("some threads only") {
    const Dump one = dump(target.pid(), {"--native=full", "--thread", "cart"});
    CHECK(one.status == 0);
    CHECK(one.json.at("capture").at("paused_threads") == 1);
    REQUIRE(one.json.at("threads").size() == 1);
    CHECK(native_stack(one.json.at("threads")[0]) == judged);
  }
  SECTION("the innermost frames only") {
    const Dump some = dump(target.pid(), {"--native=full", "--frames", "2"});
    CHECK(some.status == 0);
    const json& thread = thread_of(some.json, "qsort");
    CHECK(thread.at("truncated") == true);
    CHECK(python_frames(thread).size() == 2);
    CHECK(runs_of(thread) == Runs{{"block", "qsort.<locals>.compare"}});
    check_has(thread, {"read", "py block"});
    const json& other = thread_of(some.json, "cart");
    check_has(other, {"wait_for_good", "wait_in_cart", "py cart", "py Thread.run"});
  }
  SECTION("variables") {
    const Dump plain = dump(target.pid(), {"--locals", "--thread", "qsort"});
    const Dump locals = dump(target.pid(), {"--native", "--locals", "--thread", "qsort"});
    CHECK(locals.status == 0);
    CHECK(plain.json.dump().find("\"locals\"") != std::string::npos);
    CHECK(python_frames(thread_of(locals.json, "qsort")) ==
          python_frames(thread_of(plain.json, "qsort")));
  }
  SECTION("all at one moment") {
    const Dump paused = dump(target.pid(), {"--native=full", "--pause=all"});
    CHECK(paused.status == 0);
    CHECK(paused.json.at("capture").at("mode") == "paused");
    CHECK(difference(paused.json, truth) == "");
    CHECK(native_stack(thread_of(paused.json, "cart")) == judged);
    const Dump bare = dump(target.pid(), {"--native=all", "--pause=all"});
    CHECK(bare.status == 0);
    CHECK(bare.json.at("threads").size() == whole.json.at("threads").size() + 1);
  }
  SECTION("a pause for what can't be verified") {
    const Dump paused = dump(target.pid(), {"--native=full", "--pause"});
    CHECK(paused.status == 0);
    CHECK(native_stack(thread_of(paused.json, "cart")) == judged);
  }
  SECTION("no source lines") {
    const Dump without = dump(target.pid(), {"--native=full", "--no-source"});
    CHECK(without.status == 0);
    CHECK(without.json.dump().find("\"source\"") == std::string::npos);
    CHECK(native_stack(thread_of(without.json, "cart")) == judged);
  }
  SECTION("threads in groups") {
    const Outcome text = run_pyscope({"dump", "--native", "--group", pid});
    CHECK(text.status == 0);
    CHECK(text.out.find("in shop::Cart<double>::wait(double)\n") != std::string::npos);
    // The truth has 50 runs of one function with the same native frames between them.
    CHECK(text.out.find("sort.<locals>.key") != std::string::npos);
  }
  SECTION("several processes") {
    Target second = start_blocked(any_interpreter(), "poll");
    const Outcome both =
        run_pyscope({"dump", "--native=full", "--json", pid, std::to_string(second.pid())});
    CHECK(both.status == 0);
    const auto documents = parse_lines(both.out);
    REQUIRE(documents.size() == 2);
    CHECK(native_stack(thread_of(documents[0], "cart")) == judged);
    CHECK(native_stack(thread_of(documents[1], second.pid())) == judge(second).at(second.pid()));
  }
  SECTION("again and again") {
    Child watch(pyscope_program({"dump", "--native=full", "--json", "--watch", "0.1", pid}));
    for (int i = 0; i < 3; ++i) {
      const json document = json::parse(watch.read_line());
      CHECK(native_stack(thread_of(document, "cart")).size() == judged.size());
    }
    ::kill(watch.pid(), SIGINT);
    CHECK(watch.finish().status == 0);
  }
  SECTION("a recording") {
    const std::string path = target.workspace().outside("recording");
    pyscope::CaptureOptions options;
    options.native = pyscope::Native::Full;
    options.source = false;
    const pyscope::UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    options.record_to = file.get();
    const auto live = pyscope::capture(target.pid(), options);
    REQUIRE(live);
    options.record_to = -1;
    const auto replayed = pyscope::replay(path, options);
    REQUIRE(replayed);
    const auto places = [](const pyscope::Snapshot& snapshot) {
      std::string text;
      for (const pyscope::Thread& thread : snapshot.threads) {
        text += fmt::format("{} {}{}\n", thread.tid, thread.native_error, thread.native_note);
        for (const pyscope::Frame& frame : thread.frames) {
          if (frame.native) {
            const auto& location = snapshot.native_locations[*frame.native];
            text += fmt::format("{}+{:#x}\n", location.module, location.offset);
          } else if (frame.code) {
            text += snapshot.codes[*frame.code].qualified_name + "\n";
          }
        }
      }
      return text;
    };
    CHECK(places(*live) == places(*replayed));
    CHECK(places(*live).find(fmt::format("{}+{:#x}", judged[0].module, judged[0].offset)) !=
          std::string::npos);
  }
  SECTION("a value that it doesn't have") {
    const Outcome wrong = run_pyscope({"dump", "--native=some", pid});
    CHECK(wrong.status == 2);
    CHECK(wrong.err.find("--native: takes no value, full or all, not 'some'") != std::string::npos);
  }
  CHECK(goes_on(target.pid()));
}

TEST_CASE("why names the native function that a thread is in, if it may hold the thread",
          "[live]") {
  Target target = start(any_interpreter(), "stay_at_first_instruction");
  const auto ask = [&](const std::vector<std::string>& options) {
    std::vector<std::string> arguments{"why", std::to_string(target.pid()), "--json", "--duration",
                                       "300ms"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = run_pyscope(arguments);
    CAPTURE(outcome.out, outcome.err);
    REQUIRE(outcome.status == 0);
    return json::parse(outcome.out);
  };
  const auto main_thread = [&](const json& answer) {
    for (const json& thread : answer.at("threads")) {
      if (thread.at("tid") == target.pid()) return thread;
    }
    throw std::runtime_error("no main thread in " + answer.dump());
  };
  const json without = ask({});
  CHECK(main_thread(without).at("verdict") == "in_native_code");
  CHECK_FALSE(without.contains("native_looks"));
  const json with = ask({"--native"});
  const json judged = main_thread(with);
  CAPTURE(judged.dump());
  CHECK(judged.at("verdict") == "in_native_code");
  CHECK(judged.at("summary").get<std::string>().starts_with(
      "in stay_at_first_instruction (native_library.so), called in run (native.py:"));
  CHECK(judged.at("evidence").back().get<std::string>().find("called by ffi_call") !=
        std::string::npos);
  CHECK(with.at("native_looks") > 0);
  CHECK(with.at("paused_us") > 0);
  CHECK(goes_on(target.pid()));
}
