// Which thread holds a lock that another one waits for, and how sure that is (docs/locks.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "locks/lock_names.hpp"
#include "locks/locks.hpp"
#include "locks/namespaces.hpp"
#include "locks/thread_frames.hpp"
#include "locks/with_statements.hpp"

namespace pyscope {

class LockHolders {
 public:
  /// `waits`: the locks that the threads wait for, one for each thread.
  LockHolders(ThreadFrames& frames, Namespaces& namespaces,
              std::span<const std::optional<NamedLock>> waits)
      : frames_(frames),
        reader_(frames.reader()),
        namespaces_(namespaces),
        waits_(waits),
        with_statements_(frames) {}

  /// The lock that this thread waits for, with its holder.
  [[nodiscard]] FoundLock find(std::size_t waiter);
  /// Whether the function of the program that waits is in a `with` statement of a lock.
  [[nodiscard]] bool waits_in_with(std::size_t waiter);

 private:
  void hold_by_ident(std::size_t waiter, std::uint64_t ident, FoundLock& found) const;
  void find_where_taken(FoundLock& found);
  void find_where_imported(FoundLock& found);
  void find_holder_of_semaphore(std::size_t waiter, FoundLock& found) const;
  void find_semaphore_user(FoundLock& found);
  void find_holder_of_lock(FoundLock& found);

  ThreadFrames& frames_;
  const Reader& reader_;
  Namespaces& namespaces_;
  std::span<const std::optional<NamedLock>> waits_;
  WithStatements with_statements_;
};

}  // namespace pyscope
