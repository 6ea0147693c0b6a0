// The pass that reads the tasks of asyncio: their stacks, what they wait for, and the event loops
// that run them.
#pragma once

#include <optional>

#include "base/log.hpp"
#include "passes/draft.hpp"
#include "pyscope/memory.hpp"
#include "structures/asyncio_lists.hpp"
#include "target/target.hpp"

namespace pyscope {

/// What the extension module _asyncio publishes, wherever it is loaded. Nothing if it isn't, or if
/// its file can't be read.
[[nodiscard]] std::optional<AsyncioLists> find_asyncio_lists(const Target& target,
                                                             const Memory& memory,
                                                             const DebugOffsets& offsets,
                                                             const Log& log);

/// Fills Snapshot::stacks and Snapshot::loops.
void read_tasks(Draft& draft);

/// Says what the descriptors are that tasks wait for. Asks the kernel, and not the target's memory.
void describe_task_descriptors(Draft& draft);

}  // namespace pyscope
