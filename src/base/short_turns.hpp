// How soon, and for how long at a time, pyscope gets a CPU that it shares with others.
#pragma once

namespace pyscope {

/// Asks the scheduler to give the calling thread, and those that it starts later, short turns of
/// the CPU that come soon, in place of long ones that come late (Linux 6.12; older kernels ignore
/// the request). The share of the CPU stays the same. pyscope pins itself to the CPU of a thread
/// that never rests, and would otherwise often wait for some milliseconds until that thread's turn
/// ends. Leaves everything as it is under a policy of another kind than the usual one.
void ask_for_short_turns();

}  // namespace pyscope
