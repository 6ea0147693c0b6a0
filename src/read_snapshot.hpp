#pragma once

#include <functional>
#include <vector>

#include "process/facts.hpp"
#include "process/log.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/memory.hpp"
#include "pyscope/snapshot.hpp"
#include "python/debug_offsets.hpp"

namespace pyscope {

/// Where a target's _PyRuntime is, and what it says of itself.
struct Runtime {
  RemoteAddr at;
  DebugOffsets offsets;
};

/// Reads the Python side of a process and joins it with what the kernel said about it. `list_tasks`
/// is asked again when Python knows a thread that `facts` don't. Source lines are left to the
/// caller.
[[nodiscard]] Result<Snapshot> read_snapshot(const Memory& memory, const Runtime& runtime,
                                             const ProcessFacts& facts,
                                             const std::function<std::vector<Task>()>& list_tasks,
                                             const CaptureOptions& options, const Log& log);

}  // namespace pyscope
