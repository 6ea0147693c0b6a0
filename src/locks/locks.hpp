// Which locks threads wait for that sleep on a futex, and which threads hold them. docs/locks.md
// says how sure each answer is. One file for each step: parking_lot (the lock that a thread sleeps
// in), lock_names (what the program calls it), lock_holders (the holder, found by with_statements),
// futures and waited_objects (what isn't held); thread_frames and namespaces are what all of them
// look at.
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

/// A thread state as the search sees it. All of a process take part, since each may hold what
/// another one waits for; one whose stack wasn't read has an empty walk that isn't complete.
struct LockThread {
  RemoteAddr interpreter;
  RemoteAddr state;
  std::uint64_t ident = 0;          // threading.get_ident()
  const FrameWalk* walk = nullptr;  // never null
  bool verified = false;            // the walk is proven to have existed at one moment
  /// Of an OS thread with states in several interpreters, only the one that it executes for can
  /// wait.
  std::optional<FutexWait> futex;
};

/// As LockWait, in terms of the threads and walks that were searched.
struct FoundLock {
  std::string type;
  RemoteAddr at;    // the object that the programmer knows
  RemoteAddr lock;  // the object or structure that the thread sleeps in, the same for all threads
  std::string name;
  std::string owner_object;
  Held held = Held::Unknown;
  std::optional<std::size_t> holder;           // index of the thread
  std::optional<std::size_t> holder_frame;     // index into its walk
  std::optional<std::uint64_t> taken_at_unit;  // in that frame's code: of the `with` statement
  std::optional<std::size_t> waiting_frame;    // index into the waiting thread's walk
  bool timed = false;
  std::string detail;                // as LockWait::detail
  std::vector<std::size_t> servers;  // as LockWait::served_by, by their indices
  bool waits_in_with = false;
  /// The wait can end only if the holder, or one of the servers, goes on.
  bool binding = false;

  /// The threads of which one must go on: the edges of the wait-for graph.
  [[nodiscard]] std::vector<std::size_t> wakers() const {
    if (!binding) return {};
    return holder ? std::vector{*holder} : servers;
  }
};

/// One answer for each thread; none for a thread that doesn't sleep on a futex, or whose futex
/// belongs to no object that Python's threads wait for. `memory` is what the reader's cache copies.
[[nodiscard]] std::vector<std::optional<FoundLock>> find_locks(const Memory& memory,
                                                               const Reader& reader,
                                                               const CodeTable& codes,
                                                               std::span<const LockThread> threads);

}  // namespace pyscope
