// Whole dumps of a hand-built process: what a target can look like that no live one can be made to.
#include <sys/syscall.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "memory/image_memory.hpp"
#include "pyscope/capture.hpp"
#include "python_heap.hpp"
#include "scratch_folder.hpp"
#include "session/session.hpp"
#include "support/acted_target.hpp"
#include "target/recording.hpp"

using namespace pyscope;
using test::ActedTarget;
using test::PagedMemory;
using test::PythonHeap;
using test::ScratchFolder;

namespace {

constexpr RemoteAddr kNowhere{0x7e0000000000};
constexpr std::int64_t kFutex =
#if defined(__x86_64__)
    202;
#else
    98;
#endif

Task make_task(pid_t tid, char state) {
  Task task;
  task.tid = tid;
  task.namespace_tid = tid;
  task.os_name = "python3";
  task.state = state;
  task.cpu_time_us = static_cast<std::uint64_t>(tid) * 10;
  return task;
}

/// A process with three threads, of which the main one holds the GIL.
struct TinyProcess {
  explicit TinyProcess(int minor) : heap(minor) {
    interpreter = heap.interpreter(0);
    module_code = heap.code(
        {.name = "<module>", .qualified_name = "<module>", .file = "/srv/app.py", .first_line = 1});
    wait_code = heap.code({.name = "wait",
                           .qualified_name = "Event.wait",
                           .file = "/usr/lib/threading.py",
                           .first_line = 300});
    load_code = heap.code({.name = "load",
                           .qualified_name = "Loader.load",
                           .file = "/srv/loader.py",
                           .first_line = 20});
    main = heap.thread(interpreter, {.native_id = 4711, .ident = 0x7f01}, {module_code});
    loader = heap.thread(interpreter, {.native_id = 4712, .ident = 0x7f02}, {wait_code, load_code});
    writer = heap.thread(interpreter, {.native_id = 4713, .ident = 0x7f03}, {wait_code});
    heap.hold_gil(interpreter, main);
    heap.name_threads(interpreter,
                      {{0x7f01, "MainThread"}, {0x7f02, "loader"}, {0x7f03, "writer"}});
    heap.set(interpreter, Field::InterpreterSysdict,
             heap.dict(PythonHeap::kUnicode, {{heap.str("abiflags"), heap.str("")}}));
    if (heap.offsets().has(Field::InterpreterThreadsMain)) {
      heap.set(interpreter, Field::InterpreterThreadsMain, main);
    }
    facts.pid = 4711;
    facts.namespace_pid = 4711;
    facts.host = "web-3";
    facts.command = {"python3", "app.py"};
    facts.executable = "/usr/bin/python3";
    facts.tasks = {make_task(4711, 'R'), make_task(4712, 'S'), make_task(4713, 'S')};
  }

  Result<Snapshot> read_from(const Memory& memory) const {
    return pyscope::read_snapshot(target(memory), runtime(), options, Log{});
  }
  [[nodiscard]] ActedTarget target(const Memory& memory) const {
    ActedTarget acted(memory, facts);
    acted.list = list_tasks;
    return acted;
  }
  [[nodiscard]] ActedTarget target() const { return target(heap.memory); }
  [[nodiscard]] Runtime runtime() const { return {heap.runtime, heap.offsets()}; }
  Result<Snapshot> read() const { return read_from(heap.memory); }

  /// The newest frame of a thread.
  [[nodiscard]] RemoteAddr frame_of(RemoteAddr thread) const {
    const auto frame =
        read_as<std::uint64_t>(heap.memory, thread, heap.offsets()[Field::ThreadCurrentFrame]);
    return RemoteAddr{frame.value()};
  }

  PythonHeap heap;
  RemoteAddr interpreter;
  RemoteAddr module_code;
  RemoteAddr wait_code;
  RemoteAddr load_code;
  RemoteAddr main;
  RemoteAddr loader;
  RemoteAddr writer;
  ProcessFacts facts;
  CaptureOptions options;
  std::function<std::vector<Task>()> list_tasks = [this] { return facts.tasks; };
};

/// The functions of a thread, innermost first; "#" for an entry from C, "!" for a frame in error.
std::vector<std::string> functions(const Snapshot& snapshot, const Thread& thread) {
  std::vector<std::string> names;
  for (const Frame& frame : thread.frames) {
    if (frame.kind == FrameKind::Shim) {
      names.emplace_back("#");
    } else if (!frame.code) {
      names.emplace_back("!");
    } else {
      names.push_back(snapshot.codes.at(*frame.code).function);
    }
  }
  return names;
}

/// All that a dump says of the threads, but for how they were read.
std::string to_text(const Snapshot& snapshot) {
  std::string text;
  for (const Thread& thread : snapshot.threads) {
    text += fmt::format("thread {} {} {} {} {} {}\n", thread.tid, thread.ident,
                        thread.name.value_or("?"), thread.main, thread.interpreter, thread.error);
    for (const Frame& frame : thread.frames) {
      if (frame.kind == FrameKind::Shim) {
        text += "  #\n";
        continue;
      }
      const Code code = frame.code ? snapshot.codes.at(*frame.code) : Code{};
      text += fmt::format("  {} {} {}:{}:{} {}\n", code.function, code.qualified_name, code.file,
                          code.first_line, frame.position.line.value_or(-1), frame.error);
    }
  }
  return text;
}

}  // namespace

