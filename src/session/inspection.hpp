// The values at paths, out of any memory.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "process/facts.hpp"
#include "pyscope/error.hpp"
#include "pyscope/inspect.hpp"
#include "pyscope/inspected_value.hpp"
#include "pyscope/memory.hpp"
#include "session/snapshot.hpp"

namespace pyscope {

/// What is read, and who is asked about its threads.
struct InspectionSource {
  const Memory& memory;
  const Runtime& runtime;
  /// What the kernel says of the process now, its threads included; asked only for paths that begin
  /// at frames.
  std::function<ProcessFacts()> facts;
  ThreadSource threads;
};

/// What is at each of the paths, all of one reading: of one during which nothing can have changed
/// (`held`: the threads stand still as long as this takes), or else of the second of two that
/// agree. What goes on changing is marked so. Fails if nothing could be read.
[[nodiscard]] Result<std::vector<InspectedValue>> read_inspection(
    const InspectionSource& source, const std::vector<std::string>& paths,
    const InspectOptions& options, bool held, const Log& log);

}  // namespace pyscope
