#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pyscope/render.hpp"
#include "unit/format_snapshot.hpp"

using namespace pyscope;
using namespace pyscope::test;

namespace {

std::string text_of(const Snapshot& snapshot, Grouping grouping = Grouping::Automatic) {
  return render_text(snapshot, {.grouping = grouping});
}

TextOptions full() {
  return {.full = true};
}

const std::string kLib = "/usr/lib/python3.14/";

/// What follows the heading: the threads, each with the empty line before it.
std::string threads_of(const Snapshot& snapshot, Grouping grouping = Grouping::Automatic) {
  const std::string text = text_of(snapshot, grouping);
  const auto start = text.find("\n\n");
  REQUIRE(start != std::string::npos);
  return text.substr(start + 1);
}

std::string heading_of(const Snapshot& snapshot) {
  const std::string text = text_of(snapshot);
  return text.substr(0, text.find("\n\n") + 1);
}

/// The first line of the only thread.
std::string thread_heading(Snapshot snapshot, const Thread& thread) {
  snapshot.threads.push_back(thread);
  const std::string text = threads_of(snapshot);
  return text.substr(1, text.find('\n', 1) - 1);
}

Snapshot with_stack(std::vector<Frame> frames, Snapshot snapshot) {
  snapshot.threads.push_back(make_thread(4711, "MainThread", ThreadState::Blocked));
  snapshot.threads.back().frames = std::move(frames);
  return snapshot;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("a dump reads like a traceback with headings", "[format]") {
  Snapshot snapshot = make_snapshot();
  Thread main = make_thread(4711, "MainThread", ThreadState::Running);
  main.main = true;
  main.holds_gil = true;
  main.os_name = "python3";
  main.cpu_time_us = 51'234'000;
  main.frames = {
      with_source(snapshot, add_frame(snapshot, "get_user", "/srv/app/views.py", 88),
                  "        row = db.row(uid)[\"name\"] + suffix", 14, 42),
      shim(),
      with_source(snapshot, add_frame(snapshot, "<module>", "/srv/app/app.py", 12),
                  "serve(get_user)\n", 0, 15),
  };
  Thread worker = make_thread(4712, "worker-1", ThreadState::Blocked);
  worker.system_call = SYS_futex;
  worker.cpu_time_us = 9'999;
  worker.frames = {
      with_source(snapshot, add_frame(snapshot, "Store.save", "/srv/app/store.py", 31),
                  "\twith self.lock:", 6, 15),
      with_source(snapshot, add_frame(snapshot, "Store.fetch", "/srv/app/store.py", 42),
                  "    return save(row)", 11, 20),
      add_frame(snapshot, "Thread.run", "/usr/lib/python3.14/threading.py", 1024),
  };
  snapshot.threads = {main, worker};
  snapshot.interpreters[0].gil_held_by = 4711;

  CHECK(
      text_of(snapshot) ==
      R"(2 threads: 1 waiting in native code in Store.save (app/store.py:31), 1 running get_user (app/views.py:88)
Process 4711 on web-3: python3 app.py
CPython 3.14.8, /usr/bin/python3.14
Read 2026-01-02 03:04:05 UTC in 0.8 ms without stopping it, verified; innermost frame first
Next: pyscope dump 4711 --native  # which library's code threads wait in
Next: pyscope why 4711  # whether what runs gets on, or loops

Thread 4712 "worker-1" (blocked, waiting in native code)
  File "/srv/app/store.py", line 31, in Store.save
    with self.lock:
         ^^^^^^^^^
  File "/srv/app/store.py", line 42, in Store.fetch
    return save(row)
  File "/usr/lib/python3.14/threading.py", line 1024, in Thread.run

Thread 4711 "MainThread" (main, running, holds the GIL, 51.2 s CPU)
  File "/srv/app/views.py", line 88, in get_user
    row = db.row(uid)["name"] + suffix
          ~~~~~~~~~~~~~~~~~~~~^~~~~~~~
  File "/srv/app/app.py", line 12, in <module>
    serve(get_user)
)");
}

TEST_CASE("the heading tells the process and how it was read", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.namespace_pid = 7;
  snapshot.command = {"/usr/bin/python3", "-c", "print('a b')", "", "--x=1"};
  snapshot.started_at = snapshot.captured_at - std::chrono::hours(75);
  snapshot.python = {"3.15.0rc1", true, true};
  snapshot.capture.duration_us = 12'345;
  snapshot.capture.paused_us = 432;
  snapshot.capture.paused_threads = 1;
  snapshot.warnings = {"the clock\x1b[0m went back"};
  snapshot.finalizing = true;
  snapshot.interpreters[0].collecting_garbage = true;
  snapshot.interpreters[0].gil_held_by = 4712;
  snapshot.threads = {make_thread(4711, std::nullopt, ThreadState::Blocked)};
  CHECK(heading_of(snapshot) ==
        R"(1 thread, interpreter shutting down, collecting garbage: without Python frames
Process 4711 (pid 7 in its own namespace) on web-3: /usr/bin/python3 -c 'print('\''a b'\'')' '' --x=1
CPython 3.15.0rc1, free-threaded, debug build, /usr/bin/python3.14, up 3 d 3 h
Read 2026-01-02 03:04:05 UTC in 12 ms, 1 thread paused for 0.4 ms, verified; innermost frame first
*** The interpreter is shutting down ***
The interpreter is collecting garbage
The GIL is held by thread 4712, which isn't shown
Warning: the clock\x1b[0m went back
)");
}

TEST_CASE("a long command line is cut at the terminal's edge", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.command.assign(1000, "--option");
  snapshot.threads = {make_thread(4711, std::nullopt, ThreadState::Blocked)};
  const auto line = [&](std::size_t columns) {
    const std::string text = render_text(snapshot, {.columns = columns});
    const auto start = text.find("Process");
    return text.substr(start, text.find('\n', start) - start);
  };
  CHECK(line(100).size() == 100);
  CHECK(line(100).ends_with("..."));
  CHECK(line(0).size() > 9000);
  CHECK(line(0).ends_with(" --option"));
  snapshot.command.assign(1'000'000, "--option");
  CHECK(line(0).size() < 20'000);
}

TEST_CASE("what could not be verified or read is marked", "[format]") {
  Snapshot snapshot = make_snapshot();
  Frame good = add_frame(snapshot, "f", "/a.py", 1);
  Frame bad;
  bad.error = "code object at 0x10: not readable";
  Frame partial = add_frame(snapshot, "g", "/a.py", 2);
  partial.position = {};
  partial.error = "the line table makes no sense";
  snapshot.threads = {make_thread(4711, "a", ThreadState::Blocked),
                      make_thread(4712, "b", ThreadState::Blocked),
                      make_thread(4713, "c", ThreadState::Blocked)};
  snapshot.threads[0].consistent = false;
  snapshot.threads[0].inconsistency = "it ran on";
  snapshot.threads[0].frames = {good, bad, partial};
  snapshot.threads[1].error = "frame at 0x20: not readable";
  snapshot.threads[1].truncated = true;
  snapshot.threads[1].frames = {good};
  snapshot.threads[2].consistent = false;
  snapshot.threads[2].error = "thread state at 0x30: not readable";
  snapshot.capture.consistent = false;
  CHECK(contains(heading_of(snapshot), ", 2 of 3 threads not verified; innermost"));
  CHECK(threads_of(snapshot) == R"(
Thread 4711 "a" (blocked)
  [not verified: it ran on]
  File "/a.py", line 1, in f
  [frame not readable: code object at 0x10: not readable]
  File "/a.py", line ?, in g
    [the line table makes no sense]

Thread 4712 "b" (blocked)
  [not read completely: frame at 0x20: not readable]
  File "/a.py", line 1, in f
  ... outer frames left out

Thread 4713 "c" (blocked)
  [not verified]
  [not read completely: thread state at 0x30: not readable]
)");
}

TEST_CASE("a thread without frames says so", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.threads = {make_thread(4711, std::nullopt, ThreadState::Blocked),
                      make_thread(4712, std::nullopt, ThreadState::Blocked)};
  snapshot.threads[0].frames = {shim()};
  snapshot.threads[1].truncated = true;
  CHECK(threads_of(snapshot) == R"(
Thread 4711 (blocked)
  (no Python frames)

Thread 4712 (blocked)
  ... outer frames left out
)");
}

TEST_CASE("the heading of a thread names its states", "[format]") {
  const Snapshot snapshot = make_snapshot();
  Thread thread = make_thread(9, "w", ThreadState::WaitingForGil);
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (waiting for the GIL))");
  thread.state = ThreadState::Unknown;
  thread.waits_for_gil.reset();
  thread.holds_gil.reset();
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (state unknown))");
  thread.state = ThreadState::Blocked;
  thread.os_state = 'D';
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (blocked, uninterruptible))");
  thread.os_state = 'T';
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (stopped by a signal))");
  thread.os_state = 't';
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (stopped by a tracer))");
  thread.os_state = 'Z';
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (ended))");
  thread.tid = 0;
  CHECK(thread_heading(snapshot, thread) == R"(Thread "w" (ended, native id 9))");
  thread.name.reset();
  thread.ident = 17;
  CHECK(thread_heading(snapshot, thread) == R"(Thread with ident 17 (ended, native id 9))");
}