TEST_CASE("a process is read whole", "[snapshot]") {
  const int minor = GENERATE(13, 14, 15);
  const TinyProcess process(minor);
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->pid == 4711);
  CHECK(snapshot->host == "web-3");
  CHECK(snapshot->command == process.facts.command);
  CHECK(snapshot->executable == "/usr/bin/python3");
  CHECK(snapshot->python.version == (minor == 13 ? "3.13.15" : minor == 14 ? "3.14.8" : "3.15.0"));
  CHECK_FALSE(snapshot->python.free_threaded);
  CHECK(snapshot->python.debug_build == false);
  CHECK_FALSE(snapshot->finalizing);
  CHECK(snapshot->capture.consistent);
  // A reading that we were interrupted in takes another.
  int fewest = snapshot->capture.attempts;
  for (int reading = 0; reading < 50 && fewest != 1; ++reading) {
    const auto again = process.read();
    REQUIRE(again);
    fewest = std::min(fewest, again->capture.attempts);
  }
#ifdef PYSCOPE_SANITIZE
  // With all that a sanitizer checks, no copy is as quick as one should be. The second one tells
  // what is quick here.
  CHECK(fewest <= 2);
#else
  CHECK(fewest == 1);
#endif
  CHECK(snapshot->capture.paused_us == 0);
  CHECK(snapshot->warnings.empty());
  REQUIRE(snapshot->interpreters.size() == 1);
  CHECK(snapshot->interpreters[0].id == 0);
  CHECK(snapshot->interpreters[0].gil_held_by == 4711);
  CHECK(exit_status(*snapshot) == 0);

  REQUIRE(snapshot->threads.size() == 3);
  const Thread& main = snapshot->threads[0];
  CHECK(main.tid == 4711);
  CHECK(main.ident == 0x7f01);
  CHECK(main.name == "MainThread");
  CHECK(main.os_name == "python3");
  CHECK(main.main);
  CHECK(main.state == ThreadState::Running);
  CHECK(main.holds_gil == true);
  CHECK(main.waits_for_gil == false);
  CHECK(main.os_state == 'R');
  CHECK(main.cpu_time_us == 47110);
  CHECK(main.consistent);
  CHECK_FALSE(main.truncated);
  CHECK(functions(*snapshot, main) == std::vector<std::string>{"<module>", "#"});
  CHECK(main.frames[0].position.line == 1);
  CHECK_FALSE(main.frames[0].position.column);

  const Thread& loader = snapshot->threads[1];
  CHECK(loader.name == "loader");
  CHECK_FALSE(loader.main);
  CHECK(loader.state == ThreadState::Blocked);
  CHECK(loader.holds_gil == false);
  CHECK(functions(*snapshot, loader) == std::vector<std::string>{"wait", "load", "#"});
  CHECK(functions(*snapshot, snapshot->threads[2]) == std::vector<std::string>{"wait", "#"});

  // Frames of one function share its code.
  CHECK(snapshot->codes.size() == 3);
  CHECK(loader.frames[0].code == snapshot->threads[2].frames[0].code);
  CHECK(snapshot->codes.at(*loader.frames[1].code) ==
        Code{"load", "Loader.load", "/srv/loader.py", 20});
  CHECK(snapshot->sources.empty());
}

TEST_CASE("the main thread is the one that runs main or has the id of the process", "[snapshot]") {
  const int minor = GENERATE(13, 14, 15);
  TinyProcess process(minor);
  const auto main_threads = [&] {
    std::vector<pid_t> tids;
    const auto snapshot = process.read();
    for (const Thread& thread : snapshot->threads) {
      if (thread.main) tids.push_back(thread.tid);
    }
    return tids;
  };
  CHECK(main_threads() == std::vector<pid_t>{4711});
  if (minor > 13) {
    process.heap.set(process.interpreter, Field::InterpreterThreadsMain, process.writer);
    CHECK(main_threads() == std::vector<pid_t>{4713});
    process.heap.set(process.interpreter, Field::InterpreterThreadsMain, RemoteAddr{});
  }
  process.facts.namespace_pid = 4712;
  CHECK(main_threads() == std::vector<pid_t>{4712});
}

