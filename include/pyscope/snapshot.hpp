// The model: what one process looked like, as plain data. Nothing here refers to the process, so a
// snapshot can be kept, compared, rendered and tested without one.
//
// Text from the target (names, file names, source lines) is kept as it was read, as UTF-8 in which
// lone surrogates are encoded as three bytes; renderers escape it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pyscope {

/// What `code.co_positions()` gives for one instruction. Lines count from 1; columns are 0-based
/// byte offsets into the UTF-8 source line, the end exclusive. Each is empty where the code object
/// has none.
struct Position {
  std::optional<std::int32_t> line;
  std::optional<std::int32_t> end_line;
  std::optional<std::int32_t> column;
  std::optional<std::int32_t> end_column;
  friend bool operator==(const Position&, const Position&) = default;
};

/// One code object; frames refer to it by index.
struct Code {
  std::string function;        // co_name
  std::string qualified_name;  // co_qualname
  std::string file;            // co_filename
  std::int32_t first_line = 0;
  friend bool operator==(const Code&, const Code&) = default;
};

/// One line of a source file of the target; frames refer to it by index.
struct SourceLine {
  std::string text;  // the line without its line end, as in the file; empty if `changed`
  bool changed =
      false;  // the file is newer than the process, so its lines may be others than those run
  friend bool operator==(const SourceLine&, const SourceLine&) = default;
};

enum class LocalKind : std::uint8_t { Argument, Local, Cell, Free };

/// How an argument is passed; for other variables nothing.
enum class Parameter : std::uint8_t {
  None,
  PositionalOnly,
  PositionalOrKeyword,
  KeywordOnly,
  VarPositional,  // *args
  VarKeyword,     // **kwargs
};

/// One variable of a frame that has a value.
struct Local {
  std::string name;
  LocalKind kind = LocalKind::Local;
  Parameter parameter = Parameter::None;
  std::string type;  // of the value: "int", "Order", "datetime.date"
  std::string repr;  // what Python's repr() gives, as far as that is known without running code
  std::string detail = {};  // what repr() doesn't tell: "suspended at line 12"; may be empty
  bool truncated = false;   // repr leaves something out
  friend bool operator==(const Local&, const Local&) = default;
};

/// The variables of one frame.
struct Locals {
  std::vector<Local> variables;  // arguments first, then in the order of the source
  std::size_t left_out = 0;      // so many more
  bool consistent = true;        // read while nobody could change any of them
  /// At the moment at which they were read, a thread was at an instruction that works on one of
  /// these objects, and may be in the middle of changing the object.
  bool half_done = false;
  bool same_twice = false;  // not so, but read twice with the same result
  bool complete = true;     // nothing of them was unreadable
  std::string error;        // why there are none, if they couldn't be read
};

enum class FrameKind : std::uint8_t {
  Python,
  Shim,    // marks where C code entered the interpreter; it has no code, position or source
  Native,  // a function of C, C++, Rust …; it has a `native` and nothing else
};

/// Where a native frame is; frames refer to it by index.
struct NativeLocation {
  std::string function;      // demangled; empty: not known
  std::string module;        // the file that is mapped there, "[vdso]"; empty: none
  std::uint64_t offset = 0;  // in the module, as its own tables count (what addr2line takes); an
                             // address in memory where there is no module
  std::string file = {};  // of the source, as it was called when it was compiled; empty: not known
  std::int32_t line = 0;  // from 1 on; 0: not known
  friend bool operator==(const NativeLocation&, const NativeLocation&) = default;
};

struct Frame {
  FrameKind kind = FrameKind::Python;
  std::optional<std::uint32_t>
      code;  // index into Snapshot::codes; empty for shims and with an error
  Position position;
  std::optional<std::uint32_t> source;  // index into Snapshot::sources
  std::optional<std::uint32_t> locals;  // index into Snapshot::locals
  std::optional<std::uint32_t> native;  // index into Snapshot::native_locations
  bool guessed = false;  // a native frame that was found by what lies on the stack: the one before
                         // it has no unwinding information
  bool moving = false;   // in a stack that isn't verified: it changed while it was looked at
  std::string error;     // why this frame could not be read (fully); empty if it was
  friend bool operator==(const Frame&, const Frame&) = default;
};

