// The state of a `_thread.lock`, for everything that shows locks or searches for their holders.
#pragma once

#include "python/reader.hpp"

namespace pyscope {

struct LockObject {
  bool locked = false;
  /// Where waiting threads sleep: parked on this byte (a PyMutex), or in this sem_t. The other one
  /// is null.
  RemoteAddr mutex;
  RemoteAddr semaphore;
};

/// `lock` must be a `_thread.lock`. Micro versions of 3.13 differ in its layout, so the size that
/// its type gives decides. Fails with Unsupported for a size that no known version has.
[[nodiscard]] Result<LockObject> read_lock(const Reader& reader, RemoteAddr lock);

}  // namespace pyscope