TEST_CASE("threads are found by their ids in their own namespace", "[snapshot]") {
  TinyProcess process(14);
  process.facts.namespace_pid = 4711;
  process.facts.pid = 90001;
  for (Task& task : process.facts.tasks)
    task.tid += 86000;
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads[1].tid == 90712);
  CHECK(snapshot->threads[1].namespace_tid == 4712);
  CHECK(snapshot->interpreters[0].gil_held_by == 90711);
}

TEST_CASE("before 3.15 a thread that sleeps within the GIL waits for it", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14));
  const RemoteAddr gil = process.interpreter + process.heap.offsets()[Field::InterpreterGil];
  const auto waits = [&](std::int64_t number, std::uint64_t futex) {
    process.facts.tasks[1].system_call = SystemCall{number, {futex}};
    const auto snapshot = process.read();
    const Thread& thread = snapshot->threads.at(1);
    CHECK((thread.state == ThreadState::WaitingForGil) == (thread.waits_for_gil == true));
    return thread.waits_for_gil;
  };
  CHECK(waits(kFutex, gil.raw() + 64) == true);   // its condition
  CHECK(waits(kFutex, gil.raw() + 80) == true);   // its mutex
  CHECK(waits(kFutex, gil.raw() + 31) == false);  // before both
  CHECK(waits(kFutex, gil.raw() + 184) == true);  // the condition of a forced switch
  CHECK(waits(kFutex, gil.raw() + 208) == false);
  CHECK(waits(kFutex, 0x7f00) == false);
  CHECK(waits(kFutex + 1, gil.raw() + 64) == false);
  // As a thread that was held while it waited, and goes on with it.
  CHECK(waits(SYS_restart_syscall, gil.raw() + 64) == true);
  CHECK_FALSE(waits(SYS_restart_syscall, 0x7f00).has_value());
  process.facts.tasks[1].system_call.reset();
  CHECK_FALSE(process.read()->threads.at(1).waits_for_gil.has_value());
  // Nobody waits for a GIL that nobody has, but for those who were seen to sleep there before.
  process.heap.hold_gil(process.interpreter, RemoteAddr{});
  CHECK(waits(kFutex, 0x7f00) == false);
  CHECK(waits(kFutex, gil.raw() + 64) == true);
  process.facts.tasks[1].system_call.reset();
  CHECK(process.read()->threads.at(1).waits_for_gil == false);
}

TEST_CASE("a thread that was seen to sleep for the GIL waited for it whatever it is now",
          "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  const RemoteAddr gil = process.interpreter + process.heap.offsets()[Field::InterpreterGil];
  process.facts.tasks[1].system_call = SystemCall{kFutex, {gil.raw() + 64}};
  SECTION("since 3.15 it may say that it does no more") {
    const auto snapshot = process.read();
    CHECK(snapshot->threads.at(1).waits_for_gil == true);
    CHECK(snapshot->threads.at(1).state == ThreadState::WaitingForGil);
    CHECK_FALSE(snapshot->threads.at(1).wait);
  }
  SECTION("it has got the GIL since") {
    process.heap.hold_gil(process.interpreter, process.loader);
    const auto snapshot = process.read();
    CHECK(snapshot->threads.at(1).holds_gil == true);
    CHECK(snapshot->threads.at(1).waits_for_gil == false);
    CHECK(snapshot->threads.at(1).state == ThreadState::Running);
    CHECK_FALSE(snapshot->threads.at(1).wait);
  }
}

TEST_CASE("only blocked threads wait for something", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  process.facts.tasks[1].system_call = SystemCall{SYS_read, {7}};
  process.facts.tasks[2].system_call = SystemCall{kFutex, {0x7f00}};
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK_FALSE(snapshot->threads.at(0).wait);
  REQUIRE(snapshot->threads.at(1).wait);
  CHECK(snapshot->threads.at(1).wait->system_call == "read");
  CHECK(snapshot->threads.at(1).wait->fd == 7);
  REQUIRE(snapshot->threads.at(2).wait);
  CHECK(snapshot->threads.at(2).wait->kind == "futex");
}

TEST_CASE("since 3.15 a thread says itself whether it waits for the GIL", "[snapshot]") {
  TinyProcess process(15);
  process.heap.set(process.loader, Field::ThreadGilRequested, 1);
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads[1].waits_for_gil == true);
  CHECK(snapshot->threads[1].state == ThreadState::WaitingForGil);
  CHECK(snapshot->threads[2].waits_for_gil == false);
}

TEST_CASE("a GIL that is free or whose holder is unknown is held by nobody", "[snapshot]") {
  TinyProcess process(14);
  SECTION("free, with its last holder") {
    process.heap.hold_gil(process.interpreter, RemoteAddr{});
  }
  SECTION("held by a thread that is gone") {
    process.heap.hold_gil(process.interpreter, kNowhere);
  }
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK_FALSE(snapshot->interpreters[0].gil_held_by);
  for (const Thread& thread : snapshot->threads)
    CHECK(thread.holds_gil == false);
}

