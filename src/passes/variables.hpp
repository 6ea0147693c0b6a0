// The pass that reads the variables of frames, with their values.
#pragma once

#include "frames/raw_frame.hpp"
#include "passes/draft.hpp"
#include "values/repr.hpp"

namespace pyscope {

/// The variables of all frames of the threads that are wanted. Values that could have changed while
/// they were read are read twice.
void read_variables(Draft& draft);

/// The variables of one frame, with their values as text.
[[nodiscard]] Locals read_locals(const Reader& reader, const RawFrame& frame, ReprWriter& values,
                                 const ValueLimits& limits);

}  // namespace pyscope