/// Why a stack is known to have existed at one moment.
enum class Proof : std::uint8_t {
  None,
  Gil,  // the thread can't have run Python code while it was read: others had the GIL, or nobody
  /// Whoever had the GIL was kept from running while it was read: pyscope ran on that CPU.
  Preempted,
  TwoCopies,  // the stack was the same before and after one moment
  AtRest,     // the kernel says that the thread was off the CPU while it was read
  Paused,     // it stood still for us
};

enum class ThreadState : std::uint8_t { Unknown, Running, WaitingForGil, Blocked };

/// What is known of who holds a lock.
enum class Held : std::uint8_t {
  Unknown,        // not every thread's stack could be searched
  ByThread,       // recorded in the lock, or found in a stack that is verified
  LastSeen,       // that thread may hold it: it was seen to use it
  ByNobodyFound,  // no thread of the process is seen to: taken and never given back, held by a
                  // thread that ended, or by another process
  ByNobodyLeft,   // in a forked process: whoever had it isn't there, or waits for it as all do
  NotALock,       // it isn't held: the thread waits for something to happen
};

/// The object that a blocked thread waits for, as the programmer knows it: the queue, not the lock
/// inside of it.
struct LockWait {
  std::string type;  // "threading.Lock", "queue.Queue", "threading.Thread" (until it ends),
                     // "import lock"
  std::uint64_t address = 0;  // id() of the object; 0: not known
  std::string name;  // as the waiting code knows it: "self._lock", "orders.LOCK", a variable; that
                     // of the module for an import lock; empty: not found
  std::string owner_object;  // whose attribute the name is: "<Store at 0x7f…>"; may be empty
  Held held = Held::Unknown;
  pid_t held_by = 0;                       // tid of that thread, for ByThread and LastSeen; else 0
  std::optional<std::string> holder_name;  // that thread's name
  /// Index into Snapshot::codes: the holder's function that took it; empty: not known.
  std::optional<std::uint32_t> taken_in;
  /// The line of that function's `with` statement, or `import` statement; empty if it was taken in
  /// another way.
  std::optional<std::int32_t> taken_at;
  /// The function that called what waits: index into Snapshot::codes, and the line where it is.
  std::optional<std::uint32_t> waits_in;
  std::optional<std::int32_t> waits_at;
  bool timed = false;  // the wait ends by itself
  /// How things stand with the object: "2 of 2 items", "queued behind 3 others in a
  /// ThreadPoolExecutor of 2 threads"; empty: not known.
  std::string detail = {};
  /// Of what isn't held (NotALock): the threads of which one must go on for it to happen, as far as
  /// they are known. Nobody else is known to bring it about.
  struct Server {
    pid_t tid = 0;
    std::optional<std::string> name = {};
    friend bool operator==(const Server&, const Server&) = default;
  };
  std::vector<Server> served_by = {};
  /// The function that called what waits is in a `with` statement of a lock.
  bool waits_in_with = false;
  /// In a forked process, when it was probably taken: "held when this process was forked, by 12
  /// "refill" of python3 (pid 11)"; empty: not known.
  std::string lost = {};
  friend bool operator==(const LockWait&, const LockWait&) = default;
};

