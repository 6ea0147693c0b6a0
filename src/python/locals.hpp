// The variables of a frame.
#pragma once

#include "pyscope/snapshot.hpp"
#include "python/frames.hpp"
#include "python/repr.hpp"

namespace pyscope {

/// The variables of a frame that runs this code, which must be a code object; unbound ones are left
/// out. Of a module or a class body, its namespace without the names that Python itself puts there.
[[nodiscard]] Locals read_locals(const Reader& reader, const RawFrame& frame, ReprWriter& values,
                                 const ValueLimits& limits);

}  // namespace pyscope