TEST_CASE("threads of several interpreters are told apart", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  const RemoteAddr second = process.heap.interpreter(1);
  process.heap.thread(second, {.native_id = 4712, .ident = 0x7f02}, {process.wait_code});
  process.heap.name_threads(second, {{0x7f02, "sub"}});
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  REQUIRE(snapshot->threads.size() == 4);
  CHECK(snapshot->interpreters.size() == 2);
  const Thread& thread = snapshot->threads[3];
  CHECK(thread.tid == 4712);
  CHECK(thread.interpreter == 1);
  CHECK(thread.name == "sub");
  CHECK(snapshot->threads[1].name == "loader");
  CHECK_FALSE(thread.main);
  CHECK(exit_status(*snapshot) == 0);
}

TEST_CASE("with a limit the innermost frames are given and the rest is truncated", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  process.options.max_frames = 1;
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(functions(*snapshot, snapshot->threads[1]) == std::vector<std::string>{"wait"});
  CHECK(snapshot->threads[1].truncated);
  CHECK(snapshot->threads[1].consistent);
  CHECK_FALSE(snapshot->threads[0].truncated);  // it has no more
  CHECK_FALSE(snapshot->threads[2].truncated);
  CHECK(exit_status(*snapshot) == 0);

  process.options.max_frames = 2;
  CHECK_FALSE(process.read()->threads[1].truncated);
}

TEST_CASE("only the wanted threads are read", "[snapshot]") {
  TinyProcess process(14);
  const auto tids = [&](const std::vector<std::string>& wanted) {
    process.options.threads = wanted;
    std::vector<pid_t> found;
    const auto snapshot = process.read();
    for (const Thread& thread : snapshot->threads)
      found.push_back(thread.tid);
    CHECK(snapshot->interpreters[0].gil_held_by == 4711);
    return found;
  };
  CHECK(tids({"4712"}) == std::vector<pid_t>{4712});
  CHECK(tids({"writer"}) == std::vector<pid_t>{4713});
  CHECK(tids({"writer", "4711", "MainThread"}) == std::vector<pid_t>{4711, 4713});
}

TEST_CASE("wanted threads that are not there are named", "[snapshot]") {
  TinyProcess process(14);
  process.options.threads = {"loader", "4799", "load", "0"};
  const auto snapshot = process.read();
  REQUIRE_FALSE(snapshot);
  CHECK(snapshot.error().kind == ErrorKind::Usage);
  CHECK_THAT(snapshot.error().message, Catch::EndsWith("no Python thread 4799, load, 0"));
}

TEST_CASE("a function that has not begun to run is not shown", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  const RemoteAddr starting = process.heap.code({.name = "starting", .first_traceable = 4});
  const RemoteAddr frame = process.frame_of(process.writer);
  const auto shown = [&](std::uint64_t unit, std::uint8_t owner) {
    const RemoteAddr newest =
        process.heap.frame({.code = starting, .previous = frame, .unit = unit, .owner = owner});
    process.heap.set(process.writer, Field::ThreadCurrentFrame, newest);
    const auto snapshot = process.read();
    return functions(*snapshot, snapshot->threads.at(2));
  };
  CHECK(shown(3, kOwnedByThread) == std::vector<std::string>{"wait", "#"});
  CHECK(shown(4, kOwnedByThread) == std::vector<std::string>{"starting", "wait", "#"});
  CHECK(shown(3, kOwnedByGenerator) == std::vector<std::string>{"starting", "wait", "#"});
}

