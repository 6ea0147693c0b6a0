// Proves that a thread's stack existed at one moment, while the thread may be running.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <unordered_map>

#include "frames/walker.hpp"
#include "memory/budgeted_memory.hpp"
#include "pyscope/memory.hpp"
#include "python/code.hpp"

namespace pyscope {

struct VerifiedWalk {
  FrameWalk walk;
  bool verified = false;
  /// Of a verified walk: what the code objects were that weren't known yet.
  std::unordered_map<std::uint64_t, CodeIdentity> codes;
  int attempts = 0;
  /// Of a walk that isn't verified: so many of its innermost frames were not the same each time
  /// they were looked at. The others, the outer ones, were.
  std::size_t moving = 0;
  /// Of a walk that isn't verified: whether it was the same each time, but no look was quick
  /// enough.
  bool too_slow = false;
};

/// What the tries to verify one stack may cost.
struct VerifyBudget {
  /// No try begins after this, but for the first one.
  std::chrono::steady_clock::time_point deadline;
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

/// Reads a thread's stack so that it is proven to have existed at one moment, while the thread may
/// be running. The frames are copied from the oldest to the newest, then the thread's pointer to
/// its current frame, then the frames again from the newest to the oldest. If the chain that begins
/// at that pointer is whole and is the same in both copies, then no frame of it was left or changed
/// between its first and its second copy, and the pointer was read in between.
///
/// But for one case: what was left and has come back meanwhile looks as if it had never been away.
/// Therefore
///
/// - a try counts only if it was as quick as such a copy should be: we may be interrupted in the
/// middle of it;
/// - frames that lie side by side in memory, as a function and what it calls do, are copied by one
/// run over that
///   memory, a caller some nanoseconds before its callee;
/// - two that don't (generators and what drives them, the ends of two chunks) must have looked the
/// same to each other
///   in many copies in a row.
///
/// The code objects are held to the same: known ones are for the caller to look at once more
/// (CodeTable::replaced), others are part of both copies.
///
/// Tried until it succeeds, the tries for one thread are used up, or the deadline has passed; once
/// at the least.
[[nodiscard]] VerifiedWalk walk_verified(const BudgetedMemory& memory, const DebugOffsets& offsets,
                                         const CodeTable& codes, RemoteAddr thread_state,
                                         StackStart start, FrameWalk first,
                                         const VerifyBudget& budget);

}  // namespace pyscope
