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

/// The values at the paths, all of one reading. Either nothing can have changed during the reading
/// (`held`: the threads stand still meanwhile), or the reading before it has found the same. A
/// value that goes on changing is marked. Fails if nothing could be read.
[[nodiscard]] Result<std::vector<InspectedValue>> read_inspection(
    Session& session, const std::vector<std::string>& paths, const InspectOptions& options,
    bool held);

}  // namespace pyscope