TEST_CASE("a stack that is broken costs its thread and no other", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  const RemoteAddr frame = process.frame_of(process.loader);
  SECTION("a caller that can not be read") {
    process.heap.set(frame, Field::FramePrevious, kNowhere);
  }
  SECTION("a loop") {
    process.heap.set(frame, Field::FramePrevious, frame);
  }
  SECTION("no end") {
    process.heap.set(frame, Field::FramePrevious, RemoteAddr{});
  }
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  REQUIRE(snapshot->threads.size() == 3);
  const Thread& broken = snapshot->threads[1];
  CHECK_FALSE(broken.error.empty());
  CHECK(broken.truncated);
  CHECK_FALSE(broken.consistent);
  CHECK(functions(*snapshot, broken) == std::vector<std::string>{"wait"});
  CHECK(snapshot->threads[0].consistent);
  CHECK(functions(*snapshot, snapshot->threads[2]) == std::vector<std::string>{"wait", "#"});
  CHECK(snapshot->threads[2].error.empty());
  CHECK_FALSE(snapshot->capture.consistent);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a function that can not be read costs its frames and no other", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  process.heap.set(process.load_code, Field::CodeName, kNowhere);
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  const Thread& thread = snapshot->threads[1];
  CHECK(functions(*snapshot, thread) == std::vector<std::string>{"wait", "!", "#"});
  CHECK_THAT(thread.frames[1].error, Catch::Contains("co_name"));
  CHECK(thread.consistent);
  CHECK(snapshot->codes.size() == 2);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a line that can not be found is an error of its frame", "[snapshot]") {
  TinyProcess process(14);
  const RemoteAddr code = process.heap.code({.name = "odd", .units = 8, .table = {0x80, 0x11}});
  const RemoteAddr frame = process.frame_of(process.writer);
  SECTION("beyond the location table") {
    process.heap.put_frame(frame, {.code = code, .unit = 3});
  }
  SECTION("beyond the code") {
    process.heap.put_frame(frame, {.code = code, .unit = 8});
  }
  process.heap.set(frame, Field::FramePrevious, process.heap.entry_frame());
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  const Frame& odd = snapshot->threads.at(2).frames.at(0);
  CHECK(snapshot->codes.at(odd.code.value()).function == "odd");
  CHECK_FALSE(odd.error.empty());
  CHECK_FALSE(odd.position.line);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a thread that started after the first look is looked up again", "[snapshot]") {
  TinyProcess process(14);
  process.facts.tasks.pop_back();
  int lists = 0;
  process.list_tasks = [&] {
    ++lists;
    auto tasks = process.facts.tasks;
    tasks.push_back(make_task(4713, 'S'));
    return tasks;
  };
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(lists == 1);
  CHECK(snapshot->threads[2].tid == 4713);
  CHECK(snapshot->threads[2].os_state == 'S');
}

TEST_CASE("a thread that Python remembers and the kernel does not has ended", "[snapshot]") {
  TinyProcess process(14);
  process.facts.tasks.pop_back();
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  REQUIRE(snapshot->threads.size() == 3);
  const Thread& ended = snapshot->threads[2];
  CHECK(ended.tid == 0);
  CHECK(ended.namespace_tid == 4713);
  CHECK(ended.os_state == 'X');
  CHECK(ended.state == ThreadState::Unknown);
  CHECK_FALSE(ended.cpu_time_us);
  CHECK(ended.name == "writer");
}

TEST_CASE("a native id that no thread can have is not looked up", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.writer, Field::ThreadNativeThreadId, std::uint64_t{1} << 32U | 4711U);
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads.at(2).tid == 0);
}

TEST_CASE("a thread that ends while it is read is left out and named", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.writer, Field::ThreadCurrentFrame, kNowhere);
  process.list_tasks = [&] {
    return std::vector<Task>{process.facts.tasks[0], process.facts.tasks[1]};
  };
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads.size() == 2);
  REQUIRE(snapshot->warnings.size() == 1);
  CHECK_THAT(snapshot->warnings[0], Catch::Contains("4713 ended"));
  CHECK(exit_status(*snapshot) == 0);
}

TEST_CASE("names that can not be read are a gap", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.interpreter, Field::InterpreterImportsModules, kNowhere);
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads.size() == 3);
  CHECK_FALSE(snapshot->threads[0].name);
  REQUIRE(snapshot->warnings.size() == 1);
  CHECK_THAT(snapshot->warnings[0], Catch::Contains("names of threads"));
  CHECK_FALSE(snapshot->capture.complete);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a list of threads that can not be followed is a gap", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.writer, Field::ThreadNext, kNowhere);
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads.size() == 1);
  CHECK(snapshot->warnings.size() == 1);
  CHECK_FALSE(snapshot->capture.complete);
  CHECK_FALSE(snapshot->capture.consistent);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a list of threads that was torn for a moment is followed again", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.writer, Field::ThreadNext, kNowhere);
  int reads = 0;
  const RemoteAddr gil = process.interpreter + process.heap.offsets()[Field::InterpreterGil];
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at == gil + 8 && ++reads == 3) {
      process.heap.set(process.writer, Field::ThreadNext, process.loader);
    }
  };
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(reads == 4);  // three tries, and once more after the stacks
  CHECK(snapshot->threads.size() == 3);
  CHECK(snapshot->warnings.empty());
  CHECK(exit_status(*snapshot) == 0);
}

