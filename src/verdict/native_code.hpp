#pragma once

#include <vector>

#include "pyscope/diagnosis.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// Whether knowing a thread's native frames adds to its verdict.
[[nodiscard]] bool wants_native_code(const ThreadDiagnosis& judged, const Snapshot& last);

/// Says of threads that are in native code in which function of which library, from a few snapshots
/// with their native frames that were taken right after those that were judged.
void add_native_code(Diagnosis& diagnosis, const std::vector<Snapshot>& looks);

}  // namespace pyscope
