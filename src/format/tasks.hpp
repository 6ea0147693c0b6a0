// The tasks of a snapshot, for the texts that show them: their own, and that of a dump.
#pragma once

#include <string>

#include "pyscope/render.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

struct TasksText {
  /// A line for each thing that was found wrong. Empty if nothing was.
  std::string findings;
  /// "203 tasks: 2 deadlocked, 180 waiting for asyncio.Queue", or "no tasks". A line.
  std::string summary;
  /// The event loops, and then the tasks as a tree or a table. Empty if there are none.
  std::string body;
};

[[nodiscard]] TasksText describe_tasks(const Snapshot& snapshot, const TasksTextOptions& options);

}  // namespace pyscope
