#include "python/lock_object.hpp"

#include <fmt/core.h>

namespace pyscope {

Result<LockObject> read_lock(const Reader& reader, RemoteAddr lock) {
  const DebugOffsets& offsets = reader.offsets();
  const auto type = reader.type_of(lock);
  if (!type) return fail("lock", type.error());
  if (!*type) return fail(ErrorKind::Malformed, "a lock without a type");
  const auto size = reader.field<std::uint64_t>(*type, Field::TypeTpBasicsize);
  if (!size) return fail("size of a lock", size.error());
  LockObject object;
  if (offsets.has(Field::LockSize) && *size == offsets[Field::LockSize]) {
    // Of a PyMutex, bit 0 says that it is locked, and bit 1 that threads wait.
    constexpr std::uint8_t kLocked = 1;
    const auto bits = reader.field<std::uint8_t>(lock, Field::LockMutex);
    if (!bits) return fail("lock", bits.error());
    object.locked = (*bits & kLocked) != 0;
    object.mutex = lock + offsets[Field::LockMutex];
    return object;
  }
  if (offsets.has(Field::SemaphoreLockSize) && *size == offsets[Field::SemaphoreLockSize]) {
    const auto locked = reader.field<std::uint8_t>(lock, Field::SemaphoreLockLocked);
    const auto semaphore = reader.pointer(lock, Field::SemaphoreLockSemaphore);
    if (!locked) return fail("lock", locked.error());
    if (!semaphore) return fail("semaphore of a lock", semaphore.error());
    object.locked = *locked != 0;
    object.semaphore = *semaphore;
    return object;
  }
  return fail(ErrorKind::Unsupported, fmt::format("a lock of {} bytes is not known", *size));
}

}  // namespace pyscope
