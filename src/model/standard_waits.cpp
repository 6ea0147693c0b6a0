#include "model/standard_waits.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace pyscope {
namespace {

using enum WaitKind;
using enum WaitPlace;

constexpr WaitedObject of_self(std::string_view type, std::string_view waiter = {},
                               std::string_view owner = {}, std::string_view name = {}) {
  return {WaitedObject::Role::Self, type, waiter, owner, name};
}

constexpr WaitedObject of_callee() {
  return {WaitedObject::Role::OfCallee};
}

constexpr std::string_view kPooled = "waiting for a connection of a pool";

// Names are those of CPython 3.11 to 3.15. The outermost entry of an unbroken run of frames says
// what the thread is doing, so each level has the words that fit if its own caller isn't here.
// Of several entries that fit a function, the first one counts.
constexpr auto kStandardWaits = std::to_array<StandardWait>({
    {"threading.py", "Condition.wait", Innermost, Event, "waiting for a condition",
     of_self("threading.Condition", "waiter")},
    {"threading.py", "Condition.wait_for", Caller, Event, "waiting for a condition",
     of_self("threading.Condition")},
    {"threading.py", "Event.wait", Caller, Event, "waiting for an event",
     of_self("threading.Event")},
    {"threading.py", "Timer.run", Caller, Idle, "idle in Timer.run", of_callee()},
    {"threading.py", "Barrier._wait", Caller, Event, "waiting at a barrier",
     of_self("threading.Barrier")},
    {"threading.py", "Barrier.wait", Caller, Event, "waiting at a barrier",
     of_self("threading.Barrier")},
    {"threading.py", "Thread.join", Innermost, Event, "waiting for a thread to end",
     of_self("threading.Thread")},
    {"threading.py", "Thread._wait_for_tstate_lock", Innermost, Event,
     "waiting for a thread to end", of_self("threading.Thread")},
    {"threading.py", "_DummyThread.join", Innermost, Event, "waiting for a thread to end"},
    {"threading.py", "Thread.start", Caller, Event, "waiting for a thread to start", of_callee()},
    {"threading.py", "_shutdown", Innermost, Event, "waiting for other threads to end",
     of_callee()},
    {"threading.py", "Semaphore.acquire", Caller, Lock, "waiting for a semaphore",
     of_self("threading.Semaphore")},
    {"threading.py", "Condition.__enter__", Alone, Lock, "waiting for a lock",
     of_self("threading.Condition")},
    {"threading.py", "_RLock.acquire", Innermost, Lock, "waiting for a lock",
     of_self("threading.RLock", {}, "_owner")},
    {"threading.py",
     "Condition._acquire_restore",
     Caller,
     Lock,
     {},
     of_self("threading.Condition")},
    {"threading.py", "Event.set", Caller, Lock, {}, of_self("threading.Event")},
    {"threading.py", "Event.clear", Caller, Lock, {}, of_self("threading.Event")},
    {"threading.py", "Semaphore.release", Caller, Lock, {}, of_self("threading.Semaphore")},
    {"threading.py", "BoundedSemaphore.release", Caller, Lock, {}, of_self("threading.Semaphore")},
    {"threading.py", "Barrier._enter", Caller, Lock, {}, of_self("threading.Barrier")},

    {"<frozen importlib._bootstrap>", "_ModuleLock.acquire", Innermost, Lock,
     "waiting for an import lock", of_self("import lock", {}, "owner", "name")},
    {"<frozen importlib._bootstrap>", "_ModuleLockManager.__enter__", Caller, Lock,
     "waiting for an import lock", of_callee()},
    {"<frozen importlib._bootstrap>", "_HierarchicalLockManager.__enter__", Caller, Lock,
     "waiting for an import lock", of_callee()},
    {"<frozen importlib._bootstrap>", "_lock_unlock_module", Caller, Lock,
     "waiting for an import lock", of_callee()},
    {"<frozen importlib._bootstrap>", "_find_and_load", Caller, Lock, "waiting for an import lock",
     of_callee()},

    {"queue.py", "Queue.get", Caller, Intake, "waiting for an item of a queue",
     of_self("queue.Queue"), "idle in Queue.get"},
    {"queue.py", "Queue.put", Caller, Event, "waiting for room in a queue", of_self("queue.Queue")},
    {"queue.py", "Queue.join", Caller, Event, "waiting for the items of a queue to be done",
     of_self("queue.Queue")},
    {"queue.py", "_PySimpleQueue.get", Caller, Intake, "waiting for an item of a queue",
     of_self("queue.SimpleQueue"), "idle in SimpleQueue.get"},
    {"queue.py", "Queue.task_done", Caller, Lock, {}, of_self("queue.Queue")},
    {"queue.py", "Queue.qsize", Caller, Lock, {}, of_self("queue.Queue")},
    {"queue.py", "Queue.empty", Caller, Lock, {}, of_self("queue.Queue")},
    {"queue.py", "Queue.full", Caller, Lock, {}, of_self("queue.Queue")},

    {"logging/handlers.py", "QueueListener.dequeue", Caller, Idle, "idle in QueueListener"},
    {"logging/handlers.py", "QueueListener._monitor", Caller, Idle, "idle in QueueListener"},

    {"sched.py", "scheduler.run", Innermost, Idle, "idle in scheduler.run"},

    {"concurrent/futures/thread.py", "_python_exit", Caller, Event,
     "waiting for other threads to end", of_callee()},
    {"concurrent/futures/thread.py", "_worker", Innermost, Idle, "idle in ThreadPoolExecutor"},
    {"concurrent/futures/thread.py", "ThreadPoolExecutor.shutdown", Caller, Event,
     "waiting for an executor to shut down", of_callee()},

    {"concurrent/futures/process.py", "_process_worker", Caller, Idle,
     "idle in ProcessPoolExecutor"},
    {"concurrent/futures/process.py", "_ExecutorManagerThread.wait_result_broken_or_wakeup", Caller,
     Idle, "idle in ProcessPoolExecutor"},
    {"concurrent/futures/process.py", "_ExecutorManagerThread.run", Caller, Idle,
     "idle in ProcessPoolExecutor"},
    {"concurrent/futures/process.py", "ProcessPoolExecutor.shutdown", Caller, Event,
     "waiting for an executor to shut down"},

    {"concurrent/futures/_base.py", "Future.result", Caller, Event, "waiting for a result",
     of_self("concurrent.futures.Future")},
    {"concurrent/futures/_base.py", "Future.exception", Caller, Event, "waiting for a result",
     of_self("concurrent.futures.Future")},
    {"concurrent/futures/_base.py", "wait", Caller, Event, "waiting for futures", of_callee()},
    {"concurrent/futures/_base.py", "as_completed", Caller, Event, "waiting for futures",
     of_callee()},
    {"concurrent/futures/_base.py", "_result_or_cancel", Caller, Event, "waiting for a result",
     of_callee()},
    {"concurrent/futures/_base.py", "Executor.map.<locals>.result_iterator", Caller, Event,
     "waiting for a result", of_callee()},
    {"concurrent/futures/_base.py", "Executor.__exit__", Caller, Event,
     "waiting for an executor to shut down", of_callee()},

    {"selectors.py", "*.select", Innermost, Intake, "waiting in select", {}, "idle in select"},

    {"asyncio/base_events.py", "BaseEventLoop._run_once", Caller, Idle,
     "idle in the asyncio event loop"},
    {"asyncio/base_events.py", "BaseEventLoop.run_forever", Caller, Idle,
     "idle in the asyncio event loop"},
    {"asyncio/base_events.py", "BaseEventLoop.run_until_complete", Caller, Idle,
     "idle in the asyncio event loop"},

    // Innermost under an event loop written in C, such as uvloop's.
    {"asyncio/runners.py", "Runner.run", Innermost, Idle, "idle in the asyncio event loop"},
    {"asyncio/runners.py", "run", Caller, Idle, "idle in the asyncio event loop"},

    {"socketserver.py", "BaseServer.serve_forever", Caller, Idle, "idle in serve_forever"},
    {"socketserver.py", "BaseServer.handle_request", Caller, Idle, "idle in handle_request"},

    {"socket.py",
     "socket.accept",
     Innermost,
     Intake,
     "waiting for a connection",
     {},
     "idle in socket.accept"},
    {"socket.py", "SocketIO.readinto", Innermost, Outside, "waiting for a socket"},
    {"socket.py", "SocketIO.write", Innermost, Outside, "waiting for a socket"},
    {"socket.py", "create_connection", Innermost, Outside, "waiting for a connection"},
    {"socket.py", "getaddrinfo", Innermost, Outside, "waiting for a name look-up"},

    {"ssl.py",
     "SSLSocket.accept",
     Caller,
     Intake,
     "waiting for a connection",
     {},
     "idle in SSLSocket.accept"},
    {"ssl.py", "SSLSocket.*", Innermost, Outside, "waiting for a socket"},

    {"http/client.py", "*", Caller, Outside, "waiting for an HTTP response"},

    {"urllib/request.py", "*", Caller, Outside, "waiting for an HTTP response"},

    {"http/server.py", "BaseHTTPRequestHandler.handle_one_request", Caller, Idle,
     "idle in an HTTP connection"},
    {"http/server.py", "BaseHTTPRequestHandler.handle", Caller, Idle, "idle in an HTTP connection"},

    {"subprocess.py", "Popen._execute_child", Innermost, Outside, "starting a child process"},
    {"subprocess.py", "Popen.__init__", Caller, Outside, "starting a child process"},
    {"subprocess.py", "Popen.*", Innermost, Outside, "waiting for a child process"},
    {"subprocess.py", "*", Caller, Outside, "waiting for a child process"},

    {"multiprocessing/connection.py", "Connection._recv", Innermost, Outside,
     "waiting for a message"},
    {"multiprocessing/connection.py", "Connection._recv_bytes", Caller, Outside,
     "waiting for a message"},
    {"multiprocessing/connection.py", "_ConnectionBase.recv_bytes", Caller, Outside,
     "waiting for a message"},
    {"multiprocessing/connection.py", "_ConnectionBase.recv", Caller, Outside,
     "waiting for a message"},
    {"multiprocessing/connection.py", "Connection._poll", Caller, Outside, "waiting for a message"},
    {"multiprocessing/connection.py", "_ConnectionBase.poll", Caller, Outside,
     "waiting for a message"},
    {"multiprocessing/connection.py", "Connection._send", Innermost, Outside, "waiting for a pipe"},
    {"multiprocessing/connection.py", "Connection._send_bytes", Caller, Outside,
     "waiting for a pipe"},
    {"multiprocessing/connection.py", "_ConnectionBase.send_bytes", Caller, Outside,
     "waiting for a pipe"},
    {"multiprocessing/connection.py", "_ConnectionBase.send", Caller, Outside,
     "waiting for a pipe"},
    {"multiprocessing/connection.py", "wait", Caller, Outside,
     "waiting for one of several connections"},
    {"multiprocessing/connection.py",
     "SocketListener.accept",
     Caller,
     Intake,
     "waiting for a connection",
     {},
     "idle in Listener.accept"},
    {"multiprocessing/connection.py",
     "Listener.accept",
     Caller,
     Intake,
     "waiting for a connection",
     {},
     "idle in Listener.accept"},

    {"multiprocessing/synchronize.py", "SemLock.__enter__", Innermost, Lock, "waiting for a lock",
     of_self("multiprocessing.Lock")},
    {"multiprocessing/synchronize.py", "Condition.__enter__", Innermost, Lock, "waiting for a lock",
     of_self("multiprocessing.Condition")},
    {"multiprocessing/synchronize.py", "Condition.wait", Innermost, Event,
     "waiting for a condition", of_self("multiprocessing.Condition")},
    {"multiprocessing/synchronize.py", "Condition.wait_for", Caller, Event,
     "waiting for a condition", of_self("multiprocessing.Condition")},
    {"multiprocessing/synchronize.py", "Event.wait", Caller, Event, "waiting for an event",
     of_self("multiprocessing.Event")},

    {"multiprocessing/queues.py", "Queue.get", Innermost, Intake, "waiting for an item of a queue",
     of_self("multiprocessing.Queue"), "idle in Queue.get"},
    {"multiprocessing/queues.py", "Queue.put", Innermost, Event, "waiting for room in a queue",
     of_self("multiprocessing.Queue")},
    {"multiprocessing/queues.py", "Queue._feed", Caller, Idle, "idle in a multiprocessing.Queue"},
    {"multiprocessing/queues.py", "SimpleQueue.get", Caller, Intake,
     "waiting for an item of a queue", of_self("multiprocessing.SimpleQueue"),
     "idle in SimpleQueue.get"},
    {"multiprocessing/queues.py",
     "JoinableQueue.put",
     Caller,
     Lock,
     {},
     of_self("multiprocessing.Queue")},
    {"multiprocessing/queues.py",
     "JoinableQueue.join",
     Caller,
     Lock,
     {},
     of_self("multiprocessing.Queue")},
    {"multiprocessing/queues.py",
     "SimpleQueue.put",
     Caller,
     Lock,
     {},
     of_self("multiprocessing.SimpleQueue")},

    {"multiprocessing/pool.py", "worker", Innermost, Idle, "idle in multiprocessing.Pool"},
    {"multiprocessing/pool.py", "Pool._handle_tasks", Innermost, Idle,
     "idle in multiprocessing.Pool"},
    {"multiprocessing/pool.py", "Pool._handle_results", Innermost, Idle,
     "idle in multiprocessing.Pool"},
    {"multiprocessing/pool.py", "Pool._handle_workers", Caller, Idle,
     "idle in multiprocessing.Pool"},
    {"multiprocessing/pool.py", "*._wait_for_updates", Innermost, Idle,
     "idle in multiprocessing.Pool"},
    {"multiprocessing/pool.py", "ApplyResult.wait", Caller, Event,
     "waiting for a result of a pool"},
    {"multiprocessing/pool.py", "ApplyResult.get", Caller, Event, "waiting for a result of a pool"},
    {"multiprocessing/pool.py", "IMapIterator.next", Caller, Event,
     "waiting for a result of a pool"},
    {"multiprocessing/pool.py", "Pool.apply", Caller, Event, "waiting for a result of a pool"},
    {"multiprocessing/pool.py", "Pool.map", Caller, Event, "waiting for a result of a pool"},
    {"multiprocessing/pool.py", "Pool.starmap", Caller, Event, "waiting for a result of a pool"},
    {"multiprocessing/pool.py", "Pool.join", Caller, Event, "waiting for a pool to end"},

    {"multiprocessing/popen_fork.py", "Popen.poll", Innermost, Outside,
     "waiting for a child process"},
    {"multiprocessing/popen_fork.py", "Popen.wait", Caller, Outside, "waiting for a child process"},

    {"multiprocessing/process.py", "BaseProcess.join", Caller, Outside,
     "waiting for a child process"},

    {"multiprocessing/resource_tracker.py", "main", Innermost, Idle,
     "idle in the resource tracker"},

    {"multiprocessing/forkserver.py", "main", Caller, Idle, "idle in the fork server"},
});

// The same for packages that are installed: files of theirs, or all files in a folder.
constexpr auto kPackageWaits = std::to_array<StandardWait>({
    {"sqlalchemy/util/queue.py", "Queue.get", Caller, Event, kPooled, of_callee()},
    {"sqlalchemy/pool/impl.py", "QueuePool._do_get", Caller, Event, kPooled,
     of_self("sqlalchemy.pool.QueuePool")},
    {"sqlalchemy/", "*", Caller, Event, kPooled, of_callee()},

    {"psycopg_pool/pool.py", "ConnectionPool.worker", Caller, Idle, "idle in psycopg_pool"},
    {"psycopg_pool/sched.py", "Scheduler.run", Caller, Idle, "idle in psycopg_pool"},
    {"psycopg_pool/pool.py", "ConnectionPool.getconn", Caller, Event, kPooled,
     of_self("psycopg_pool.ConnectionPool")},
    {"psycopg_pool/", "*", Caller, Event, kPooled, of_callee()},

    {"gunicorn/arbiter.py", "Arbiter.sleep", Innermost, Idle, "idle in gunicorn's arbiter"},
    {"gunicorn/arbiter.py", "Arbiter.run", Caller, Idle, "idle in gunicorn's arbiter"},
    {"gunicorn/workers/sync.py", "SyncWorker.wait", Innermost, Idle, "idle in a gunicorn worker"},
    {"gunicorn/workers/sync.py", "SyncWorker.accept", Caller, Idle, "idle in a gunicorn worker"},
    {"gunicorn/workers/gthread.py", "ThreadWorker.run", Caller, Idle, "idle in a gunicorn worker"},

    {"kombu/asynchronous/hub.py", "Hub.create_loop", Caller, Idle, "idle in kombu's event loop"},
    {"kombu/utils/eventio.py", "_epoll.poll", Innermost, Event, "waiting in epoll"},
});

/// A file of the standard library lies in the library's folder, which has the version in its name
/// ("/usr/lib/python3.14"), or in an archive. Other packages have files with the same names.
bool is_library_file(std::string_view path, std::string_view file) {
  if (!path.ends_with(file)) return false;
  if (path.size() == file.size()) return true;
  std::string_view folder = path.substr(0, path.size() - file.size());
  if (!folder.ends_with('/')) return false;
  folder.remove_suffix(1);
  folder.remove_prefix(folder.rfind('/') + 1);
  return folder.starts_with("python") || folder.ends_with(".zip") || folder == "Lib";
}

/// Whether a path is this file of an installed package, or lies in this folder of one.
bool is_package_file(std::string_view path, std::string_view file) {
  constexpr std::string_view kPackages = "-packages/";  // site-packages, dist-packages
  const std::size_t at = path.rfind(kPackages);
  if (at != std::string_view::npos) path.remove_prefix(at + kPackages.size());
  return file.ends_with('/') ? path.starts_with(file) : path == file;
}

bool matches(std::string_view qualified_name, std::string_view pattern) {
  if (pattern == "*") return true;
  if (pattern.starts_with('*')) return qualified_name.ends_with(pattern.substr(1));
  if (pattern.ends_with('*')) {
    return qualified_name.starts_with(pattern.substr(0, pattern.size() - 1));
  }
  return qualified_name == pattern;
}

}  // namespace

