// /proc/locks: the processes that hold locks of files (flock, fcntl), and those that wait for them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace pyscope {

/// The process that holds the lock for which `waiter` waits, on a file with this inode number; the
/// first one if several share the lock. Both pids are those that the reader of /proc/locks sees.
/// Empty if there is no holder, if the table doesn't tell (a lock of an open file description has
/// no owner), or if several files fit.
[[nodiscard]] std::optional<pid_t> find_lock_holder(std::string_view locks, pid_t waiter,
                                                    std::uint64_t inode);

}  // namespace pyscope
