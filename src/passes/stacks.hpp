// The pass that reads stacks, and proves them. The proofs, in the order in which they are tried,
// which is that of their cost:
//
//   the GIL         the thread can't have run Python code while all stacks were copied
//   two copies      the stack was the same before and after one moment (walk_verified)
//   rest            the kernel says that the thread was off the CPU while its stack was copied
//   a hold          the thread stood still for us; only if that was asked for
#pragma once

#include <optional>
#include <span>

#include "passes/draft.hpp"

namespace pyscope {

/// The stacks of the threads that are wanted, as frames of the model, and what their native frames
/// take. A stack whose thread `holds` still holds is believed for now: end_hold() has the last
/// word.
void read_stacks(Draft& draft);

/// A frame of the model: its code and its place in it. The code must be loaded. Nothing for a frame
/// that hasn't begun to run its function, which Python doesn't show either.
[[nodiscard]] std::optional<Frame> resolve_frame(CodeTable& codes, const RawFrame& raw);

/// The stacks of the threads that aren't wanted: one of them may hold what a wanted one waits for.
/// Nothing is held still for that, and nothing of it is shown.
void read_other_stacks(Draft& draft);

/// Lets go of all threads that are held still. What was read of them isn't believed any more if
/// they didn't stand until now.
void end_hold(Draft& draft);

}  // namespace pyscope
