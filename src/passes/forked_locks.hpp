// Locks that nobody in a forked process can give back: the thread that had them when the process
// was forked went on in the parent only.
#pragma once

#include <sys/types.h>

#include <string>

#include "passes/draft.hpp"

namespace pyscope {

/// Marks the locks of threads that wait for one of these (Held::ByNobodyLeft), and says of others
/// what speaks for it (LockWait::lost). Nothing of it for a process that wasn't forked, or has
/// begun a program of its own since.
void tell_forked_locks(Draft& draft);

/// The words for a lock whose owner, an OS thread, isn't one of the process: "held when this
/// process was forked, by thread 12 of python3 (pid 11)". Empty if the process wasn't forked.
[[nodiscard]] std::string describe_lost_owner(const Draft& draft, pid_t owner);

}  // namespace pyscope
