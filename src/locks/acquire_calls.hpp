// Threads in functions that call acquire(): the trace that a lock leaves which was taken without a
// `with` statement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "locks/lock_names.hpp"
#include "locks/namespaces.hpp"
#include "locks/thread_frames.hpp"

namespace pyscope {

/// A frame of a function that calls acquire() and names an object.
struct LockUse {
  std::size_t thread = 0;
  std::size_t frame = 0;  // index into the thread's walk
};

class AcquireCalls {
 public:
  /// `waits`: the locks that the threads wait for, one for each thread.
  AcquireCalls(ThreadFrames& frames, Namespaces& namespaces,
               std::span<const std::optional<NamedLock>> waits)
      : frames_(frames), reader_(frames.reader()), namespaces_(namespaces), waits_(waits) {}

  /// The only thread that uses the lock in a function that calls acquire(), with that function's
  /// frame. The call in which a thread waits for the lock doesn't count. `object` is what the
  /// program knows the lock by. The first call looks at all frames.
  [[nodiscard]] std::optional<LockUse> find_only(RemoteAddr lock, RemoteAddr object);

 private:
  void find_uses();
  void add_uses(const LockUse& use);
  [[nodiscard]] bool waits_there(const LockUse& use, RemoteAddr lock) const;
  [[nodiscard]] const std::vector<std::string>& names_of(RemoteAddr code);
  [[nodiscard]] const std::vector<RemoteAddr>& named_globals(const RawFrame& frame);

  ThreadFrames& frames_;
  const Reader& reader_;
  Namespaces& namespaces_;
  std::span<const std::optional<NamedLock>> waits_;
  std::optional<std::unordered_map<std::uint64_t, std::vector<LockUse>>> uses_;  // by object
  std::size_t uses_in_all_ = 0;
  std::unordered_map<std::uint64_t, std::vector<std::string>> names_;   // co_names, by code object
  std::unordered_map<std::uint64_t, std::vector<RemoteAddr>> globals_;  // by code object
  std::unordered_map<std::uint64_t, std::optional<LockUse>> only_;      // by lock
};

}  // namespace pyscope
