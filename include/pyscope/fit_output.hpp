// How large the output for one snapshot may become.
#pragma once

#include <cstdint>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// What a document of one snapshot may have, in bytes.
// Bound (bytes): output for one process, beyond which the outermost frames of the longest stacks
// are left out
inline constexpr std::uint64_t kMostOutput = std::uint64_t{48} << 20U;

enum class OutputForm : std::uint8_t { Text, Json };

/// Leaves out the outermost frames of those stacks that have the most to print, so that the output
/// has about `most` bytes at the most. A thread or task that frames are left out of says so in its
/// error.
void fit_output(Snapshot& snapshot, OutputForm form, std::uint64_t most = kMostOutput);

}  // namespace pyscope