bool hands_on(const StandardWait& wait) {
  static constexpr std::string_view kFunctions[] = {"Connection._send",
                                                    "Connection._send_bytes",
                                                    "_ConnectionBase.send_bytes",
                                                    "_ConnectionBase.send",
                                                    "SocketIO.write",
                                                    "SimpleQueue.put",
                                                    "Queue.put"};
  return std::find(std::begin(kFunctions), std::end(kFunctions), wait.qualified_name) !=
         std::end(kFunctions);
}

const StandardWait* find_standard_wait(const Code& code) {
  const auto find = [&](const auto& waits, const auto& lies_in) -> const StandardWait* {
    const auto found = std::find_if(waits.begin(), waits.end(), [&](const StandardWait& wait) {
      return matches(code.qualified_name, wait.qualified_name) && lies_in(code.file, wait.file);
    });
    return found == waits.end() ? nullptr : &*found;
  };
  if (const StandardWait* wait = find(kStandardWaits, is_library_file)) return wait;
  return find(kPackageWaits, is_package_file);
}

bool is_function(const Code& code, std::string_view file, std::string_view qualified_name) {
  return code.qualified_name == qualified_name && is_library_file(code.file, file);
}

bool wraps_native_code(const Code& code) {
  static constexpr auto kWrappers = std::to_array<std::pair<std::string_view, std::string_view>>({
      {"re/__init__.py", "*"},
      {"json/__init__.py", "*"},
      {"json/decoder.py", "JSONDecoder.*"},
      {"json/encoder.py", "JSONEncoder.*"},
      {"base64.py", "*"},
      {"fnmatch.py", "*"},
  });
  return std::any_of(kWrappers.begin(), kWrappers.end(), [&](const auto& wrapper) {
    return matches(code.qualified_name, wrapper.second) &&
           is_library_file(code.file, wrapper.first);
  });
}

