#include <fmt/format.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/escape.hpp"
#include "format/summary.hpp"
#include "format/wrap.hpp"
#include "unit/format_snapshot.hpp"

using namespace pyscope;
using namespace pyscope::test;

namespace {

const std::string kLib = "/usr/lib/python3.14/";

struct Place {
  std::string function;
  std::string file;
  std::int32_t line = 1;
};

/// Adds a blocked thread whose stack is `places`, innermost first.
Thread& add_blocked(Snapshot& snapshot, const std::vector<Place>& places,
                    std::optional<std::int64_t> system_call = SYS_futex) {
  Thread thread =
      make_thread(4711 + static_cast<pid_t>(snapshot.threads.size()), "t", ThreadState::Blocked);
  thread.system_call = system_call;
  for (const Place& place : places) {
    thread.frames.push_back(add_frame(snapshot, place.function, place.file, place.line));
  }
  snapshot.threads.push_back(std::move(thread));
  return snapshot.threads.back();
}

/// The summary of a single blocked thread, without "1 thread: ".
std::string blocked_in(const std::vector<Place>& places,
                       std::optional<std::int64_t> system_call = SYS_futex) {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, places, system_call);
  const std::string line = summarize(snapshot);
  REQUIRE(line.starts_with("1 thread: "));
  return line.substr(10);
}

std::string in_state(ThreadState state) {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {{"get_user", "/srv/app/views.py", 88}}).state = state;
  return summarize(snapshot);
}

}  // namespace

TEST_CASE("a process is summed up with the unusual first", "[format]") {
  Snapshot snapshot = make_snapshot();
  const auto wait = add_code(snapshot, "Condition.wait", kLib + "threading.py");
  const auto get = add_code(snapshot, "Queue.get", kLib + "queue.py");
  const auto work = add_code(snapshot, "work", "/srv/app/worker.py");
  const auto save = add_code(snapshot, "Store.save", "/srv/app/store.py");
  for (int i = 0; i < 9; ++i) {
    Thread& idle = add_blocked(snapshot, {});
    idle.frames = {frame_at(wait, 373), frame_at(get, 202), frame_at(work, 17)};
  }
  add_blocked(snapshot, {}).frames = {frame_at(save, 31)};
  add_blocked(snapshot, {}).frames = {frame_at(save, 31)};
  add_blocked(snapshot, {{"get_user", "/srv/app/views.py", 88}}).state = ThreadState::Running;
  CHECK(summarize(snapshot) ==
        "12 threads: 2 waiting in native code in Store.save (app/store.py:31), "
        "1 running get_user (app/views.py:88), 9 idle in Queue.get");
}

TEST_CASE("a process with one thread is summed up without counting", "[format]") {
  CHECK(in_state(ThreadState::Running) == "1 thread: running get_user (app/views.py:88)");
  CHECK(in_state(ThreadState::WaitingForGil) ==
        "1 thread: waiting for the GIL in get_user (app/views.py:88)");
  CHECK(in_state(ThreadState::Unknown) == "1 thread: in get_user (app/views.py:88)");
}

TEST_CASE("a process without threads has a summary too", "[format]") {
  CHECK(summarize(make_snapshot()) == "no Python threads");
}

TEST_CASE("threads that all do the same are not counted twice", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (int i = 0; i < 3; ++i)
    add_blocked(snapshot, {{"Thread.join", kLib + "threading.py"}});
  CHECK(summarize(snapshot) == "3 threads: all waiting for a thread to end");
}