TEST_CASE("the interpreter is named when there are several", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.interpreters = {Interpreter{0, 5, false}, Interpreter{3, std::nullopt, true}};
  Thread thread = make_thread(9, "w", ThreadState::Running);
  thread.interpreter = 3;
  CHECK(thread_heading(snapshot, thread) == R"(Thread 9 "w" (running, interpreter 3))");
  snapshot.threads = {thread};
  CHECK(contains(heading_of(snapshot), "\nInterpreter 3 is collecting garbage\n"));
  CHECK(contains(heading_of(snapshot),
                 "\nThe GIL of interpreter 0 is held by thread 5, which isn't shown\n"));
}

TEST_CASE("the name in the kernel is told only when it says something", "[format]") {
  Snapshot snapshot = make_snapshot();
  Thread thread = make_thread(9, "ThreadPoolExecutor-0_1", ThreadState::Running);
  for (const auto* os_name : {"ThreadPoolExecu", "python3.14", "python3", "app.py", ""}) {
    CAPTURE(os_name);
    thread.os_name = os_name;
    CHECK_FALSE(contains(thread_heading(snapshot, thread), "os name"));
  }
  thread.os_name = "ThreadPool";
  CHECK(thread_heading(snapshot, thread) ==
        R"(Thread 9 "ThreadPoolExecutor-0_1" (running, os name "ThreadPool"))");
  // The name of the process's first thread is what threads start with.
  snapshot.threads = {make_thread(4711, "MainThread", ThreadState::Running)};
  snapshot.threads[0].os_name = "ThreadPool";
  snapshot.threads.push_back(thread);
  const std::string each = threads_of(snapshot, Grouping::Never);
  CHECK(contains(each, R"("MainThread" (running, os name "ThreadPool"))"));
  CHECK(contains(each, R"("ThreadPoolExecutor-0_1" (running))"));
}

