// /proc/locks: who holds the locks of files (flock, fcntl), and who waits for them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace pyscope {

/// The process that holds a lock for which `waiter` waits, on a file with this inode number: the
/// first of them where several share it. Both are pids as the reader of /proc/locks sees them.
/// Empty if there is none, if the table doesn't tell (a lock of an open file description has no
/// owner), or if several files fit.
[[nodiscard]] std::optional<pid_t> find_lock_holder(std::string_view locks, pid_t waiter,
                                                    std::uint64_t inode);

}  // namespace pyscope