TEST_CASE("a wait is named after what the programmer called", "[format]") {
  const Place wait{"Condition.wait", kLib + "threading.py"};
  const Place user{"main", "/srv/app/main.py", 5};
  CHECK(blocked_in({wait, user}) == "waiting for a condition in main (app/main.py:5)");
  CHECK(blocked_in({wait, {"Event.wait", kLib + "threading.py"}, user}) ==
        "waiting for an event in main (app/main.py:5)");
  CHECK(blocked_in({wait, {"Queue.get", kLib + "queue.py"}, user}) == "idle in Queue.get");
  CHECK(blocked_in({wait, {"Queue.put", kLib + "queue.py"}, user}) ==
        "waiting for room in a queue in main (app/main.py:5)");
  CHECK(blocked_in({wait, {"Future.result", kLib + "concurrent/futures/_base.py"}, user}) ==
        "waiting for a result in main (app/main.py:5)");
  CHECK(blocked_in({wait,
                    {"Condition.wait_for", kLib + "threading.py"},
                    {"Barrier._wait", kLib + "threading.py"},
                    {"Barrier.wait", kLib + "threading.py"},
                    user}) == "waiting at a barrier in main (app/main.py:5)");
  CHECK(blocked_in({{"_worker", kLib + "concurrent/futures/thread.py"},
                    {"Thread.run", kLib + "threading.py"}}) == "idle in ThreadPoolExecutor");
  CHECK(blocked_in({{"EpollSelector.select", kLib + "selectors.py"},
                    {"BaseEventLoop._run_once", kLib + "asyncio/base_events.py"},
                    {"BaseEventLoop.run_forever", kLib + "asyncio/base_events.py"},
                    {"BaseEventLoop.run_until_complete", kLib + "asyncio/base_events.py"},
                    {"Runner.run", kLib + "asyncio/runners.py"},
                    {"run", kLib + "asyncio/runners.py"},
                    user},
                   SYS_epoll_pwait) == "idle in the asyncio event loop");
  CHECK(blocked_in({{"PollSelector.select", kLib + "selectors.py"},
                    {"BaseServer.serve_forever", kLib + "socketserver.py"},
                    user},
                   SYS_ppoll) == "idle in serve_forever");
}

TEST_CASE("only the outermost function of a thread waits idly for work", "[format]") {
  const Place wait{"Condition.wait", kLib + "threading.py"};
  const Place get{"Queue.get", kLib + "queue.py"};
  const Place take{"take", "/srv/app/jobs.py", 7};
  const Place main{"main", "/srv/app/jobs.py", 12};
  const Place run{"Thread.run", kLib + "threading.py"};
  const Place begin{"Thread._bootstrap_inner", kLib + "threading.py"};
  CHECK(blocked_in({wait, get, take, run, begin}) == "idle in Queue.get");
  CHECK(blocked_in({wait, get, {"Taker.run", "/srv/app/jobs.py"}, begin}) == "idle in Queue.get");
  CHECK(blocked_in({wait, get, run, begin}) == "idle in Queue.get");
  CHECK(blocked_in({wait, get, take, main, run, begin}) ==
        "waiting for an item of a queue in take (app/jobs.py:7)");
  // Not with a lock.
  Snapshot snapshot = make_snapshot();
  Thread& thread = add_blocked(snapshot, {wait, get, take, run, begin});
  thread.lock.emplace().type = "queue.Queue";
  thread.lock->held = Held::NotALock;
  thread.lock->waits_in_with = true;
  CHECK(summarize(snapshot) == "1 thread: waiting for an item of a queue in take (app/jobs.py:7)");
}

TEST_CASE("frames that are not shown tell what a thread does all the same", "[format]") {
  Snapshot snapshot = make_snapshot();
  Thread& thread = add_blocked(snapshot, {{"PollSelector.select", kLib + "selectors.py"},
                                          {"BaseServer.serve_forever", kLib + "socketserver.py"}});
  thread.outer_frames.push_back(thread.frames.back());
  thread.frames.pop_back();
  thread.truncated = true;
  CHECK(summarize(snapshot) == "1 thread: idle in serve_forever");
}

