// Waits that Python's own locks don't have: for the GIL, and for mutexes of the C library. With the
// locks that Python knows they are the edges of one wait-for graph, and cycles in it are deadlocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "passes/draft.hpp"

namespace pyscope {

/// The thread that has a mutex of glibc which others wait for, by the mutex's first 24 bytes; in
/// the target's pid namespace. Empty for anything else that a futex may be: a semaphore, a
/// condition, a mutex that is robust or inherits priorities, or one of another C library.
[[nodiscard]] std::optional<pid_t> owner_of_mutex(std::span<const std::byte> mutex);
constexpr std::size_t kMutexSize = 24;

/// Says of each thread that waits for such a mutex who has it, and adds the deadlocks in which
/// there are such waits to those of the snapshot. Nothing of it without a living process.
void find_native_locks(Draft& draft);

}  // namespace pyscope