TEST_CASE("a stack that never stands still is shown and marked", "[snapshot]") {
  TinyProcess process(14);
  const RemoteAddr outer =
      process.heap.frame({.code = process.load_code, .previous = process.heap.entry_frame()});
  const RemoteAddr inner = process.heap.frame({.code = process.wait_code, .previous = outer});
  process.heap.set(process.main, Field::ThreadCurrentFrame, inner);
  std::uint64_t changes = 0;
  const RemoteAddr local = outer + process.heap.offsets()[Field::FrameLocalsplus];
  const RemoteAddr pointer = process.main + process.heap.offsets()[Field::ThreadCurrentFrame];
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at == pointer) process.heap.memory.put(local, ++changes);
  };
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  const Thread& main = snapshot->threads[0];
  CHECK(functions(*snapshot, main) == std::vector<std::string>{"wait", "load", "#"});
  CHECK_FALSE(main.consistent);
  CHECK_THAT(main.inconsistency, Catch::Contains("changed during each of"));
  CHECK(main.error.empty());
  CHECK(snapshot->threads[1].consistent);
  CHECK(snapshot->capture.attempts > 1);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("when another thread takes the GIL meanwhile all stacks are read with care",
          "[snapshot]") {
  TinyProcess process(14);
  const RemoteAddr gil = process.interpreter + process.heap.offsets()[Field::InterpreterGil];
  const RemoteAddr switches = gil + 24;
  // The second look at the GIL finds that it was switched.
  int looks = 0;
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at == gil + 8 && ++looks == 2) process.heap.memory.put(switches, std::uint64_t{1});
  };
  std::vector<std::string> log;
  const auto snapshot = read_snapshot(process.target(), process.runtime(), process.options,
                                      Log([&](const std::string& line) { log.push_back(line); }));
  REQUIRE(snapshot);
  CHECK(looks == 2);
  std::size_t verified = 0;
  for (const std::string& line : log)
    verified += line.find(": verified by two equal copies") != std::string::npos ? 1 : 0;
  CHECK(verified == 3);
  CHECK(exit_status(*snapshot) == 0);
}

TEST_CASE("code that is gone before its name is read makes the stack a doubtful one",
          "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  // What the main thread runs is another function by the last look at it.
  const RemoteAddr pointer = process.main + process.heap.offsets()[Field::ThreadCurrentFrame];
  bool proven = false;
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at == pointer) proven = true;
    if (proven && at == process.module_code) {
      process.heap.set(process.module_code, Field::CodeName, process.heap.str("another"));
    }
  };
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(proven);
  CHECK_FALSE(snapshot->threads[0].consistent);
  CHECK(snapshot->threads[0].proof == Proof::None);
  CHECK_THAT(snapshot->threads[0].inconsistency, Catch::Contains("gone before its name was read"));
  CHECK(snapshot->threads[1].proof == Proof::Gil);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a thread that the kernel says did not run is verified", "[snapshot]") {
  TinyProcess process(14);
  // Two copies of it are never the same, as if each had been interrupted.
  const RemoteAddr outer =
      process.heap.frame({.code = process.load_code, .previous = process.heap.entry_frame()});
  const RemoteAddr inner = process.heap.frame({.code = process.wait_code, .previous = outer});
  process.heap.set(process.main, Field::ThreadCurrentFrame, inner);
  const RemoteAddr local = outer + process.heap.offsets()[Field::FrameLocalsplus];
  const RemoteAddr pointer = process.main + process.heap.offsets()[Field::ThreadCurrentFrame];
  std::uint64_t changes = 0;
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at == pointer) process.heap.memory.put(local, ++changes);
  };
  std::uint64_t switches = 17;
  ActedTarget target = process.target();
  Proof expected = Proof::None;
  SECTION("if its switches are the same before and after") {
    target.switches = [&](pid_t tid) -> std::optional<std::uint64_t> {
      CHECK(tid == 4711);
      return switches;
    };
    expected = Proof::AtRest;
  }
  SECTION("not if it was switched away from") {
    target.switches = [&](pid_t) -> std::optional<std::uint64_t> { return switches++; };
  }
  SECTION("not if it ran") {
    target.switches = [](pid_t) -> std::optional<std::uint64_t> { return std::nullopt; };
  }
  const auto snapshot = read_snapshot(target, process.runtime(), process.options, Log{});
  REQUIRE(snapshot);
  const Thread& main = snapshot->threads[0];
  CHECK(main.proof == expected);
  CHECK(main.consistent == (expected != Proof::None));
  CHECK(functions(*snapshot, main) == std::vector<std::string>{"wait", "load", "#"});
}

TEST_CASE("without another switch of the GIL only its holder is read with care", "[snapshot]") {
  const TinyProcess process(14);
  std::vector<std::string> log;
  const auto snapshot = read_snapshot(process.target(), process.runtime(), process.options,
                                      Log([&](const std::string& line) { log.push_back(line); }));
  REQUIRE(snapshot);
  REQUIRE(log.size() == 1);
  CHECK_THAT(log[0], Catch::StartsWith("thread 4711: verified by two equal copies"));
}

TEST_CASE("a process without an interpreter is an error", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.heap.runtime, Field::RuntimeInterpretersHead, RemoteAddr{});
  CHECK(process.read().error().kind == ErrorKind::Unsupported);
  process.heap.memory.answer = ReadStatus::Gone;
  CHECK(process.read().error().kind == ErrorKind::NoSuchProcess);
}