TEST_CASE("a package's queue is not the standard library's", "[format]") {
  const std::string packages = kLib + "site-packages/";
  const Place wait{"Condition.wait", kLib + "threading.py"};
  const Place user{"get_user", "/srv/app/db.py", 5};
  CHECK(blocked_in({wait,
                    {"Queue.get", packages + "sqlalchemy/util/queue.py"},
                    {"QueuePool._do_get", packages + "sqlalchemy/pool/impl.py"},
                    {"Engine.connect", packages + "sqlalchemy/engine/base.py"},
                    user}) == "waiting for a connection of a pool in get_user (app/db.py:5)");
  CHECK(blocked_in({wait, {"Queue.get", packages + "other/queue.py"}, user}) ==
        "waiting for a condition in get_user (app/db.py:5)");
  CHECK(blocked_in({wait, {"Queue.get", packages + "other/queue.py"}}) ==
        "waiting for a condition in Queue.get (other/queue.py:1)");
}

TEST_CASE("the summary follows a lock to what its holder does", "[format]") {
  Snapshot snapshot = make_snapshot();
  Thread& first = add_blocked(snapshot, {{"take", "/srv/app/a.py", 3}}, SYS_futex);
  first.lock.emplace().type = "threading.Lock";
  first.lock->held = Held::ByThread;
  first.lock->held_by = 5001;
  Thread& second = add_blocked(snapshot, {{"query", "/srv/app/db.py", 8}}, SYS_recvfrom);
  second.tid = 5001;
  second.wait.emplace().kind = "socket";
  second.wait->fd = 3;
  second.wait->target = "tcp 10.0.0.5:5432";
  CHECK(summarize(snapshot) ==
        "2 threads: 1 waiting for a lock in take (app/a.py:3) behind 5001, which is blocked in "
        "query (app/db.py:8) on fd 3: tcp 10.0.0.5:5432; 1 blocked in query (app/db.py:8)");
}

TEST_CASE("for a wait that is part of something else the caller is named", "[format]") {
  const Place user{"build", "/srv/app/make.py", 33};
  CHECK(blocked_in({{"Popen._try_wait", kLib + "subprocess.py"},
                    {"Popen._wait", kLib + "subprocess.py"},
                    {"Popen.wait", kLib + "subprocess.py"},
                    {"call", kLib + "subprocess.py"},
                    user},
                   SYS_wait4) == "waiting for a child process in build (app/make.py:33)");
  CHECK(blocked_in({{"SocketIO.readinto", kLib + "socket.py"},
                    {"HTTPResponse._read_status", kLib + "http/client.py"},
                    {"HTTPResponse.begin", kLib + "http/client.py"},
                    {"HTTPConnection.getresponse", kLib + "http/client.py"},
                    user},
                   SYS_recvfrom) == "waiting for an HTTP response in build (app/make.py:33)");
  CHECK(blocked_in({{"Condition.wait", kLib + "threading.py"},
                    {"Semaphore.acquire", kLib + "threading.py"},
                    user}) == "waiting for a semaphore in build (app/make.py:33)");
  CHECK(blocked_in({{"_ModuleLock.acquire", "<frozen importlib._bootstrap>"},
                    {"_ModuleLockManager.__enter__", "<frozen importlib._bootstrap>"},
                    {"_find_and_load", "<frozen importlib._bootstrap>"},
                    user}) == "waiting for an import lock in build (app/make.py:33)");
}

TEST_CASE("a queue whose own lock is taken is not idle", "[format]") {
  CHECK(blocked_in({{"Condition.__enter__", kLib + "threading.py", 314},
                    {"Queue.get", kLib + "queue.py", 190},
                    {"work", "/srv/app/worker.py"}}) ==
        "waiting for a lock in work (app/worker.py:1)");
}

TEST_CASE("where the stack does not say what a thread waits for its system call does", "[format]") {
  const Place user{"poll", "/srv/app/job.py", 12};
  CHECK(blocked_in({user}, SYS_futex) == "waiting in native code in poll (app/job.py:12)");
  CHECK(blocked_in({user}, SYS_clock_nanosleep) == "sleeping in poll (app/job.py:12)");
  CHECK(blocked_in({user}, SYS_read) == "blocked in poll (app/job.py:12)");
  CHECK(blocked_in({user}, std::nullopt) == "blocked in poll (app/job.py:12)");
}