/// What a blocked thread waits for in the kernel. It was waiting for it when the capture began;
/// what isn't known for that moment is left out.
struct Wait {
  /// What kind of thing: "socket", "pipe" (or a FIFO), "file", "device", "file_lock", "epoll",
  /// "poll" and "select" (several descriptors; a wait for one of one is named by what that is),
  /// "eventfd", "timerfd", "inotify", "io_uring", "message_queue", "semaphore" (of System V),
  /// "child", "signal", "sleep", "futex" (a lock of any kind), "other".
  std::string kind;
  std::string system_call;  // its name: "recvfrom", "syscall 123"
  std::optional<int> fd;    // the descriptor, where it is one
  /// Which one, in words and with the target's own names and addresses: "tcp 10.0.0.2:43210 ->
  /// 10.0.0.5:5432 established", "/var/lib/app/lock, locked by backup (pid 99)"; empty: not known.
  std::string target;
  std::optional<std::uint64_t> timeout_us;  // how long the call waits at the most, from its begin
  std::optional<std::uint64_t> left_us;     // until its deadline, when it was read
  friend bool operator==(const Wait&, const Wait&) = default;
};

struct Thread {
  pid_t tid = 0;            // as the caller sees it; 0 if the thread ended and is only remembered
  pid_t namespace_tid = 0;  // in the target's own pid namespace: what Python calls native id
  std::uint64_t ident = 0;  // threading.get_ident()
  /// Address of its PyThreadState. An OS thread that calls from one interpreter into another has a
  /// state, and so a stack, in each of them.
  std::uint64_t thread_state = 0;
  std::optional<std::string> name;  // threading.Thread.name; empty for threads unknown to threading
  std::optional<std::string> os_name;  // /proc/PID/task/TID/comm
  std::int64_t interpreter = 0;        // id of the interpreter that this thread state belongs to
  bool main = false;                   // the main thread of the main interpreter
  /// The interpreter in which the OS thread is at the moment, where that is another one than
  /// `interpreter`: this stack then waits in a call into that one. State, wait and lock of the OS
  /// thread belong to the stack over there.
  std::optional<std::int64_t> runs_in = {};
  ThreadState state = ThreadState::Unknown;
  std::optional<bool> holds_gil;      // empty: the build has no GIL, or it isn't known
  std::optional<bool> waits_for_gil;  // likewise
  std::optional<char> os_state;       // R, S, D, T, t, Z, X or I, as in /proc/PID/task/TID/stat
  std::optional<std::uint64_t> cpu_time_us;  // user + system
  /// For how long, since it was started, it could have run and had no processor. Not known on
  /// kernels without schedstat.
  std::optional<std::uint64_t> run_delay_us;
  std::optional<std::int64_t> system_call;  // number of the system call it is blocked in
  std::optional<Wait> wait;                 // only where `state` is Blocked; empty: not known
  std::optional<LockWait> lock;             // what it waits for, if that is an object of Python
  bool consistent = false;                  // the frames were proven to have existed together
  Proof proof = Proof::None;                // by what; None if they weren't
  int attempts = 0;           // how often it was read in vain or not while it may have been running
  std::string inconsistency;  // why it isn't consistent, if it isn't
  bool truncated = false;     // outer frames are missing, by request or because of `error`
  /// Its state, its stack and the variables in it are those of an earlier snapshot; empty: there
  /// was none (mark_unchanged).
  std::optional<bool> unchanged = {};
  std::vector<Frame> frames;  // innermost first
  /// The next ones, some of which tell what the thread is doing, where they were left out of
  /// `frames` by request.
  std::vector<Frame> outer_frames = {};
  std::string error;   // why frames or facts are missing; empty if all was read
  bool python = true;  // Python knows it; of others there are native frames only
  /// Native frames whose places between the Python frames couldn't be found, innermost first.
  std::vector<Frame> native_frames;
  std::string native_note;   // why they couldn't
  std::string native_error;  // why native frames that were asked for are missing
};

/// What tells the stack of a thread from all others, in this snapshot and in later ones of the same
/// process.
struct StackId {
  pid_t tid = 0;
  std::uint64_t thread_state = 0;
  friend auto operator<=>(const StackId&, const StackId&) = default;
};

[[nodiscard]] inline StackId stack_id(const Thread& thread) {
  return {thread.tid, thread.thread_state};
}

