// Which lock a thread sleeps in. Since 3.13 CPython's locks wait in a "parking lot": a thread that
// waits has a record on its own stack, struct wait_entry (Python/parking_lot.c), with the address
// that the thread waits for and the semaphore that it sleeps on. Until 3.12 each lock has a
// semaphore of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "locks/thread_frames.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

enum class SleepKind : std::uint8_t { Lock, RecursiveLock, SimpleQueue, Thread, Semaphore };

/// What a thread sleeps in.
struct Sleep {
  SleepKind kind = SleepKind::Lock;
  RemoteAddr at;  // the object; for a thread that is joined, its ThreadHandle (3.12: the Thread)
  /// The address that the thread's wait record names; null for a thread that sleeps in a semaphore
  /// of the lock's own.
  RemoteAddr parked_on;
};

/// One answer for each thread; none for a thread that doesn't sleep in a lock of Python's.
[[nodiscard]] std::vector<std::optional<Sleep>> find_sleeps(const Memory& memory,
                                                            ThreadFrames& frames);

/// Which of the threads that are asked for aren't where their stack and their sleep say any more,
/// one answer for each thread. Read from `memory`, past the cache.
[[nodiscard]] std::vector<bool> find_moved(const Memory& memory, const ThreadFrames& frames,
                                           const std::vector<std::optional<Sleep>>& sleeps,
                                           const std::vector<bool>& asked);

}  // namespace pyscope