TEST_CASE("a function of the program that has the name of a wait is not one", "[format]") {
  CHECK(blocked_in({{"Queue.get", "/srv/app/myqueue.py", 3}}, SYS_read) ==
        "blocked in Queue.get (app/myqueue.py:3)");
  CHECK(blocked_in({{"Condition.wait", "/srv/app/mythreading.py", 3}}, SYS_read) ==
        "blocked in Condition.wait (app/mythreading.py:3)");
  CHECK(blocked_in({{"Condition.notify", kLib + "threading.py", 3}}, SYS_read) ==
        "blocked in Condition.notify (threading.py:3)");
  // Queue.get never blocks by itself: it calls Condition.wait.
  CHECK(blocked_in({{"Queue.get", kLib + "queue.py", 3}}, SYS_read) ==
        "blocked in Queue.get (queue.py:3)");
}

TEST_CASE("shims are passed over when a wait is named", "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame wait = add_frame(snapshot, "Condition.wait", kLib + "threading.py", 373);
  const Frame get = add_frame(snapshot, "Queue.get", kLib + "queue.py", 202);
  add_blocked(snapshot, {}).frames = {shim(), wait, shim(), get};
  CHECK(summarize(snapshot) == "1 thread: idle in Queue.get");
}

TEST_CASE("a stopped thread is said to be stopped whatever it does", "[format]") {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {{"main", "/srv/app/main.py", 5}}).os_state = 'T';
  add_blocked(snapshot, {{"main", "/srv/app/main.py", 5}}).os_state = 't';
  CHECK(summarize(snapshot) ==
        "2 threads: 1 stopped in main (app/main.py:5), 1 stopped in main (app/main.py:5)");
  snapshot.threads[1].frames = snapshot.threads[0].frames;
  CHECK(summarize(snapshot) == "2 threads: all stopped in main (app/main.py:5)");
}

TEST_CASE("threads without frames are counted by what is known of them", "[format]") {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {});
  add_blocked(snapshot, {}).state = ThreadState::Running;
  add_blocked(snapshot, {}).error = "frame at 0x7f10: not readable";
  add_blocked(snapshot, {}).tid = 0;
  add_blocked(snapshot, {}).os_state = 'Z';
  CHECK(summarize(snapshot) ==
        "5 threads: 1 running outside of Python, 1 unreadable, 2 ended, 1 without Python frames");
}

TEST_CASE("places are those in the program's own code", "[format]") {
  const Place user{"get_user", "/srv/app/views.py", 88};
  const Place cursor{"Cursor.execute", kLib + "site-packages/psycopg/cursor.py", 97};
  CHECK(blocked_in({cursor, user}, SYS_ppoll) == "blocked in get_user (app/views.py:88)");
  // A script that pip made is the package's.
  const Place script{"<module>", "/srv/venv/bin/uvicorn", 8};
  CHECK(blocked_in({cursor, script}, SYS_ppoll) ==
        "blocked in Cursor.execute (psycopg/cursor.py:97)");
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {{"compile", kLib + "re/_compiler.py", 3}, user}).state =
      ThreadState::Running;
  CHECK(summarize(snapshot) == "1 thread: running compile for get_user (app/views.py:88)");
}

TEST_CASE("threads at rest are counted together", "[format]") {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {{"get_user", "/srv/app/views.py", 88}}).state = ThreadState::Running;
  add_blocked(snapshot, {{"_worker", kLib + "concurrent/futures/thread.py"}});
  add_blocked(snapshot, {{"_worker", kLib + "concurrent/futures/thread.py"}});
  CHECK(summarize(snapshot) ==
        "3 threads: 1 running get_user (app/views.py:88), 2 idle in ThreadPoolExecutor");
  add_blocked(snapshot, {{"PollSelector.select", kLib + "selectors.py"},
                         {"BaseServer.serve_forever", kLib + "socketserver.py"}});
  CHECK(summarize(snapshot) == "4 threads: 1 running get_user (app/views.py:88), 3 idle");
}

