// The pass that reads the variables of frames, with their values.
#pragma once

#include "passes/draft.hpp"

namespace pyscope {

/// The variables of all frames of the threads that are wanted. Values that could have changed while
/// they were read are read twice.
void read_variables(Draft& draft);

}  // namespace pyscope
