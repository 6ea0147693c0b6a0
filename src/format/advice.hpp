#pragma once

#include <string>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// What somebody who types commands can do to have all of a snapshot verified. Empty if all is
/// verified, or if threads were held already.
[[nodiscard]] std::string advice(const Snapshot& snapshot);

}  // namespace pyscope