TEST_CASE("on a terminal the summary has three lines at the most", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (int i = 0; i < 2; ++i) {
    Thread& waiter = add_blocked(snapshot, {{"Inventory.reserve", "/srv/shop/service.py", 40}});
    waiter.lock.emplace().type = "threading.Lock";
    waiter.lock->held = Held::ByThread;
    waiter.lock->held_by = 5001;
    waiter.lock->holder_name = "stock-sync";
    waiter.frames[0].code = snapshot.threads[0].frames[0].code;
  }
  Thread& holder =
      add_blocked(snapshot, {{"Database.query", "/srv/shop/service.py", 25}}, SYS_recvfrom);
  holder.tid = 5001;
  holder.wait.emplace().kind = "socket";
  holder.wait->fd = 3;
  holder.wait->target = "tcp 10.0.0.1:43210 -> 10.0.0.5:5432 established";
  add_blocked(snapshot, {{"PriceModel.predict", "/srv/shop/service.py", 59}}).state =
      ThreadState::Running;
  const auto wide = summarize(snapshot, 160);
  CHECK(wide.find("on fd 3: tcp 10.0.0.1:43210") != std::string::npos);
  CHECK(wide.find("; 1 blocked in Database.query (shop/service.py:25)") != std::string::npos);
  // The thread at the end of the chain is named there, so it isn't told again.
  CHECK(summarize(snapshot, 80) ==
        "4 threads: 2 waiting for a lock in Inventory.reserve (shop/service.py:40) behind 5001 "
        "\"stock-sync\", which is blocked in Database.query (shop/service.py:25); 1 running "
        "PriceModel.predict (shop/service.py:59)");
  for (const std::size_t columns : {60U, 80U, 120U, 200U}) {
    CAPTURE(columns);
    CHECK(count_lines(wrap(summarize(snapshot, columns), columns)) <= 3);
  }
  CHECK(wrap("one two three", 7) == "one two\n  three");
  CHECK(wrap("one two three", 0) == "one two three");
}

TEST_CASE("the summary says what the interpreter is doing", "[format]") {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {{"_shutdown", kLib + "threading.py"}});
  snapshot.finalizing = true;
  snapshot.interpreters[0].collecting_garbage = true;
  CHECK(
      summarize(snapshot) ==
      "1 thread, interpreter shutting down, collecting garbage: waiting for other threads to end");
  snapshot.finalizing = false;
  snapshot.interpreters = {Interpreter{}, Interpreter{}};
  CHECK(summarize(snapshot) == "1 thread in 2 interpreters: waiting for other threads to end");
}

TEST_CASE("the summary ends with what can not be relied on", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (int i = 0; i < 4; ++i)
    add_blocked(snapshot, {{"Thread.join", kLib + "threading.py"}});
  snapshot.threads[0].consistent = false;
  snapshot.threads[1].error = "cut short";
  snapshot.threads[2].frames[0].error = "no line";
  CHECK(summarize(snapshot) ==
        "4 threads: all waiting for a thread to end; 2 read only in part, 1 not verified");
}

TEST_CASE("of many different things the biggest idle group is still told", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (int i = 0; i < 8; ++i) {
    add_blocked(snapshot, {{"f", "/a/b.py", i}}).state = ThreadState::Running;
  }
  const Frame join = add_frame(snapshot, "_worker", kLib + "concurrent/futures/thread.py", 1);
  for (int i = 0; i < 100; ++i)
    add_blocked(snapshot, {}).frames = {join};
  CHECK(summarize(snapshot) ==
        "108 threads: 1 running f (a/b.py:0), 1 running f (a/b.py:1), 1 running f (a/b.py:2), "
        "1 running f (a/b.py:3), 1 running f (a/b.py:4), 1 running f (a/b.py:5), "
        "100 idle in ThreadPoolExecutor, and 2 more");
}

