#include "model/standard_waits.hpp"

#include <algorithm>
#include <array>

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

// Names are those of CPython 3.13 to 3.15. The outermost entry of an unbroken run of frames says
// what the thread is doing, so each level has the words that fit if its own caller isn't here.
// Of several entries that fit a function, the first one counts.
constexpr auto kStandardWaits = std::to_array<StandardWait>({
    {"threading.py", "Condition.wait", Innermost, Idle, "idle in Condition.wait",
     of_self("threading.Condition", "waiter")},
    {"threading.py", "Condition.wait_for", Caller, Idle, "idle in Condition.wait_for",
     of_self("threading.Condition")},
    {"threading.py", "Event.wait", Caller, Idle, "idle in Event.wait", of_self("threading.Event")},
    {"threading.py", "Timer.run", Caller, Idle, "idle in Timer.run", of_callee()},
    {"threading.py", "Barrier._wait", Caller, Idle, "idle in Barrier.wait",
     of_self("threading.Barrier")},
    {"threading.py", "Barrier.wait", Caller, Idle, "idle in Barrier.wait",
     of_self("threading.Barrier")},
    {"threading.py", "Thread.join", Innermost, Idle, "idle in Thread.join",
     of_self("threading.Thread")},
    {"threading.py", "_DummyThread.join", Innermost, Idle, "idle in Thread.join"},
    {"threading.py", "Thread.start", Caller, Idle, "idle in Thread.start", of_callee()},
    {"threading.py", "_shutdown", Innermost, Idle, "waiting for other threads to end", of_callee()},
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

    {"queue.py", "Queue.get", Caller, Idle, "idle in Queue.get", of_self("queue.Queue")},
    {"queue.py", "Queue.put", Caller, Idle, "idle in Queue.put", of_self("queue.Queue")},
    {"queue.py", "Queue.join", Caller, Idle, "idle in Queue.join", of_self("queue.Queue")},
    {"queue.py", "_PySimpleQueue.get", Caller, Idle, "idle in SimpleQueue.get",
     of_self("queue.SimpleQueue")},
    {"queue.py", "Queue.task_done", Caller, Lock, {}, of_self("queue.Queue")},
    {"queue.py", "Queue.qsize", Caller, Lock, {}, of_self("queue.Queue")},
    {"queue.py", "Queue.empty", Caller, Lock, {}, of_self("queue.Queue")},
    {"queue.py", "Queue.full", Caller, Lock, {}, of_self("queue.Queue")},

    {"logging/handlers.py", "QueueListener.dequeue", Caller, Idle, "idle in QueueListener"},
    {"logging/handlers.py", "QueueListener._monitor", Caller, Idle, "idle in QueueListener"},

    {"sched.py", "scheduler.run", Innermost, Idle, "idle in scheduler.run"},

    {"concurrent/futures/thread.py", "_worker", Innermost, Idle, "idle in ThreadPoolExecutor"},
    {"concurrent/futures/thread.py", "ThreadPoolExecutor.shutdown", Caller, Idle,
     "idle in ThreadPoolExecutor.shutdown", of_callee()},

    {"concurrent/futures/process.py", "_process_worker", Caller, Idle,
     "idle in ProcessPoolExecutor"},
    {"concurrent/futures/process.py", "_ExecutorManagerThread.wait_result_broken_or_wakeup", Caller,
     Idle, "idle in ProcessPoolExecutor"},
    {"concurrent/futures/process.py", "_ExecutorManagerThread.run", Caller, Idle,
     "idle in ProcessPoolExecutor"},
    {"concurrent/futures/process.py", "ProcessPoolExecutor.shutdown", Caller, Idle,
     "idle in ProcessPoolExecutor.shutdown"},

    {"concurrent/futures/_base.py", "Future.result", Caller, Idle, "idle in Future.result",
     of_self("concurrent.futures.Future")},
    {"concurrent/futures/_base.py", "Future.exception", Caller, Idle, "idle in Future.exception",
     of_self("concurrent.futures.Future")},
    {"concurrent/futures/_base.py", "wait", Caller, Idle, "idle in concurrent.futures.wait",
     of_callee()},
    {"concurrent/futures/_base.py", "as_completed", Caller, Idle, "idle in as_completed",
     of_callee()},
    {"concurrent/futures/_base.py", "_result_or_cancel", Caller, Idle, "idle in Executor.map",
     of_callee()},
    {"concurrent/futures/_base.py", "Executor.map.<locals>.result_iterator", Caller, Idle,
     "idle in Executor.map", of_callee()},
    {"concurrent/futures/_base.py", "Executor.__exit__", Caller, Idle, "idle in Executor.shutdown",
     of_callee()},

    {"selectors.py", "*.select", Innermost, Idle, "idle in select"},

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

    {"socket.py", "socket.accept", Innermost, Idle, "idle in socket.accept"},
    {"socket.py", "SocketIO.readinto", Innermost, Outside, "waiting for a socket"},
    {"socket.py", "SocketIO.write", Innermost, Outside, "waiting for a socket"},
    {"socket.py", "create_connection", Innermost, Outside, "waiting for a connection"},
    {"socket.py", "getaddrinfo", Innermost, Outside, "waiting for a name look-up"},

    {"ssl.py", "SSLSocket.accept", Caller, Idle, "idle in SSLSocket.accept"},
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

    {"multiprocessing/connection.py", "Connection._recv", Innermost, Idle,
     "idle in Connection.recv"},
    {"multiprocessing/connection.py", "Connection._recv_bytes", Caller, Idle,
     "idle in Connection.recv"},
    {"multiprocessing/connection.py", "_ConnectionBase.recv_bytes", Caller, Idle,
     "idle in Connection.recv"},
    {"multiprocessing/connection.py", "_ConnectionBase.recv", Caller, Idle,
     "idle in Connection.recv"},
    {"multiprocessing/connection.py", "Connection._poll", Caller, Idle, "idle in Connection.poll"},
    {"multiprocessing/connection.py", "_ConnectionBase.poll", Caller, Idle,
     "idle in Connection.poll"},
    {"multiprocessing/connection.py", "Connection._send", Innermost, Outside, "waiting for a pipe"},
    {"multiprocessing/connection.py", "Connection._send_bytes", Caller, Outside,
     "waiting for a pipe"},
    {"multiprocessing/connection.py", "_ConnectionBase.send_bytes", Caller, Outside,
     "waiting for a pipe"},
    {"multiprocessing/connection.py", "_ConnectionBase.send", Caller, Outside,
     "waiting for a pipe"},
    {"multiprocessing/connection.py", "wait", Caller, Idle,
     "idle in multiprocessing.connection.wait"},
    {"multiprocessing/connection.py", "SocketListener.accept", Caller, Idle,
     "idle in Listener.accept"},
    {"multiprocessing/connection.py", "Listener.accept", Caller, Idle, "idle in Listener.accept"},

    {"multiprocessing/synchronize.py", "SemLock.__enter__", Innermost, Lock, "waiting for a lock",
     of_self("multiprocessing.Lock")},
    {"multiprocessing/synchronize.py", "Condition.__enter__", Innermost, Lock, "waiting for a lock",
     of_self("multiprocessing.Condition")},
    {"multiprocessing/synchronize.py", "Condition.wait", Innermost, Idle, "idle in Condition.wait",
     of_self("multiprocessing.Condition")},
    {"multiprocessing/synchronize.py", "Condition.wait_for", Caller, Idle,
     "idle in Condition.wait_for", of_self("multiprocessing.Condition")},
    {"multiprocessing/synchronize.py", "Event.wait", Caller, Idle, "idle in Event.wait",
     of_self("multiprocessing.Event")},

    {"multiprocessing/queues.py", "Queue.get", Innermost, Idle, "idle in Queue.get",
     of_self("multiprocessing.Queue")},
    {"multiprocessing/queues.py", "Queue.put", Innermost, Idle, "idle in Queue.put",
     of_self("multiprocessing.Queue")},
    {"multiprocessing/queues.py", "Queue._feed", Caller, Idle, "idle in a multiprocessing.Queue"},
    {"multiprocessing/queues.py", "SimpleQueue.get", Caller, Idle, "idle in SimpleQueue.get",
     of_self("multiprocessing.SimpleQueue")},
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
    {"multiprocessing/pool.py", "ApplyResult.wait", Caller, Idle, "idle in AsyncResult.wait"},
    {"multiprocessing/pool.py", "ApplyResult.get", Caller, Idle, "idle in AsyncResult.get"},
    {"multiprocessing/pool.py", "IMapIterator.next", Caller, Idle, "idle in Pool.imap"},
    {"multiprocessing/pool.py", "Pool.apply", Caller, Idle, "idle in Pool.apply"},
    {"multiprocessing/pool.py", "Pool.map", Caller, Idle, "idle in Pool.map"},
    {"multiprocessing/pool.py", "Pool.starmap", Caller, Idle, "idle in Pool.starmap"},
    {"multiprocessing/pool.py", "Pool.join", Caller, Idle, "idle in Pool.join"},

    {"multiprocessing/popen_fork.py", "Popen.poll", Innermost, Outside,
     "waiting for a child process"},
    {"multiprocessing/popen_fork.py", "Popen.wait", Caller, Outside, "waiting for a child process"},

    {"multiprocessing/process.py", "BaseProcess.join", Caller, Outside,
     "waiting for a child process"},

    {"multiprocessing/resource_tracker.py", "main", Innermost, Idle,
     "idle in the resource tracker"},

    {"multiprocessing/forkserver.py", "main", Caller, Idle, "idle in the fork server"},
});

bool is_file(std::string_view path, std::string_view file) {
  if (!path.ends_with(file)) return false;
  return path.size() == file.size() || path[path.size() - file.size() - 1] == '/';
}

bool matches(std::string_view qualified_name, std::string_view pattern) {
  if (pattern.starts_with('*')) return qualified_name.ends_with(pattern.substr(1));
  if (pattern.ends_with('*')) {
    return qualified_name.starts_with(pattern.substr(0, pattern.size() - 1));
  }
  return qualified_name == pattern;
}

}  // namespace

const StandardWait* find_standard_wait(const Code& code) {
  const auto* found =
      std::find_if(kStandardWaits.begin(), kStandardWaits.end(), [&](const StandardWait& wait) {
        return matches(code.qualified_name, wait.qualified_name) && is_file(code.file, wait.file);
      });
  return found == kStandardWaits.end() ? nullptr : found;
}

}  // namespace pyscope
