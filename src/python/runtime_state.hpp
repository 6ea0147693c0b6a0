// The interpreters and thread states that hang off _PyRuntime.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "memory/budgeted_memory.hpp"
#include "python/reader.hpp"
#include "python/stack_start.hpp"

namespace pyscope {

/// One moment of a GIL (struct _gil_runtime_state). No thread but the last holder has run Python
/// code between two equal moments: whoever else takes the GIL becomes the last holder and counts
/// the switch up before it runs anything (take_gil in Python/ceval_gil.c).
struct GilMoment {
  RemoteAddr last_holder;  // a thread state; never cleared, and so the owner only while `locked`
  std::int32_t locked = 0;
  std::uint64_t switch_number = 0;
  friend bool operator==(const GilMoment&, const GilMoment&) = default;
};

struct RawThread {
  RemoteAddr at;
  std::uint64_t native_id = 0;    // gettid() in the target's pid namespace
  std::uint64_t recorded_id = 0;  // what the thread state has for that: another thread's, maybe
  std::uint64_t ident = 0;        // pthread_self()
  /// Of the thread states of its OS thread, this one was attached last: it is the one that the
  /// thread executes for, or has detached for the time of a blocking call.
  bool attached_last = false;
  std::optional<bool> gil_requested;  // 3.15
  StackStart stack;
};

struct RawInterpreter {
  RemoteAddr at;
  std::int64_t id = 0;
  RemoteAddr gil;           // which several interpreters may share; null while there is none
  RemoteAddr threads_main;  // 3.14: the thread state that runs __main__; else null
  RemoteAddr modules;       // the dict sys.modules
  RemoteAddr sys_dict;      // the dict of module sys
  bool collecting_garbage = false;
  std::vector<RawThread> threads;  // newest first, as linked
  /// Further thread states, whose threads aren't known: they have yet to begin, it seems (3.11).
  std::vector<RemoteAddr> without_threads;
};

struct RawRuntime {
  bool finalizing = false;
  std::vector<RawInterpreter> interpreters;  // oldest first
  std::vector<std::string> warnings;         // parts of the lists that could not be followed
  bool over_limit = false;  // there are more than are read: to read again would lead no further
};

/// Follows the list of interpreters; their threads are not read yet. Fails if not even one
/// interpreter can be read; with Unsupported if there is none (an interpreter that hasn't started
/// yet, or has ended).
[[nodiscard]] Result<RawRuntime> read_interpreters(const Reader& reader, RemoteAddr runtime);

/// Follows each interpreter's list of thread states. Those that are being made or torn down are
/// left out. `memory` is what the reader's cache copies: the lists are compared with it afterwards.
void read_threads(const Reader& reader, const Memory& memory, RawRuntime& runtime);

/// The present moment of each GIL, by its address, read straight from the target.
[[nodiscard]] std::unordered_map<std::uint64_t, GilMoment> read_gils(const Memory& memory,
                                                                     const DebugOffsets& offsets,
                                                                     const RawRuntime& runtime);

/// Python's names of an interpreter's threads (threading._active), by ident. `memory` is what the
/// reader's cache copies: the dict is looked at once more there, and if it isn't the same, this
/// fails with Malformed.
[[nodiscard]] Result<std::unordered_map<std::uint64_t, std::string>> read_thread_names(
    const Reader& reader, const BudgetedMemory& memory, const RawInterpreter& interpreter);

/// Whether sys.abiflags says that this is a debug build.
[[nodiscard]] std::optional<bool> read_debug_build(const Reader& reader,
                                                   const RawInterpreter& interpreter);

}  // namespace pyscope
