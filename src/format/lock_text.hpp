// The objects that threads wait for, in words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// 4712 "worker-1": the thread's name, and its number for finding the thread in other tools.
/// Escaped.
[[nodiscard]] std::string thread_label(const Thread& thread);
[[nodiscard]] std::string thread_label(pid_t tid, const std::optional<std::string>& name);

/// The object that a thread waits for: threading.Lock 0x7f… "self.lock" of <Inventory at 0x7f…>,
/// held by 4712 "worker-1". Escaped; empty for a thread that waits for no object. `chain` is what
/// to say of that other thread: ", which is …".
[[nodiscard]] std::string describe_wait(const Thread& thread, std::string_view chain = {});

/// The same without the object's address and owner: threads with the same stack may wait for
/// different objects.
[[nodiscard]] std::string summarize_wait(const LockWait& lock);

/// The heading, then for each thread the object that it waits for, the holder, and the place where
/// the holder took that object. Escaped.
[[nodiscard]] std::vector<std::string> describe_deadlock(const Snapshot& snapshot,
                                                         const Deadlock& deadlock);

}  // namespace pyscope
