#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/log.hpp"
#include "process/facts.hpp"
#include "process/maps.hpp"
#include "process/process.hpp"
#include "process/thread_hold.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/memory.hpp"
#include "pyscope/snapshot.hpp"
#include "python/runtime_state.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// Where a target's _PyRuntime is, and what it says of itself.
struct Runtime {
  RemoteAddr at;
  DebugOffsets offsets;
};

/// What a capture asks the kernel about the threads of a process while it reads their stacks. A
/// recording can't answer all of it.
struct ThreadSource {
  /// All threads as they are now; needed when Python knows one that the facts don't.
  std::function<std::vector<Task>()> list;
  /// As Process::switches_at_rest; may be empty.
  std::function<std::optional<std::uint64_t>(pid_t)> switches_at_rest = nullptr;
  /// Holds threads still, as ThreadHold::stop; may be empty.
  std::function<Result<ThreadHold>(std::span<const pid_t>, const HoldLimits&)> hold = nullptr;
  /// The registers of a thread as they were recorded; empty where there is a process to hold.
  std::function<const Registers*(pid_t)> recorded_registers = nullptr;
  /// What is mapped where, in the order of the addresses; may be empty.
  std::function<std::vector<Mapping>()> maps = nullptr;
  /// What descriptors and children are is asked of it; null where it is no more.
  const Process* process = nullptr;
};

/// A snapshot with where it was found: valid as long as the target goes on standing there.
struct LocatedSnapshot {
  Snapshot snapshot;
  RawRuntime runtime;
  /// For each thread of the snapshot its frames in the target's memory, one for each frame there.
  std::vector<std::vector<RawFrame>> frames;
};

/// Reads the Python side of a process and joins it with what the kernel said about it. Source lines
/// are left to the caller.
[[nodiscard]] Result<Snapshot> read_snapshot(const Memory& memory, const Runtime& runtime,
                                             const ProcessFacts& facts, const ThreadSource& threads,
                                             const CaptureOptions& options, const Log& log);

/// The same, for a reader that goes on from there.
[[nodiscard]] Result<LocatedSnapshot> read_located_snapshot(
    const Memory& memory, const Runtime& runtime, const ProcessFacts& facts,
    const ThreadSource& threads, const CaptureOptions& options, const Log& log);

}  // namespace pyscope
