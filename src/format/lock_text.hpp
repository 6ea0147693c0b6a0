// What threads wait for, in words.
#pragma once

#include <string>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// 4712 "worker-1": the number to find it by in other tools, and the name. Escaped.
[[nodiscard]] std::string thread_label(const Thread& thread);

/// What is waited for: threading.Lock 0x7f… "self.lock" of <Inventory at 0x7f…>, held by 4712
/// "worker-1". Escaped; empty for a thread that waits for no object.
[[nodiscard]] std::string describe_wait(const Thread& thread);

/// The same without what may be another object for each thread with the same stack.
[[nodiscard]] std::string summarize_wait(const LockWait& lock);

/// The heading, and then what each thread waits for and who took that where. Escaped.
[[nodiscard]] std::vector<std::string> describe_deadlock(const Snapshot& snapshot,
                                                         const Deadlock& deadlock);

}  // namespace pyscope
