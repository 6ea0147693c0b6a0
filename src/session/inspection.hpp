// The values at paths, out of any target.
#pragma once

#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "pyscope/error.hpp"
#include "pyscope/inspect.hpp"
#include "pyscope/inspected_value.hpp"
#include "session/session.hpp"

namespace pyscope {

/// What is at each of the paths, all of one reading: of one during which nothing can have changed
/// (`held`: the threads stand still as long as this takes), or else of the second of two that
/// agree. What goes on changing is marked so. Fails if nothing could be read.
[[nodiscard]] Result<std::vector<InspectedValue>> read_inspection(
    Session& session, const std::vector<std::string>& paths, const InspectOptions& options,
    bool held);

}  // namespace pyscope
