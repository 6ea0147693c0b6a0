// The passes that say what blocked threads wait for and who holds it, and find the deadlocks.
#pragma once

#include "passes/draft.hpp"

namespace pyscope {

/// Finds the locks that wanted threads wait for, and their holders among all threads. Reads the
/// other threads' stacks for that, once a wanted one waits for a lock.
void find_lock_waits(Draft& draft);

/// Looks at the cycles among those waits for a second time, and puts locks and deadlocks into the
/// snapshot. Needs no thread to stand: only what the kernel says didn't run counts.
void confirm_lock_waits(Draft& draft);

/// What blocked threads wait for in the kernel, beyond locks. Without `surroundings` only what
/// their system calls and the target's memory tell; what descriptors are isn't asked.
void describe_waits(Draft& draft, bool surroundings);

/// Processes that wait for each other, this one among them or waiting for them.
void find_process_deadlocks(Draft& draft);

}  // namespace pyscope