TEST_CASE("a page that is missing is an error or a warning or makes no difference", "[snapshot]") {
  const int minor = GENERATE(13, 14, 15);
  const TinyProcess whole(minor);
  const std::string expected = to_text(*whole.read());
  std::vector<std::uint64_t> pages;
  for (const auto& [page, bytes] : whole.heap.memory.pages)
    pages.push_back(page);
  for (const std::uint64_t page : pages) {
    TinyProcess process(minor);
    process.heap.memory.unmap(RemoteAddr{page * PagedMemory::kPageSize});
    const auto snapshot = process.read();
    if (!snapshot || exit_status(*snapshot) != 0 || !snapshot->warnings.empty()) continue;
    CAPTURE(minor, page);
    CHECK(to_text(*snapshot) == expected);
  }
}

TEST_CASE("no word of a process can be such that reading it does harm", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  // What was read, word by word, is replaced by what a hostile or torn target may hold.
  std::vector<RemoteAddr> words;
  for (const auto& [page, bytes] : process.heap.memory.pages) {
    for (std::uint64_t offset = 0; offset < PagedMemory::kPageSize; offset += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + offset, sizeof word);
      if (word != 0) words.emplace_back(page * PagedMemory::kPageSize + offset);
    }
  }
  REQUIRE(words.size() > 300);
  std::minstd_rand random(1);
  for (const RemoteAddr at : words) {
    const auto original = read_as<std::uint64_t>(process.heap.memory, at).value();
    const std::uint64_t other = words[random() % words.size()].raw();
    for (const std::uint64_t value :
         {~std::uint64_t{0}, at.raw() / 16 * 16, other, original ^ 1U << random() % 32}) {
      process.heap.memory.put(at, value);
      const auto snapshot = process.read();
      if (snapshot) CHECK(snapshot->threads.size() <= 3);
    }
    process.heap.memory.put(at, original);
  }
  CHECK(exit_status(process.read().value()) == 0);
}

TEST_CASE("a recording gives the same dump without the process", "[snapshot]") {
  const TinyProcess process(GENERATE(13, 14, 15));
  const RecordingMemory recorder(process.heap.memory);
  const auto live = process.read_from(recorder);
  REQUIRE(live);
  std::vector<std::byte> table(DebugOffsets::kMaxSize);
  REQUIRE(recorder.read(process.heap.runtime, table));
  const ScratchFolder folder;
  const std::string path = folder.path() / "recording";
  REQUIRE(write_recording(path, {process.heap.runtime, process.facts, recorder.image()}));
  const auto again = replay(path, {});
  REQUIRE(again);
  CHECK(to_text(*again) == to_text(*live));
  CHECK(again->host == "web-3");
  CHECK(again->python.version == live->python.version);
  CHECK(exit_status(*again) == 0);
}

TEST_CASE("a recording has system calls by their names, which are the same on every processor",
          "[snapshot]") {
  TinyProcess process(14);
  process.facts.tasks[1].system_call = SystemCall{SYS_recvfrom, {7}};
  process.facts.tasks[2].system_call = SystemCall{9999, {1}};
  const RecordingMemory recorder(process.heap.memory);
  REQUIRE(process.read_from(recorder));
  const ScratchFolder folder;
  const std::string path = folder.path() / "recording";
  REQUIRE(write_recording(path, {process.heap.runtime, process.facts, recorder.image()}));
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str().find(" recvfrom 7 0 0 0 0 0\n") != std::string::npos);
  const auto recording = read_recording(path);
  REQUIRE(recording);
  CHECK(recording->facts.tasks.at(1).system_call->number == SYS_recvfrom);
  CHECK(recording->facts.tasks.at(1).system_call->arguments.at(0) == 7);
  CHECK(recording->facts.tasks.at(2).system_call->number == 9999);
}

TEST_CASE("a recording keeps a thread whose stack could not be read", "[snapshot]") {
  TinyProcess process(14);
  process.heap.set(process.writer, Field::ThreadCurrentFrame, kNowhere);
  const RecordingMemory recorder(process.heap.memory);
  const auto live = process.read_from(recorder);
  REQUIRE(live);
  CHECK(exit_status(*live) == 6);
  std::vector<std::byte> table(DebugOffsets::kMaxSize);
  REQUIRE(recorder.read(process.heap.runtime, table));
  const ScratchFolder folder;
  const std::string path = folder.path() / "recording";
  REQUIRE(write_recording(path, {process.heap.runtime, process.facts, recorder.image()}));
  const auto again = replay(path, {});
  REQUIRE(again);
  CHECK(to_text(*again) == to_text(*live));
  CHECK(again->warnings.empty());
  CHECK(exit_status(*again) == 6);
}

