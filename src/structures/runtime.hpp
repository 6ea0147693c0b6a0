#pragma once

#include "pyscope/address.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// Where a target's _PyRuntime is, and what it says of its own structures.
struct Runtime {
  RemoteAddr at;
  DebugOffsets offsets;
};

}  // namespace pyscope
