// A snapshot while it is made. Each pass fills a part of a Draft and lies in a file of its own; the
// session calls the passes in their order (session/session.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/deadline.hpp"
#include "base/log.hpp"
#include "frames/verified_walk.hpp"
#include "locks/locks.hpp"
#include "memory/budgeted_memory.hpp"
#include "native/unwinder.hpp"
#include "passes/holds.hpp"
#include "passes/instant.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/memory.hpp"
#include "pyscope/snapshot.hpp"
#include "python/code.hpp"
#include "python/runtime_state.hpp"
#include "structures/asyncio_lists.hpp"
#include "structures/runtime.hpp"
#include "target/target.hpp"

namespace pyscope {

/// Moments of GILs, by the GIL's address.
using Gils = std::unordered_map<std::uint64_t, GilMoment>;

/// A thread's stack as it was read, and what proves it.
struct StackReading {
  FrameWalk walk;
  Proof proof = Proof::None;
  bool code_proven = false;  // with the stack: its code was read before the proof was complete
  std::string doubt;         // why there is no proof
  std::size_t moving = 0;    // without a proof: so many of the innermost frames changed meanwhile
  int attempts = 0;          // of walk_verified
};

/// A thread state with what is found out about its thread on the way to the model.
struct ThreadDraft {
  const RawInterpreter* interpreter = nullptr;
  const RawThread* raw = nullptr;
  Thread thread;
  /// Its OS thread has other states, too, and which of them it executes for isn't known.
  bool shares_thread = false;
  /// What the kernel says of it is of the very moment of its stack.
  bool described_again = false;
  StackReading stack;
  /// For each of the thread's frames, its index in the walk.
  std::vector<std::size_t> raw_frames;
};

/// What is taken of threads for their native stacks while they stand still.
struct NativeStates {
  std::vector<Mapping> maps;  // read before any thread stands
  std::vector<pid_t> others;  // threads that run no Python, but are wanted, too
  std::unordered_map<pid_t, NativeState> states;
  std::unordered_map<pid_t, std::string> refusals;  // why a thread has no native state
};

struct Draft {
  // What is read, and how.
  const Target& target;
  const BudgetedMemory& memory;  // the target's, with the budget of this reading
  const Runtime& runtime;
  const ProcessFacts& facts;
  const CaptureOptions& options;
  const Log& log;
  Deadline deadline;
  CodeTable& codes;
  /// Where threads keep their tasks; empty: not known, or nowhere.
  const std::optional<AsyncioLists>& asyncio_lists;
  const InstantImage& image;  // through which `memory` reads the target
  InstantCopier& copier;
  /// Not null: `memory` is that of one moment, of which these are the tasks.
  const InstantTasks* instant = nullptr;
  /// All of it will be read again, at one moment, unless it proves to be of one already.
  bool preliminary = false;

  // What the passes leave for each other.
  std::vector<Task> tasks = {};  // after the first look at the GILs; as they were held, if they are
  RawRuntime raw = {};
  Gils gils = {};  // before the threads of `raw` were read
  /// By which it is told who holds a GIL: those of the moment at which stacks were proven.
  Gils told_gils = {};
  ThreadHolds holds;
  std::vector<ThreadDraft> threads = {};  // of these the first `wanted` are shown
  std::size_t wanted = 0;
  std::vector<Thread> bare_threads = {};                       // those that run no Python
  std::unordered_map<std::uint64_t, pid_t> tid_of_state = {};  // of all threads
  std::unordered_map<pid_t, Task> task_of = {};  // by the tid in the target's namespace
  bool listed_again = false;                     // the tasks, since a thread had none
  /// In a child of a fork that Python wasn't told of: the native id that the record of its first
  /// thread still has, which is that of a thread of the parent.
  std::optional<pid_t> id_before_fork = {};
  std::optional<NativeStates> native = {};           // if native frames are asked for
  std::vector<std::optional<FoundLock>> locks = {};  // as many as `threads`, or none

  /// Something contradicts itself, as it does in the middle of one of the interpreter's operations.
  bool unsettled = false;
  /// Where the frames of each of the snapshot's stacks lie, by the stack's id.
  std::unordered_map<std::uint64_t, std::vector<RawFrame>> frames_of_stack = {};

  Snapshot snapshot = {};

  /// Whether all that was read so far is of one moment.
  [[nodiscard]] bool at_one_instant() const { return instant != nullptr && image.missed() == 0; }
  /// Whether what isn't proven may be left so, as it will be read again.
  [[nodiscard]] bool is_read_again() const { return preliminary && !image.too_many(); }
  [[nodiscard]] const DebugOffsets& offsets() const { return runtime.offsets; }
};

/// What the kernel says of a thread, by Python's native id; null if it knows no such thread.
[[nodiscard]] const Task* find_task(Draft& draft, std::uint64_t native_id);
/// The futex that a blocked thread sleeps on, unless that is the GIL's.
[[nodiscard]] std::optional<FutexWait> futex_of(Draft& draft, const ThreadDraft& thread);

}  // namespace pyscope