/// What a task waits for, as the programmer knows it.
struct TaskWait {
  /// What kind of thing: "timer", "lock", "semaphore", "condition", "event", "barrier", "queue",
  /// "task" (one), "tasks" (several), "executor" (a call in another thread or process), "socket",
  /// "process", "server" (for the next connection), "future" (of which nothing more is known).
  std::string kind;
  std::string type;           // of the object: "asyncio.Lock"; may be empty
  std::uint64_t address = 0;  // id() of the object; 0: not known
  std::string name;           // as the waiting code knows it: "self.lock"; empty: not found
  std::string detail;         // how things stand: "empty", "100 of 100 items"; empty: not known
  std::optional<std::int64_t> left_us;  // of a timer; negative: it should have gone off before
  std::optional<int> fd;                // of a socket or pipe
  /// Which one, in words: "tcp 10.0.0.2:43210 -> 10.0.0.5:5432 established"; empty: not known.
  std::string target = {};
  std::optional<pid_t> process;  // as the target knows it, whose end is waited for
  /// Ids of the tasks of which all must end (or of which one must, if `any`).
  std::vector<std::uint64_t> tasks;
  bool any = false;
  /// An error of one of them ends the wait for all of them.
  bool ends_on_error = false;
  /// Ids of the tasks that are inside of an `async with` statement of the lock.
  std::vector<std::uint64_t> held_by;
  friend bool operator==(const TaskWait&, const TaskWait&) = default;
};

/// An event loop of asyncio, or of a library that has asyncio's tasks (uvloop).
struct EventLoop {
  std::uint64_t id = 0;           // id() of the loop
  std::string type = {};          // of its class, with the module
  std::optional<pid_t> tid = {};  // of the thread that runs it; empty: none, or not known
  std::optional<std::uint64_t> running_task = {};  // id; empty: none runs at the moment
  std::optional<std::uint64_t> ready = {};         // callbacks that can run and haven't yet
  /// For how long the loop has executed callbacks without asking for events; empty: it is asking.
  std::optional<std::int64_t> busy_us = {};
};

/// What a stack that is no thread's belongs to.
enum class StackKind : std::uint8_t {
  Task,       // of asyncio, trio, …
  Greenlet,   // of greenlet, and so of gevent and eventlet
  Generator,  // a generator or coroutine that nothing of these runs
};

/// A stack that waits to be gone on with, or that a thread runs at the moment.
struct SuspendedStack {
  StackKind kind = StackKind::Task;
  std::uint64_t id = 0;               // id() of the object
  std::string name;                   // the task's name, or the coroutine's function; may be empty
  std::string state;                  // "running", "ready" (to go on), "waiting", "not started"
  std::string coroutine = {};         // of a task: the qualified name of its outermost function
  std::uint64_t loop = 0;             // of a task: EventLoop::id
  std::optional<TaskWait> wait = {};  // of a task that waits; empty: not known
  /// Of a task: until the innermost `timeout()` around what it does ends it; negative: overdue.
  std::optional<std::int64_t> deadline_left_us = {};
  std::uint32_t cancel_requests = 0;  // of a task that hasn't ended all the same
  /// Ids of the stacks that go on once this one has ended.
  std::vector<std::uint64_t> awaited_by;
  /// tid of the thread that runs it at the moment, and in whose frames it appears; empty: none.
  std::optional<pid_t> mounted_on;
  bool consistent = false;    // the frames were proven to have existed together
  std::vector<Frame> frames;  // innermost first
  std::string error;          // why frames or facts are missing; empty if all was read
};

struct Interpreter {
  std::int64_t id = 0;
  std::optional<pid_t> gil_held_by;  // tid; empty: nobody, or not known
  bool collecting_garbage = false;
};

struct PythonBuild {
  std::string version;  // "3.14.8", "3.15.0rc1"
  bool free_threaded = false;
  std::optional<bool> debug_build;  // empty if sys.abiflags could not be read
};

