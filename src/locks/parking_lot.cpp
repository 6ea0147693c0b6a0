#include "locks/parking_lot.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "locks/namespaces.hpp"
#include "model/standard_waits.hpp"
#include "python/lock_object.hpp"

namespace pyscope {
namespace {

/// Where the wait record of a thread lies that sleeps on this futex: the first word of a sem_t is
/// its futex.
RemoteAddr record_at(const DebugOffsets& offsets, RemoteAddr futex) {
  const std::uint64_t before = offsets[Field::WaitEntrySema];
  return futex.raw() > before ? RemoteAddr{futex.raw() - before} : RemoteAddr{};
}

/// The address that the owner of a wait record is parked on; null if the owner doesn't wait any
/// more. A thread that was woken up has left the list of those that wait.
RemoteAddr parked_on(const DebugOffsets& offsets, std::span<const std::byte> record) {
  const bool listed = value_in<std::uint64_t>(record, offsets[Field::WaitEntryNext]) != 0 &&
                      value_in<std::uint64_t>(record, offsets[Field::WaitEntryPrev]) != 0;
  const bool woken = value_in<std::uint8_t>(record, offsets[Field::WaitEntryIsUnparking]) != 0;
  if (!listed || woken) return {};
  return RemoteAddr{value_in<std::uint64_t>(record, offsets[Field::WaitEntryAddr])};
}

/// The locks whose threads are parked on a member of the object.
struct ParkedType {
  std::string_view type;
  SleepKind kind;
  Field member;
};
constexpr auto kParkedTypes = std::to_array<ParkedType>({
    {"_thread.lock", SleepKind::Lock, Field::LockMutex},
    {"_thread.RLock", SleepKind::RecursiveLock, Field::RLockLock},
    {"_queue.SimpleQueue", SleepKind::SimpleQueue, Field::SimpleQueueHasThreadsWaiting},
});

RemoteAddr structure_around(const DebugOffsets& offsets, RemoteAddr member, Field field) {
  const std::uint64_t offset = offsets[field];
  return member.raw() > offset ? RemoteAddr{member.raw() - offset} : RemoteAddr{};
}

/// Whether an RLock that its threads are parked on is taken. Its lock is a PyMutex.
bool is_taken(const Reader& reader, RemoteAddr rlock) {
  constexpr std::uint8_t kLocked = 1;
  const auto bits = reader.field<std::uint8_t>(rlock, Field::RLockLock);
  return bits && (*bits & kLocked) != 0;
}

/// The handle of a running thread, whose end is waited for at this address.
std::optional<Sleep> find_handle(const ThreadFrames& frames, std::size_t thread,
                                 RemoteAddr parked) {
  constexpr std::int32_t kRunning = 3;  // THREAD_HANDLE_RUNNING (Modules/_threadmodule.c)
  const Reader& reader = frames.reader();
  const RemoteAddr handle =
      structure_around(reader.offsets(), parked, Field::ThreadHandleThreadIsExiting);
  if (!handle.is_plausible_pointer()) return std::nullopt;
  const auto state = reader.field<std::int32_t>(handle, Field::ThreadHandleState);
  const auto ident = reader.field<std::uint64_t>(handle, Field::ThreadHandleIdent);
  if (!state || !ident || *state != kRunning || !frames.find_ident(thread, *ident)) {
    return std::nullopt;
  }
  return Sleep{SleepKind::Thread, handle, parked};
}

/// From the address that a thread's wait record names.
std::optional<Sleep> find_parked(const ThreadFrames& frames, std::size_t thread,
                                 RemoteAddr parked) {
  const Reader& reader = frames.reader();
  bool is_object = false;
  for (const ParkedType& candidate : kParkedTypes) {
    const RemoteAddr object = structure_around(reader.offsets(), parked, candidate.member);
    const std::string type = c_type_name_of(reader, object);
    is_object = is_object || !type.empty();
    if (type != candidate.type) continue;
    // A lock that isn't taken any more has let the thread go on already.
    if (candidate.kind == SleepKind::Lock) {
      const auto lock = read_lock(reader, object);
      if (!lock || !lock->locked || lock->mutex != parked) return std::nullopt;
    } else if (candidate.kind == SleepKind::RecursiveLock) {
      if (reader.layout().rlock_is_semaphore || !is_taken(reader, object)) return std::nullopt;
    }
    return Sleep{candidate.kind, object, parked};
  }
  if (is_object) return std::nullopt;
  return find_handle(frames, thread, parked);
}

/// A lock with a semaphore of its own, if it has this one.
std::optional<Sleep> with_semaphore(const Reader& reader, RemoteAddr object, RemoteAddr word) {
  const std::string type = c_type_name_of(reader, object);
  const auto has_word = [&](Field member) {
    return reader.field<std::uint64_t>(object, member).value_or(0) == word.raw();
  };
  if (type == "_thread.lock") {
    const auto lock = read_lock(reader, object);
    if (!lock || !lock->locked || lock->semaphore != word) return std::nullopt;
    return Sleep{SleepKind::Lock, object, {}};
  }
  if (type == "_thread.RLock" && reader.layout().rlock_is_semaphore && has_word(Field::RLockLock)) {
    return Sleep{SleepKind::RecursiveLock, object, {}};
  }
  if (type == "_queue.SimpleQueue" && reader.offsets().has(Field::SimpleQueueLock) &&
      has_word(Field::SimpleQueueLock)) {
    return Sleep{SleepKind::SimpleQueue, object, {}};
  }
  if (type == "_multiprocessing.SemLock" && has_word(Field::SemLockHandle)) {
    return Sleep{SleepKind::Semaphore, object, {}};
  }
  return std::nullopt;
}

/// Until 3.12 whoever joins a thread waits for a lock that the thread gives back at its end.
Sleep as_join(ThreadFrames& frames, const RawFrame& innermost, const Sleep& sleep) {
  if (sleep.kind != SleepKind::Lock || !frames.codes().knows(innermost.executable) ||
      !is_function(frames.codes().at(innermost.executable).code, "threading.py",
                   "Thread._wait_for_tstate_lock")) {
    return sleep;
  }
  const RemoteAddr thread = frames.variable(innermost, "self");
  if (instance_attribute(frames.reader(), thread, "_tstate_lock") != sleep.at) return sleep;
  return Sleep{SleepKind::Thread, thread, {}};
}

/// A semaphore doesn't say which lock it belongs to. But a method that is called lies on the
/// evaluation stack of the function that calls it, with its lock; and the lock that has this
/// semaphore is the one.
std::optional<Sleep> find_semaphore(ThreadFrames& frames, std::size_t thread) {
  constexpr std::uint32_t kMostLookedAt = 256;
  const auto& stack = frames.of(thread);
  const auto innermost = std::find_if(stack.begin(), stack.end(),
                                      [](const RawFrame& frame) { return !frame.is_entry(); });
  if (innermost == stack.end()) return std::nullopt;
  const CodeFacts* facts = frames.facts_of(innermost->executable);
  if (facts == nullptr) return std::nullopt;
  const RemoteAddr word = frames.threads()[thread].futex->word;
  const std::uint32_t count = std::min(facts->slots + facts->stack_size, kMostLookedAt);
  for (std::uint32_t i = 0; i < count; ++i) {
    RemoteAddr object = frames.slot(innermost->at, i);
    if (const RemoteAddr self = bound_self(frames.reader(), object)) object = self;
    if (const auto sleep = with_semaphore(frames.reader(), object, word))
      return as_join(frames, *innermost, *sleep);
  }
  return std::nullopt;
}

/// Fetches the objects that these addresses may lie in.
void read_ahead_around(const Reader& reader, const std::vector<RemoteAddr>& parked) {
  const DebugOffsets& offsets = reader.offsets();
  std::vector<RemoteAddr> starts;
  for (const RemoteAddr at : parked) {
    if (!at) continue;
    starts.push_back(structure_around(offsets, at, Field::LockMutex));
    starts.push_back(structure_around(offsets, at, Field::ThreadHandleThreadIsExiting));
  }
  reader.prefetch(starts, offsets[Field::ThreadHandleSize]);
}

}  // namespace

std::vector<std::optional<Sleep>> find_sleeps(const Memory& memory, ThreadFrames& frames) {
  const DebugOffsets& offsets = frames.reader().offsets();
  const std::span<const LockThread> threads = frames.threads();
  std::vector<std::optional<Sleep>> sleeps(threads.size());
  std::vector<std::size_t> waiting;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (threads[i].futex && record_at(offsets, threads[i].futex->word)) waiting.push_back(i);
  }
  if (!offsets.has(Field::WaitEntrySize)) {  // there is no parking lot
    for (const std::size_t i : waiting)
      sleeps[i] = find_semaphore(frames, i);
    return sleeps;
  }
  // Not through the cache: nothing else of a thread's stack is needed.
  const std::uint64_t size = offsets[Field::WaitEntrySize];
  std::vector<std::byte> bytes(waiting.size() * size);
  const auto record = [&](std::size_t n) { return std::span{bytes}.subspan(n * size, size); };
  std::vector<ReadRequest> requests;
  for (std::size_t n = 0; n < waiting.size(); ++n)
    requests.push_back({record_at(offsets, threads[waiting[n]].futex->word), record(n)});
  memory.read_many(requests);
  std::vector<RemoteAddr> parked(waiting.size());
  for (std::size_t n = 0; n < waiting.size(); ++n) {
    if (requests[n].status == ReadStatus::Ok) parked[n] = parked_on(offsets, record(n));
  }
  read_ahead_around(frames.reader(), parked);
  for (std::size_t n = 0; n < waiting.size(); ++n) {
    auto& sleep = sleeps[waiting[n]];
    if (parked[n]) sleep = find_parked(frames, waiting[n], parked[n]);
    if (!sleep) sleep = find_semaphore(frames, waiting[n]);
  }
  return sleeps;
}