TEST_CASE("processor time is told from ten milliseconds on", "[format]") {
  const Snapshot snapshot = make_snapshot();
  Thread thread = make_thread(9, "w", ThreadState::Running);
  const auto words = [&](std::uint64_t us) {
    thread.cpu_time_us = us;
    return thread_heading(snapshot, thread).substr(13);
  };
  CHECK(words(9'999) == "(running)");
  CHECK(words(10'000) == "(running, 10 ms CPU)");
  CHECK(words(999'999) == "(running, 999 ms CPU)");
  CHECK(words(1'000'000) == "(running, 1.0 s CPU)");
  CHECK(words(61'000'000) == "(running, 1 min 1 s CPU)");
  CHECK(words(3'660'000'000) == "(running, 1 h 1 min CPU)");
  CHECK(words(90'000'000'000) == "(running, 1 d 1 h CPU)");
}

TEST_CASE("a changed source file is noted and its line is not shown", "[format]") {
  Snapshot snapshot = make_snapshot();
  Frame frame = add_frame(snapshot, "f", "/a.py", 1);
  frame.source = add_source(snapshot, "wrong line");
  snapshot.sources[0].changed = true;
  CHECK(threads_of(with_stack({frame}, snapshot)) == R"(
Thread 4711 "MainThread" (blocked)
  File "/a.py", line 1, in f
    [source file changed since the process started]
)");
}

TEST_CASE("an empty source line is not printed", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame frame = with_source(snapshot, add_frame(snapshot, "f", "/a.py", 1), "  \t", 0, 2);
  CHECK(threads_of(with_stack({frame}, snapshot)) == R"(
Thread 4711 "MainThread" (blocked)
  File "/a.py", line 1, in f
)");
}

TEST_CASE("recursion is printed once with its count", "[format]") {
  Snapshot snapshot = make_snapshot();
  const auto f = add_code(snapshot, "f", "/a.py");
  const auto g = add_code(snapshot, "g", "/a.py");
  const Frame main = add_frame(snapshot, "main", "/a.py", 9);
  std::vector<Frame> frames(100'000, frame_at(f, 1));
  // Where in the line the call stands doesn't matter: f(x - 1) + f(x - 2) is one recursion.
  for (std::size_t i = 0; i < frames.size(); ++i) {
    frames[i].position.column = static_cast<std::int32_t>(i % 7 == 0);
    frames[i].position.end_column = 5;
  }
  frames.push_back(main);
  CHECK(threads_of(with_stack(frames, snapshot)) == R"(
Thread 4711 "MainThread" (blocked)
  File "/a.py", line 1, in f
  File "/a.py", line 1, in f
  File "/a.py", line 1, in f
  [Previous frame repeated 99,997 more times]
  File "/a.py", line 9, in main
)");

  frames.clear();
  for (int i = 0; i < 50'000; ++i) {
    frames.push_back(frame_at(f, 1));
    frames.push_back(frame_at(g, 2));
  }
  CHECK(threads_of(with_stack(frames, snapshot)) == R"(
Thread 4711 "MainThread" (blocked)
  File "/a.py", line 1, in f
  File "/a.py", line 2, in g
  File "/a.py", line 1, in f
  File "/a.py", line 2, in g
  [Previous 2 frames repeated 49,998 more times]
)");

  frames.assign(4, frame_at(f, 1));
  CHECK(contains(threads_of(with_stack(frames, snapshot)),
                 "\n  [Previous frame repeated 1 more time]\n"));
  frames.back().position.line = 2;
  CHECK_FALSE(contains(threads_of(with_stack(frames, snapshot)), "repeated"));
}

TEST_CASE("shims between the frames of a recursion do not hide it", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame f = add_frame(snapshot, "f", "/a.py", 1);
  std::vector<Frame> frames;
  for (int i = 0; i < 10; ++i) {
    frames.push_back(f);
    frames.push_back(shim());
  }
  CHECK(
      contains(threads_of(with_stack(frames, snapshot)), "[Previous frame repeated 7 more times]"));
}

TEST_CASE("threads that do the same are printed once", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame wait = add_frame(snapshot, "Thread.join", kLib + "threading.py", 1);
  const Frame work = add_frame(snapshot, "work", "/srv/app/worker.py", 17);
  const Frame other = frame_at(*work.code, 18);
  for (int i = 0; i < 200; ++i) {
    Thread idle = make_thread(5000 + i, "worker-" + std::to_string(i), ThreadState::Blocked);
    idle.cpu_time_us = 10'000;
    idle.frames = {wait, work};
    snapshot.threads.push_back(idle);
  }
  snapshot.threads[100].frames = {wait, other};
  snapshot.threads[150].state = ThreadState::Running;
  snapshot.threads[199].consistent = false;
  const std::string text = render_text(snapshot, {.columns = 100});
  CHECK(text.substr(text.find("\n\n") + 1) == R"(
197 threads (blocked, waiting for a thread to end, 1.9 s CPU together)
  5000 "worker-0", 5001 "worker-1", 5002 "worker-2", 5003 "worker-3", 5004 "worker-4", and 192 more
  File "/usr/lib/python3.14/threading.py", line 1, in Thread.join
  File "/srv/app/worker.py", line 17, in work

Thread 5100 "worker-100" (blocked, waiting for a thread to end, 10 ms CPU)
  File "/usr/lib/python3.14/threading.py", line 1, in Thread.join
  File "/srv/app/worker.py", line 18, in work

Thread 5199 "worker-199" (blocked, waiting for a thread to end, 10 ms CPU)
  [not verified]
  File "/usr/lib/python3.14/threading.py", line 1, in Thread.join
  File "/srv/app/worker.py", line 17, in work

Thread 5150 "worker-150" (running, 10 ms CPU)
  File "/usr/lib/python3.14/threading.py", line 1, in Thread.join
  File "/srv/app/worker.py", line 17, in work
)");
  // Nothing is cut in a file or a pipe.
  CHECK(contains(text_of(snapshot), ", 5198 \"worker-198\"\n"));
}

TEST_CASE("threads are grouped from two on unless all is asked for", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (int i = 0; i < 2; ++i) {
    snapshot.threads.push_back(make_thread(5000 + i, std::nullopt, ThreadState::Blocked));
  }
  const std::string group = "\n2 threads (blocked)\n  5000, 5001\n  (no Python frames)\n";
  CHECK(threads_of(snapshot) == group);
  CHECK(threads_of(snapshot, Grouping::Always) == group);
  CHECK(contains(threads_of(snapshot, Grouping::Never), "\nThread 5001 (blocked)\n"));
  CHECK(contains(render_text(snapshot, full()), "\nThread 5001 (blocked)\n"));
  TextOptions grouped = full();
  grouped.grouping = Grouping::Always;
  CHECK(contains(render_text(snapshot, grouped), group));
}

TEST_CASE("threads of different interpreters are not grouped", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (int i = 0; i < 2; ++i) {
    snapshot.threads.push_back(make_thread(5000 + i, std::nullopt, ThreadState::Blocked));
    snapshot.threads.back().interpreter = i;
  }
  CHECK_FALSE(contains(threads_of(snapshot, Grouping::Always), "2 threads ("));
  snapshot.threads[1].interpreter = 0;
  CHECK(contains(threads_of(snapshot, Grouping::Always), "2 threads ("));
}

TEST_CASE("threads come by interest and not by number", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame work = add_frame(snapshot, "work", "/srv/app/worker.py", 17);
  const Frame get = add_frame(snapshot, "_worker", kLib + "concurrent/futures/thread.py", 90);
  snapshot.threads = {make_thread(1, std::nullopt, ThreadState::Blocked),
                      make_thread(2, std::nullopt, ThreadState::Running),
                      make_thread(3, std::nullopt, ThreadState::Blocked),
                      make_thread(4, std::nullopt, ThreadState::Blocked)};
  for (Thread& thread : snapshot.threads)
    thread.frames = {work};
  snapshot.threads[0].frames = {get};
  snapshot.threads[2].lock = LockWait{};
  snapshot.threads[2].system_call = SYS_futex;
  LockWait own;
  own.held = Held::ByThread;
  own.held_by = 4;
  snapshot.threads[3].lock = own;
  snapshot.deadlocks = {{{{4, std::nullopt, own}}}};
  for (const Grouping grouping : {Grouping::Always, Grouping::Never}) {
    const std::string text = threads_of(snapshot, grouping);
    const auto at = [&](const char* thread) { return text.rfind(thread); };
    CHECK(at("Thread 4 (") < at("Thread 3 ("));
    CHECK(at("Thread 3 (") < at("Thread 2 ("));
    CHECK(at("Thread 2 (") < at("Thread 1 ("));
  }
}

TEST_CASE("threads at rest have a line each, at the end", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame wait = add_frame(snapshot, "Condition.wait", kLib + "threading.py", 369);
  const Frame get = add_frame(snapshot, "Queue.get", kLib + "queue.py", 199);
  const Frame orders = add_frame(snapshot, "process_orders", "/srv/shop/service.py", 63);
  const Frame mails = add_frame(snapshot, "send_mails", "/srv/shop/mail.py", 7);
  Thread mailer = make_thread(9, "mailer", ThreadState::Blocked);
  mailer.frames = {wait, get, mails};
  snapshot.threads = {mailer};
  for (int i = 1; i <= 4; ++i) {
    snapshot.threads.push_back(
        make_thread(10 + i, "worker-" + std::to_string(i), ThreadState::Blocked));
    snapshot.threads.back().frames = {wait, get, orders};
  }
  snapshot.threads.push_back(make_thread(20, "pricing", ThreadState::Running));
  snapshot.threads.back().frames = {orders};
  CHECK(threads_of(snapshot) == R"(
Thread 20 "pricing" (running)
  File "/srv/shop/service.py", line 63, in process_orders

4 threads (blocked, idle in Queue.get): 11 "worker-1", 12 "worker-2", 13 "worker-3", 14 "worker-4" in process_orders (shop/service.py:63)
Thread 9 "mailer" (blocked, idle in Queue.get) in send_mails (shop/mail.py:7)
)");
  // On a terminal a line stays a line.
  const std::string narrow = render_text(snapshot, {.columns = 80});
  const auto begin =
      narrow.find("\n4 threads, 11 \"worker-1\" … 14 \"worker-4\" (blocked, idle in");
  REQUIRE(begin != std::string::npos);
  const std::string line = narrow.substr(begin + 1, narrow.find('\n', begin + 1) - begin - 1);
  CHECK(line.ends_with("..."));
  CHECK(line.size() == 80 + 2);  // the sign in the middle has three bytes
  const std::string whole = render_text(snapshot, full());
  CHECK(contains(whole, "Thread 14 \"worker-4\" (blocked, idle in Queue.get)\n  File "));
  CHECK(contains(render_text(snapshot, {.idle_stacks = true}), "in Queue.get\n  File"));
  // What isn't sure is shown with its stack and its mark.
  snapshot.threads[0].consistent = false;
  CHECK(contains(threads_of(snapshot), "(blocked, idle in Queue.get)\n  [not verified]\n  File"));
  // If there is nothing else to show, the main thread is.
  snapshot.threads.pop_back();
  snapshot.threads[0].consistent = true;
  snapshot.threads[0].main = true;
  CHECK(contains(threads_of(snapshot), "(main, blocked, idle in Queue.get)\n  File"));
  CHECK(contains(threads_of(snapshot), "\n4 threads (blocked, idle in Queue.get): 11"));
}

TEST_CASE("machinery around the program's own frames has one line", "[format]") {
  Snapshot snapshot = make_snapshot();
  Frame own = with_source(snapshot, add_frame(snapshot, "work", "/srv/app/worker.py", 17),
                          "total = count(rows) + 1", 8, 23);
  Frame library = with_source(snapshot, add_frame(snapshot, "loads", kLib + "json/__init__.py", 9),
                              "return decode(s) + s", 7, 20);
  const std::vector<Frame> frames = {
      library,
      own,
      add_frame(snapshot, "Thread.run", kLib + "threading.py", 1024),
      add_frame(snapshot, "Thread._bootstrap_inner", kLib + "threading.py", 1082),
      add_frame(snapshot, "Thread._bootstrap", kLib + "threading.py", 1044),
  };
  snapshot = with_stack(frames, snapshot);
  CHECK(threads_of(snapshot) == R"(
Thread 4711 "MainThread" (blocked)
  File "/usr/lib/python3.14/json/__init__.py", line 9, in loads
  File "/srv/app/worker.py", line 17, in work
    total = count(rows) + 1
            ~~~~~~~~~~~~^~~
  … 3 frames of threading
)");
  const std::string whole = render_text(snapshot, full());
  CHECK(contains(whole, "in loads\n    return decode(s) + s\n"));
  CHECK(contains(whole, "in Thread._bootstrap\n"));
  CHECK_FALSE(contains(whole, "frames of"));

  const auto frozen = [&](const char* name) {
    return add_frame(snapshot, name, "<frozen importlib._bootstrap>", 1);
  };
  snapshot.threads[0].frames = {
      own, frozen("_call_with_frames_removed"), frozen("exec_module"), frozen("_find_and_load"),
      own, add_frame(snapshot, "BaseEventLoop._run_once", kLib + "asyncio/base_events.py", 1),
      add_frame(snapshot, "run", kLib + "asyncio/runners.py", 1),
      add_frame(snapshot, "_run_code", "<frozen runpy>", 1),
      // A program's own file of the same name is no machinery.
      add_frame(snapshot, "Thread.run", "/srv/app/threading.py", 1)};
  CHECK(contains(threads_of(snapshot), "  … 3 frames of import\n  File \"/srv/app/worker.py\""));
  CHECK(contains(threads_of(snapshot),
                 "  … 3 frames of asyncio and runpy\n  File \"/srv/app/threading.py\""));
  // What a thread executes is shown, and so is a single frame.
  snapshot.threads[0].frames = {frozen("acquire"), frozen("_find_and_load"), own,
                                frozen("_find_and_load")};
  CHECK_FALSE(contains(threads_of(snapshot), "frames of"));
  // Where nothing is the program's own, the library's lines are all there is.
  Snapshot other = make_snapshot();
  library = with_source(other, add_frame(other, "loads", kLib + "json/__init__.py", 9),
                        "return decode(s) + s", 7, 20);
  CHECK(contains(threads_of(with_stack({library}, other)), "    return decode(s) + s\n"));
}

TEST_CASE("colour is added without changing a character", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame frame =
      with_source(snapshot, add_frame(snapshot, "f", "/a.py", 1), "  x = a + b", 6, 11);
  Frame bad;
  bad.error = "gone";
  snapshot = with_stack({frame, bad}, snapshot);
  snapshot.threads[0].truncated = true;
  const std::string colored = render_text(snapshot, {.color = true});
  CHECK(contains(colored, "\x1b[33mThread 4711 \"MainThread\" (blocked)\x1b[0m\n"));
  CHECK(contains(colored,
                 "  File \"\x1b[36m/a.py\x1b[0m\", line \x1b[36m1\x1b[0m, in \x1b[1mf\x1b[0m\n"
                 "    x = a + b\n"
                 "        \x1b[1m~~^~~\x1b[0m\n"
                 "  \x1b[31m[frame not readable: gone]\x1b[0m\n"
                 "  \x1b[2m... outer frames left out\x1b[0m\n"));
  std::string plain;
  for (std::size_t at = 0; at < colored.size(); ++at) {
    if (colored[at] == '\x1b') {
      at = colored.find('m', at);
    } else {
      plain += colored[at];
    }
  }
  CHECK(plain == text_of(snapshot));
  CHECK_FALSE(contains(text_of(snapshot), "\x1b"));
}

TEST_CASE("nothing of the target reaches the terminal unescaped", "[format]") {
  const std::string evil = "\x1b]0;x\x07\n\u202e\xff\xed\xb2\x80";
  Snapshot snapshot = make_snapshot();
  snapshot.host = evil;
  snapshot.command = {evil};
  snapshot.executable = evil;
  snapshot.python.version = evil;
  snapshot.warnings = {evil};
  Frame frame = with_source(snapshot, add_frame(snapshot, evil, evil, 1), evil, 0, 3);
  frame.error = evil;
  Frame bad;
  bad.error = evil;
  snapshot = with_stack({frame, bad}, snapshot);
  Thread& thread = snapshot.threads[0];
  thread.name = evil;
  thread.os_name = "os" + evil;
  thread.consistent = false;
  thread.inconsistency = evil;
  thread.error = evil;
  snapshot.threads.push_back(thread);
  for (const Grouping grouping : {Grouping::Always, Grouping::Never}) {
    const std::string text = text_of(snapshot, grouping);
    CHECK(text.find_first_of("\x1b\x07\xff") == std::string::npos);
    CHECK_FALSE(contains(text, "\u202e"));
    CHECK_FALSE(contains(text, "\xed\xb2"));
    CHECK(contains(text, R"("\x1b]0;x\x07\x0a\u202e\xff\udc80")"));
    CHECK(contains(text, R"("os\x1b]0;x\x07\x0a\u202e\xff\udc80")") ==
          (grouping == Grouping::Never));
  }
}

TEST_CASE("a snapshot that makes no sense is printed nevertheless", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.pid = -5;
  snapshot.captured_at = std::chrono::system_clock::time_point::max();
  snapshot.started_at = std::chrono::system_clock::time_point::min();
  snapshot.capture.duration_us = std::numeric_limits<std::int64_t>::min();
  snapshot.capture.paused_us = std::numeric_limits<std::int64_t>::max();
  snapshot.command.clear();
  snapshot.interpreters.clear();
  Frame frame = frame_at(77, std::numeric_limits<std::int32_t>::min());
  frame.source = 99;
  Frame nameless = add_frame(snapshot, "", "", -1);
  nameless.source = 99;
  snapshot = with_stack({frame, nameless, Frame{}}, snapshot);
  snapshot.threads[0].tid = -1;
  snapshot.threads[0].cpu_time_us = std::numeric_limits<std::uint64_t>::max();
  const std::string text = threads_of(snapshot);
  CHECK(contains(text,
                 "  [frame not readable: no code object]\n"
                 "  File \"\", line -1, in ?\n"
                 "  [frame not readable: no code object]\n"));
  CHECK_FALSE(text_of(Snapshot{}).empty());
}

TEST_CASE("of a stack that is not verified it is shown what moved", "[format]") {
  Snapshot snapshot = make_snapshot();
  Thread thread = make_thread(4711, "MainThread", ThreadState::Running);
  thread.frames = {add_frame(snapshot, "inner", "/a.py", 3), shim(),
                   add_frame(snapshot, "outer", "/a.py", 2),
                   add_frame(snapshot, "<module>", "/a.py", 1)};
  thread.consistent = false;
  thread.inconsistency = "it ran";
  const auto text = [&](std::size_t moving) {
    for (std::size_t i = 0; i < thread.frames.size(); ++i)
      thread.frames[i].moving = i < moving;
    snapshot.threads = {thread};
    const std::string all = render_text(snapshot, {});
    return all.substr(all.find("  [not verified"));
  };
  const std::string mark =
      "  [what is above changed while it was read, what is below held still]\n";
  CHECK(text(2) ==
        "  [not verified: it ran]\n  File \"/a.py\", line 3, in inner\n" + mark +
            "  File \"/a.py\", line 2, in outer\n  File \"/a.py\", line 1, in <module>\n");
  // If all of it moved, or nothing is known to have, there is nothing to tell apart.
  CHECK(text(4).find(mark) == std::string::npos);
  CHECK(text(0).find(mark) == std::string::npos);
}

TEST_CASE("the heading says what a blocked thread waits for", "[format]") {
  Snapshot snapshot = make_snapshot();
  Thread thread = make_thread(4711, "w", ThreadState::Blocked);
  thread.frames = {add_frame(snapshot, "f", "/a.py", 1)};
  const auto heading = [&](const Wait& wait) {
    thread.wait = wait;
    return thread_heading(snapshot, thread);
  };
  CHECK(heading({"socket",
                 "recvfrom",
                 12,
                 "tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established",
                 {},
                 {}}) ==
        "Thread 4711 \"w\" (blocked in recvfrom on fd 12: "
        "tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established)");
  CHECK(heading({"socket", "poll", 12, "tcp [::1]:1 -> [::1]:2 established", 2'000'000, {}}) ==
        "Thread 4711 \"w\" (blocked in poll on fd 12: tcp [::1]:1 -> [::1]:2 established, "
        "for at most 2.0 s)");
  CHECK(heading({"pipe", "read", 5, "", {}, {}}) == "Thread 4711 \"w\" (blocked in read on fd 5)");
  CHECK(heading({"child", "wait4", {}, "sort (pid 4712)", {}, {}}) ==
        "Thread 4711 \"w\" (blocked in wait4: sort (pid 4712))");
  CHECK(heading({"sleep", "poll", {}, "", 1'500'000, {}}) ==
        "Thread 4711 \"w\" (blocked in poll, for 1.5 s)");
  CHECK(heading({"file", "openat", {}, "/run/a\x1b[0m\nb", {}, {}}) ==
        "Thread 4711 \"w\" (blocked in openat: /run/a\\x1b[0m\\x0ab)");
  CHECK(heading({"file", "openat", {}, std::string(5000, 'x'), {}, {}}).size() < 220);
  thread.os_state = 'D';
  CHECK(heading({"file", "fsync", 4, "/data/log", {}, {}}) ==
        "Thread 4711 \"w\" (blocked in fsync on fd 4: /data/log, uninterruptible)");
}

TEST_CASE("a wait that the stack explains is told behind its words", "[format]") {
  Snapshot snapshot = make_snapshot();
  const std::string lib = "/usr/lib/python3.14/";
  Thread thread = make_thread(4711, "w", ThreadState::Blocked);
  thread.frames = {add_frame(snapshot, "Popen.wait", lib + "subprocess.py", 1),
                   add_frame(snapshot, "build", "/a.py", 1)};
  thread.wait = Wait{"child", "wait4", {}, "make (pid 4712)", {}, {}};
  CHECK(thread_heading(snapshot, thread) ==
        R"(Thread 4711 "w" (blocked, waiting for a child process: make (pid 4712)))");
  thread.frames = {add_frame(snapshot, "nap", "/a.py", 1)};
  thread.wait = Wait{"sleep", "clock_nanosleep", {}, "", {}, 12'345'678};
  thread.system_call = SYS_clock_nanosleep;
  CHECK(thread_heading(snapshot, thread) == R"(Thread 4711 "w" (blocked, sleeping, 12.3 s left))");
  // Those who have nothing to do don't need to say on what.
  thread.frames = {add_frame(snapshot, "EpollSelector.select", lib + "selectors.py", 1)};
  thread.wait = Wait{"epoll", "epoll_wait", 5, "fd 3 (tcp 0.0.0.0:80 listen)", {}, {}};
  CHECK(thread_heading(snapshot, thread) == R"(Thread 4711 "w" (blocked, idle in select))");
  thread.frames = {add_frame(snapshot, "Store.save", "/a.py", 1)};
  thread.wait = Wait{"futex", "futex", {}, "", {}, {}};
  thread.system_call = SYS_futex;
  CHECK(thread_heading(snapshot, thread) == R"(Thread 4711 "w" (blocked, waiting in native code))");
}

TEST_CASE("threads that wait in one place for several things are one group", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame frame = add_frame(snapshot, "fetch", "/a.py", 1);
  const auto add = [&](int fd, const std::string& target) {
    Thread& thread =
        snapshot.threads.emplace_back(make_thread(5000 + fd, std::nullopt, ThreadState::Blocked));
    thread.frames = {frame};
    thread.wait = Wait{"socket", "recvfrom", fd, target, {}, {}};
  };
  add(7, "tcp 10.0.0.1:1 -> 10.0.0.2:80 established");
  add(7, "tcp 10.0.0.1:1 -> 10.0.0.2:80 established");
  CHECK(contains(threads_of(snapshot, Grouping::Always),
                 "\n2 threads (blocked in recvfrom on fd 7: "
                 "tcp 10.0.0.1:1 -> 10.0.0.2:80 established)\n"));
  add(8, "tcp 10.0.0.1:2 -> 10.0.0.2:80 established");
  CHECK(contains(threads_of(snapshot, Grouping::Always),
                 "\n3 threads (blocked in recvfrom, the first on fd 7: "
                 "tcp 10.0.0.1:1 -> 10.0.0.2:80 established)\n"));
  std::uint64_t left_us = 0;
  for (Thread& thread : snapshot.threads) {
    thread.system_call = SYS_clock_nanosleep;
    thread.wait = Wait{"sleep", "clock_nanosleep", {}, "", {}, left_us += 1'000'000};
  }
  CHECK(contains(threads_of(snapshot, Grouping::Always), "\n3 threads (blocked, sleeping)\n"));
}
