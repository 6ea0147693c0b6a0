#include "locks/lock_holders.hpp"

#include <string_view>

namespace pyscope {
namespace {

void hold_by(const ContextManager& manager, Held held, FoundLock& found) {
  found.held = held;
  found.holder = manager.thread;
  found.holder_frame = manager.frame;
  found.taken_at_unit = manager.handler;
}

}  // namespace

FoundLock LockHolders::find(std::size_t waiter) {
  constexpr std::string_view kImportLock = "import lock";
  const NamedLock& wait = *waits_[waiter];
  FoundLock found = wait.lock;
  const auto recorded = [&](Field field) {
    return reader_.field<std::uint64_t>(found.lock, field).value_or(0);
  };
  if (wait.owner) {
    const auto ident =
        *wait.owner ? read_unsigned(reader_, *wait.owner) : Result<std::uint64_t>(0U);
    hold_by_ident(waiter, ident.value_or(0), found);
    if (found.holder && found.type == kImportLock) find_where_imported(found);
    return found;
  }
  switch (wait.kind) {
    case SleepKind::SimpleQueue:
      break;
    case SleepKind::Thread:
      if (reader_.offsets().has(Field::ThreadHandleIdent)) {
        hold_by_ident(waiter, recorded(Field::ThreadHandleIdent), found);
      } else if (const RemoteAddr ident = instance_attribute(reader_, found.lock, "_ident")) {
        hold_by_ident(waiter, read_unsigned(reader_, ident).value_or(0), found);
      }
      break;
    case SleepKind::RecursiveLock:
      hold_by_ident(waiter, recorded(Field::RLockOwner), found);
      if (found.holder) find_where_taken(found);
      break;
    case SleepKind::Semaphore:
      find_holder_of_semaphore(waiter, found);
      break;
    case SleepKind::Lock:
      if (found.held == Held::NotALock) {
        find_semaphore_user(found);
      } else {
        find_holder_of_lock(found);
      }
  }
  return found;
}

bool LockHolders::waits_in_with(std::size_t waiter) {
  const auto frame = waits_[waiter]->lock.waiting_frame;
  return frame && with_statements_.is_in_one(waiter, *frame);
}

/// By the ident that is recorded in the lock; 0: it was just given back.
void LockHolders::hold_by_ident(std::size_t waiter, std::uint64_t ident, FoundLock& found) const {
  if (ident == 0) return;
  found.holder = frames_.find_ident(waiter, ident);
  found.held = found.holder ? Held::ByThread : Held::ByNobodyFound;
  found.binding = found.holder && !found.timed;
}

/// The `with` statement in which a holder that is known took the lock.
void LockHolders::find_where_taken(FoundLock& found) {
  for (const ContextManager& manager : with_statements_.of_lock(found.lock)) {
    if (manager.thread != found.holder) continue;
    found.holder_frame = manager.frame;
    found.taken_at_unit = manager.handler;
    // The outermost statement took the lock; the others only counted it up.
  }
}

/// The function whose `import` statement the holder of an import lock runs.
void LockHolders::find_where_imported(FoundLock& found) {
  constexpr std::string_view kFindAndLoad = "_find_and_load";
  const auto& stack = frames_.of(*found.holder);
  bool is_importer = false;  // the function that the next frame may be
  for (std::size_t i = 0; i < stack.size(); ++i) {
    if (stack[i].is_entry()) continue;
    const CodeFacts* facts = frames_.facts_of(stack[i].executable);
    if (is_importer && (facts == nullptr || facts->wait == nullptr)) {
      found.holder_frame = i;
      if (facts != nullptr) {
        found.taken_at_unit =
            unit_of(reader_.offsets(), stack[i].executable, facts->units, stack[i].instruction);
      }
      return;
    }
    is_importer = facts != nullptr && facts->wait != nullptr &&
                  facts->wait->qualified_name == kFindAndLoad &&
                  namespaces_.key_text(frames_.variable(stack[i], "name")) == found.name;
  }
}

/// A semaphore of multiprocessing counts what was done through it in this process, and records
/// which thread took it last.
void LockHolders::find_holder_of_semaphore(std::size_t waiter, FoundLock& found) const {
  constexpr std::int32_t kRecursiveMutex = 0;
  const RemoteAddr at = found.lock;
  const auto last = reader_.field<std::uint64_t>(at, Field::SemLockLastTid);
  const auto count = reader_.field<std::int32_t>(at, Field::SemLockCount);
  const auto most = reader_.field<std::int32_t>(at, Field::SemLockMaxvalue);
  const auto kind = reader_.field<std::int32_t>(at, Field::SemLockKind);
  if (!last || !count || !most || !kind) return;
  if (*kind != kRecursiveMutex && *most > 1) {
    found.held = Held::NotALock;
    return;
  }
  if (*count <= 0) {
    found.held = Held::ByNobodyFound;
    return;
  }
  hold_by_ident(waiter, *last, found);
  if (found.held == Held::ByThread && *kind != kRecursiveMutex) {
    // Any thread and process may have given it back, and another one taken it.
    found.held = Held::LastSeen;
    found.binding = false;
  }
}

/// Any thread may release a semaphore; but a thread in a `with` statement of it will.
void LockHolders::find_semaphore_user(FoundLock& found) {
  if (!found.type.ends_with("Semaphore")) return;
  const ContextManager* user = nullptr;
  // An object that isn't known to have taken a lock stands for itself.
  for (const ContextManager& manager : with_statements_.of_lock(found.at)) {
    if (user != nullptr && user->thread != manager.thread) return;
    user = &manager;
  }
  if (user != nullptr) hold_by(*user, Held::LastSeen, found);
}

void LockHolders::find_holder_of_lock(FoundLock& found) {
  const ContextManager* proven = nullptr;
  const ContextManager* likely = nullptr;
  bool several = false;
  for (const ContextManager& manager : with_statements_.of_lock(found.lock)) {
    if (manager.certain && frames_.threads()[manager.thread].verified) {
      several = several || (proven != nullptr && proven->thread != manager.thread);
      proven = &manager;
    } else {
      likely = &manager;
    }
  }
  if (proven != nullptr && !several) {
    hold_by(*proven, Held::ByThread, found);
    found.binding = !found.timed;
    return;
  }
  if (proven != nullptr || likely != nullptr) {
    hold_by(proven != nullptr ? *proven : *likely, Held::LastSeen, found);
    return;
  }
  found.held = frames_.complete() ? Held::ByNobodyFound : Held::Unknown;
}

}  // namespace pyscope
