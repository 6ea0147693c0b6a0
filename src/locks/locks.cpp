#include "locks/locks.hpp"

#include <algorithm>

#include "locks/futures.hpp"
#include "locks/lock_holders.hpp"
#include "locks/lock_names.hpp"
#include "locks/namespaces.hpp"
#include "locks/parking_lot.hpp"
#include "locks/thread_frames.hpp"
#include "locks/waited_objects.hpp"

namespace pyscope {
namespace {

/// The stacks were read before the locks. What both say holds together only for threads that
/// didn't move in between: a thread that waits is still parked, and all are where they were seen.
void drop_moved(const Memory& memory, const ThreadFrames& frames,
                const std::vector<std::optional<Sleep>>& sleeps,
                std::vector<std::optional<FoundLock>>& found) {
  const auto nobody_holds = [](const std::optional<FoundLock>& lock) {
    return lock && lock->held == Held::ByNobodyFound;
  };
  // Any thread that moved may have taken a lock that nobody seemed to hold.
  std::vector<bool> asked(found.size(), std::any_of(found.begin(), found.end(), nobody_holds));
  for (std::size_t i = 0; i < found.size(); ++i)
    asked[i] = asked[i] || found[i].has_value();
  const std::vector<bool> moved = find_moved(memory, frames, sleeps, asked);
  bool any_moved = false;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!moved[i]) continue;
    any_moved = true;
    found[i].reset();
  }
  if (!any_moved) return;
  for (auto& lock : found) {
    if (nobody_holds(lock)) lock->held = Held::Unknown;
  }
}

}  // namespace

std::vector<std::optional<FoundLock>> find_locks(const Memory& memory, const Reader& reader,
                                                 const CodeTable& codes,
                                                 std::span<const LockThread> threads) {
  ThreadFrames frames(reader, codes, threads);
  frames.read_ahead();
  const std::vector<std::optional<Sleep>> sleeps = find_sleeps(memory, frames);
  Namespaces namespaces(reader);
  LockNames names(frames, namespaces);
  std::vector<std::optional<NamedLock>> named(threads.size());
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (sleeps[i]) named[i] = names.name(i, *sleeps[i]);
  }
  LockHolders holders(frames, namespaces, named);
  Futures futures(frames, namespaces);
  std::vector<std::optional<FoundLock>> found(threads.size());
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (!named[i]) continue;
    FoundLock lock = holders.find(i);
    // No thread waits for a lock that records the thread as its owner: the thread has got the lock
    // meanwhile.
    if (lock.holder == i && named[i]->kind != SleepKind::Lock) continue;
    if (lock.held == Held::NotALock) {
      lock.detail = describe_object(reader, lock);
      lock.waits_in_with = holders.waits_in_with(i);
      if (lock.type == kFutureType) futures.find_servers(lock);
    }
    found[i] = std::move(lock);
  }
  drop_moved(memory, frames, sleeps, found);
  return found;
}

}  // namespace pyscope