TEST_CASE("the summary stays within a line where it can", "[format]") {
  Snapshot snapshot = make_snapshot();
  const std::string name(200, 'n');
  for (int i = 0; i < 6; ++i) {
    add_blocked(snapshot, {{name + std::to_string(i), fmt::format("/srv/{0}/{0}.py", name), i}})
        .state = ThreadState::Running;
  }
  const std::string line = summarize(snapshot);
  CHECK(display_width(line) <= 220);
  CHECK(line.ends_with(", and 5 more"));
}

TEST_CASE("places of threads that wait give way before what they wait for does", "[format]") {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {{"get_user", "/srv/app/views.py", 88}}).state = ThreadState::Running;
  const std::string name(40, 'n');
  for (int i = 0; i < 3; ++i) {
    add_blocked(snapshot, {{"save", fmt::format("/srv/app/{}{}.py", name, i), 5}});
  }
  add_blocked(snapshot, {{"fetch", fmt::format("/srv/app/{}.py", name), 7}}, SYS_recvfrom);
  CHECK(
      summarize(snapshot) ==
      "5 threads: 1 waiting in native code in save, 1 waiting in native code in save, "
      "1 waiting in native code in save, 1 blocked in fetch, 1 running get_user (app/views.py:88)");
  for (Code& code : snapshot.codes) {
    if (code.qualified_name != "get_user") code.qualified_name += name;
  }
  CHECK(summarize(snapshot) ==
        "5 threads: 3 waiting in native code, 1 blocked, 1 running get_user (app/views.py:88)");
}

TEST_CASE("names of the target can not act through the summary", "[format]") {
  CHECK(blocked_in({{"f\x1b[2J", "/srv/a\u202e/b\n.py", 5}}, SYS_read) ==
        R"(blocked in f\x1b[2J (a\u202e/b\x0a.py:5))");
}

TEST_CASE("a snapshot that makes no sense is summed up nevertheless", "[format]") {
  Snapshot snapshot = make_snapshot();
  add_blocked(snapshot, {}).frames = {frame_at(99, 1)};
  CHECK(summarize(snapshot) == "1 thread: waiting in native code");
  snapshot.threads[0].state = ThreadState::Unknown;
  CHECK(summarize(snapshot) == "1 thread: in an unknown state");
  snapshot.threads[0].state = ThreadState::Running;
  CHECK(summarize(snapshot) == "1 thread: running");
  snapshot.threads[0].frames[0].position.line.reset();
  snapshot.codes = {{"f", "f", "", 0}};
  snapshot.threads[0].frames[0].code = 0;
  CHECK(summarize(snapshot) == "1 thread: running f ()");
}

TEST_CASE("only the file and its folder are named", "[format]") {
  for (const auto& [path, expected] : std::vector<std::pair<std::string, std::string>>{
           {"/srv/app/views.py", "app/views.py"},
           {"views.py", "views.py"},
           {"app/views.py", "app/views.py"},
           {"/views.py", "/views.py"},
           {"<string>", "<string>"},
           {"/", "/"},
           {"/usr/lib/python3.14/threading.py", "threading.py"},
           {"/usr/lib/python3.14/re/__init__.py", "re/__init__.py"},
           {"/usr/lib/python314.zip/queue.py", "queue.py"},
           {"/v/lib/python3.14/site-packages/requests.py", "requests.py"},
           {"/v/lib/python3.14/site-packages/django/db/backends/sqlite3/base.py",
            "sqlite3/base.py"}}) {
    CHECK(blocked_in({{"f", path, 1}}, SYS_read) == fmt::format("blocked in f ({}:1)", expected));
  }
}
