// What threads that sleep on a futex wait for, and who has it. docs/locks.md says how sure
// each answer is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "frames/walker.hpp"
#include "pyscope/memory.hpp"
#include "pyscope/snapshot.hpp"
#include "python/code.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// The futex that a thread sleeps on. Not one of the GIL.
struct FutexWait {
  RemoteAddr word;
  bool timed = false;  // the system call has a timeout
};

/// A thread as the search sees it. All threads of a process take part, since each may hold what
/// another one waits for; one whose stack wasn't read has an empty walk that isn't complete.
struct LockThread {
  RemoteAddr state;                 // its thread state
  std::uint64_t ident = 0;          // threading.get_ident()
  const FrameWalk* walk = nullptr;  // never null
  bool verified = false;            // the walk is proven to have existed at one moment
  std::optional<FutexWait> futex;
};

/// As LockWait, in terms of the threads and walks that were searched.
struct FoundLock {
  std::string type;
  RemoteAddr at;    // the object that the programmer knows
  RemoteAddr lock;  // the object or structure that the thread sleeps in, the same for all who do
  std::string name;
  std::string owner_object;
  Held held = Held::Unknown;
  std::optional<std::size_t> holder;           // index of the thread
  std::optional<std::size_t> holder_frame;     // index into its walk
  std::optional<std::uint64_t> taken_at_unit;  // in that frame's code: of the `with` statement
  std::optional<std::size_t> waiting_frame;    // index into the waiting thread's walk
  bool timed = false;
  /// Nothing but the holder's going on can end the wait: an edge of the wait-for graph.
  bool binding = false;
};

/// One answer for each thread; none for a thread that doesn't sleep on a futex, or if what lies
/// there is no object that Python's threads wait for. `memory` is what the reader's cache copies.
[[nodiscard]] std::vector<std::optional<FoundLock>> find_locks(const Memory& memory,
                                                               const Reader& reader,
                                                               const CodeTable& codes,
                                                               std::span<const LockThread> threads);

}  // namespace pyscope