TEST_CASE("what is no recording of a Python process is refused", "[snapshot]") {
  const ScratchFolder folder;
  CHECK_FALSE(replay(folder.path() / "missing", {}));
  CHECK_FALSE(replay(folder.write("empty", "pyscope-recording 1\n"), {}));
  const std::string no_table = "pyscope-recording 1\nruntime 1000\nmemory 1000 888\n";
  CHECK_FALSE(replay(folder.write("zeros", no_table + std::string(888, '\0') + "\n"), {}));
}

TEST_CASE("a frame in error is not verified, and the exit status says the same", "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  const RemoteAddr frame = process.frame_of(process.loader);
  process.heap.memory.put(frame + process.heap.offsets()[Field::FrameInstrPtr], std::uint64_t{8});
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK_FALSE(snapshot->threads[1].frames[0].error.empty());
  CHECK_FALSE(snapshot->capture.consistent);
  CHECK(exit_status(*snapshot) == 6);
}

TEST_CASE("a snapshot ends at its deadline", "[snapshot]") {
  TinyProcess process(14);
  process.options.timeout = std::chrono::milliseconds(0);
  const auto snapshot = process.read();
  REQUIRE_FALSE(snapshot);
  CHECK_THAT(snapshot.error().message, Catch::Contains("the time limit is reached"));
  CHECK(exit_status(snapshot.error().kind) == 6);
}

TEST_CASE("a snapshot whose time is up in the middle has what was read until then", "[snapshot]") {
  // The main thread's stack never looks the same twice, so that it is read until the time is up.
  TinyProcess process(14);
  const RemoteAddr outer =
      process.heap.frame({.code = process.load_code, .previous = process.heap.entry_frame()});
  const RemoteAddr inner = process.heap.frame({.code = process.wait_code, .previous = outer});
  process.heap.set(process.main, Field::ThreadCurrentFrame, inner);
  const RemoteAddr local = outer + process.heap.offsets()[Field::FrameLocalsplus];
  const RemoteAddr pointer = process.main + process.heap.offsets()[Field::ThreadCurrentFrame];
  process.options.timeout = std::chrono::milliseconds(300);
  const auto end = std::chrono::steady_clock::now() + process.options.timeout;
  std::uint64_t changes = 0;
  bool held_up = false;
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at != pointer) return;
    process.heap.memory.put(local, ++changes);
    // A read that takes until the deadline and beyond, as one of a file system that hangs does.
    while (!std::exchange(held_up, true) && std::chrono::steady_clock::now() <= end)
      held_up = false;
  };
  const auto snapshot = process.read();
  REQUIRE(snapshot);
  CHECK(snapshot->threads.size() == 3);
  CHECK_FALSE(snapshot->threads[0].consistent);
  CHECK(snapshot->threads[1].consistent);
  CHECK(exit_status(*snapshot) == 6);
  CHECK(std::any_of(snapshot->warnings.begin(), snapshot->warnings.end(), [](const auto& warning) {
    return warning.find("the time limit was reached") != std::string::npos;
  }));
}

TEST_CASE("a session looks at code that it knows only to see that it is still there",
          "[snapshot]") {
  TinyProcess process(GENERATE(13, 14, 15));
  const ActedTarget target = process.target();
  // The function's line table has a page of its own, so that nothing else is read there.
  const auto table = read_as<std::uint64_t>(process.heap.memory, process.load_code,
                                            process.heap.offsets()[Field::CodeLinetable]);
  REQUIRE(table);
  std::vector<std::byte> bytes(128);
  REQUIRE(process.heap.memory.read(RemoteAddr{*table}, bytes));
  process.heap.start_new_page();
  const RemoteAddr alone = process.heap.allocate(bytes.size());
  process.heap.start_new_page();
  process.heap.memory.write(alone, bytes);
  process.heap.set(process.load_code, Field::CodeLinetable, alone);

  Session session(target, process.runtime(), Log{});
  REQUIRE(session.snapshot(process.options));
  std::size_t tables = 0;
  process.heap.memory.before_read = [&](RemoteAddr at) {
    if (at.raw() / PagedMemory::kPageSize == alone.raw() / PagedMemory::kPageSize) ++tables;
  };
  const auto second = session.snapshot(process.options);
  REQUIRE(second);
  CHECK(functions(second->snapshot, second->snapshot.threads[1]) ==
        std::vector<std::string>{"wait", "load", "#"});
  CHECK(second->snapshot.codes.size() == 3);
  CHECK(tables == 0);

  // Another function lies there by now.
  process.heap.set(process.load_code, Field::CodeName, process.heap.str("another"));
  const auto third = session.snapshot(process.options);
  REQUIRE(third);
  CHECK(functions(third->snapshot, third->snapshot.threads[1]) ==
        std::vector<std::string>{"wait", "another", "#"});
  CHECK(third->snapshot.codes.size() == 3);
  CHECK(exit_status(third->snapshot) == 0);
  CHECK(tables > 0);
}