std::vector<bool> find_moved(const Memory& memory, const ThreadFrames& frames,
                             const std::vector<std::optional<Sleep>>& sleeps,
                             const std::vector<bool>& asked) {
  const DebugOffsets& offsets = frames.reader().offsets();
  const std::size_t count = frames.threads().size();
  struct Present {
    std::uint64_t frame = 0;
    std::uint64_t instruction = 0;
    std::vector<std::byte> record;
  };
  std::vector<Present> present(count);
  std::vector<bool> moved(count);
  std::vector<ReadRequest> requests;
  std::vector<std::size_t> thread_of;  // by request
  for (std::size_t i = 0; i < count; ++i) {
    if (!asked[i]) continue;
    const auto ask = [&](RemoteAddr at, std::span<std::byte> into) {
      requests.push_back({at, into});
      thread_of.push_back(i);
    };
    const LockThread& thread = frames.threads()[i];
    const auto pointer = find_frame_pointer(memory, offsets, thread.state);
    if (!pointer) {
      moved[i] = true;
      continue;
    }
    ask(pointer->at, std::as_writable_bytes(std::span{&present[i].frame, 1}));
    if (const auto& stack = frames.of(i); !stack.empty() && !stack.front().is_entry()) {
      ask(stack.front().at + offsets[Field::FrameInstrPtr],
          std::as_writable_bytes(std::span{&present[i].instruction, 1}));
    }
    if (sleeps[i] && sleeps[i]->parked_on) {
      present[i].record.resize(offsets[Field::WaitEntrySize]);
      ask(record_at(offsets, thread.futex->word), present[i].record);
    }
  }
  memory.read_many(requests);
  for (std::size_t n = 0; n < requests.size(); ++n) {
    if (requests[n].status != ReadStatus::Ok) moved[thread_of[n]] = true;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!asked[i] || moved[i]) continue;
    const auto& stack = frames.of(i);
    // The frame that 3.15 has at the end of each chain isn't in the walk: an empty walk says
    // nothing.
    if (!stack.empty()) {
      const RawFrame& innermost = stack.front();
      moved[i] = present[i].frame != innermost.at.raw() ||
                 (!innermost.is_entry() && present[i].instruction != innermost.instruction.raw());
    }
    if (sleeps[i] && sleeps[i]->parked_on) {
      moved[i] = moved[i] || parked_on(offsets, present[i].record) != sleeps[i]->parked_on;
    }
  }
  return moved;
}

}  // namespace pyscope