bool is_dispatcher(const Code& code) {
  static constexpr auto kDispatchers =
      std::to_array<std::pair<std::string_view, std::string_view>>({
          {"asyncio/runners.py", "*"},
          {"asyncio/base_events.py", "BaseEventLoop.run_until_complete"},
          {"asyncio/base_events.py", "BaseEventLoop.run_forever"},
          {"asyncio/base_events.py", "BaseEventLoop._run_once"},
          {"asyncio/events.py", "Handle._run"},
          {"threading.py", "Thread.run"},
          {"threading.py", "Thread._bootstrap_inner"},
          {"threading.py", "Thread._bootstrap"},
          {"threading.py", "Timer.run"},
          {"concurrent/futures/thread.py", "_worker"},
          {"concurrent/futures/thread.py", "_WorkItem.run"},
          {"concurrent/futures/thread.py", "WorkerContext.run"},
          {"concurrent/futures/process.py", "_process_worker"},
          {"multiprocessing/process.py", "BaseProcess._bootstrap"},
          {"multiprocessing/process.py", "BaseProcess.run"},
          {"multiprocessing/pool.py", "worker"},
          {"multiprocessing/pool.py", "mapstar"},
          {"sched.py", "scheduler.run"},
          {"socketserver.py", "BaseServer.*"},
          {"socketserver.py", "ThreadingMixIn.*"},
          {"socketserver.py", "BaseRequestHandler.__init__"},
          {"http/server.py", "BaseHTTPRequestHandler.handle"},
          {"http/server.py", "BaseHTTPRequestHandler.handle_one_request"},
          {"wsgiref/simple_server.py", "WSGIRequestHandler.handle"},
          {"wsgiref/handlers.py", "BaseHandler.run"},
      });
  return std::any_of(kDispatchers.begin(), kDispatchers.end(), [&](const auto& dispatcher) {
    return matches(code.qualified_name, dispatcher.second) &&
           is_library_file(code.file, dispatcher.first);
  });
}

bool begins_thread(const Code& code) {
  static constexpr auto kBegins = std::to_array<std::pair<std::string_view, std::string_view>>({
      {"threading.py", "Thread.run"},
      {"threading.py", "Thread._bootstrap_inner"},
      {"threading.py", "Thread._bootstrap"},
      {"multiprocessing/process.py", "BaseProcess.run"},
      {"multiprocessing/process.py", "BaseProcess._bootstrap"},
  });
  return std::any_of(kBegins.begin(), kBegins.end(), [&](const auto& begin) {
    return is_function(code, begin.first, begin.second);
  });
}

}  // namespace pyscope