struct CaptureStats {
  bool consistent = false;  // Assessment::verified() of the snapshot
  bool complete = true;     // no thread, interpreter or name is missing
  /// All that can change was read at one moment: the threads' states, stacks, variables and locks.
  bool one_instant = false;
  int attempts = 1;              // tries for the thread that needed most
  std::int64_t duration_us = 0;  // from the first to the last read of the target's state
  std::int64_t paused_us = 0;    // for how long threads of the target stood still for us
  /// For how long pyscope ran on the CPU of a thread of the target, in place of that thread.
  std::int64_t preempted_us = 0;
  std::size_t paused_threads = 0;
};

/// Threads that wait for each other for ever: each for what the next one holds, and the last for
/// what the first does. A single one waits for what it holds itself. Only what was the same twice,
/// at an interval, and none of them ran while it was looked at for the second time.
///
/// Of processes that wait for each other, each is there with one of its threads.
struct Deadlock {
  struct Member {
    pid_t tid = 0;  // one of Snapshot::threads, or one that wasn't asked for
    std::optional<std::string> name;
    /// In a cycle of processes only what is known of it: always the type ("child process", "pipe",
    /// "unix socket", "semaphore", or that of an object of Python), and that the next one is the
    /// holder.
    LockWait lock;
    pid_t pid = 0;             // of its process, in a cycle of processes; else 0
    std::string process = {};  // that process's name
    std::string waits =
        {};  // what it waits for there, in words: "for its child sort (pid 12) to end"
    /// Which of the thread's stacks it is; 0 in a cycle of processes: any.
    std::uint64_t thread_state = 0;
    [[nodiscard]] bool is(const Thread& thread) const {
      return thread.tid == tid && (thread_state == 0 || thread.thread_state == thread_state);
    }
  };
  std::vector<Member> cycle;
  /// Of processes: what may end it all the same, "python3 (pid 12) handles SIGTERM"; empty:
  /// nothing.
  std::string handlers = {};
  [[nodiscard]] bool of_processes() const { return !cycle.empty() && cycle.front().pid != 0; }
};

struct Snapshot {
  std::chrono::system_clock::time_point captured_at;
  std::string host;
  pid_t pid = 0;
  pid_t namespace_pid = 0;  // its PID in its own pid namespace; equal to pid where that is ours
  std::vector<std::string> command;
  std::string executable;
  std::optional<std::chrono::system_clock::time_point> started_at;
  PythonBuild python;
  bool finalizing = false;  // the interpreter is shutting down, or has shut down
  bool shut_down = false;   // it has: no thread can run Python any more
  CaptureStats capture;
  std::vector<Interpreter> interpreters;  // oldest (the main one) first
  std::vector<Thread> threads;            // by interpreter, then in the order of their creation
  std::vector<SuspendedStack> stacks;     // that are no thread's; empty unless they are asked for
  std::vector<EventLoop> loops;           // of these stacks
  std::vector<Deadlock> deadlocks;
  std::vector<Code> codes;
  std::vector<SourceLine> sources;
  std::vector<Locals> locals;
  std::vector<NativeLocation> native_locations;
  std::vector<std::string> warnings;
};

/// Where a native frame is; null if the model doesn't tell.
[[nodiscard]] inline const NativeLocation* native_location(const Snapshot& snapshot,
                                                           const Frame& frame) {
  const bool known = frame.native && *frame.native < snapshot.native_locations.size();
  return known ? &snapshot.native_locations[*frame.native] : nullptr;
}

/// Compares a snapshot with an earlier one of the same process: sets Thread::unchanged, and warns
/// of threads that have ended in between.
void mark_unchanged(Snapshot& snapshot, const Snapshot& before);

/// How much of a snapshot is known to be true.
struct Assessment {
  bool complete = true;    // nothing that was asked for is missing
  bool consistent = true;  // all stacks and values that are there are proven
  [[nodiscard]] bool verified() const { return complete && consistent; }
};

/// The one judgement that the word "verified", CaptureStats::consistent and the exit status rest
/// on.
[[nodiscard]] Assessment assess(const Snapshot& snapshot);

/// The contract's exit status for a snapshot that was printed: 0 if it is verified, else 6.
[[nodiscard]] int exit_status(const Snapshot& snapshot);

}  // namespace pyscope
