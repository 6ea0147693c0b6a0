#include "passes/lock_waits.hpp"

#include <algorithm>
#include <utility>

#include "memory/page_cache.hpp"
#include "model/standard_waits.hpp"
#include "passes/forked_locks.hpp"
#include "passes/locks.hpp"
#include "passes/stacks.hpp"
#include "passes/waits.hpp"
#include "process/process_deadlock.hpp"

namespace pyscope {
namespace {

std::optional<std::uint32_t> code_of(const Draft& draft, const RawFrame& frame) {
  if (!draft.codes.knows(frame.executable)) return std::nullopt;
  return draft.codes.at(frame.executable).index;
}

LockWait describe_lock(const Draft& draft, const FoundLock& found, const ThreadDraft& waiter) {
  LockWait lock;
  lock.type = found.type;
  lock.address = found.at.raw();
  lock.name = found.name;
  lock.owner_object = found.owner_object;
  lock.held = found.held;
  lock.timed = found.timed;
  lock.detail = found.detail;
  lock.waits_in_with = found.waits_in_with;
  for (const std::size_t server : found.servers) {
    const Thread& thread = draft.threads[server].thread;
    lock.served_by.push_back({thread.tid, thread.name});
  }
  if (found.waiting_frame) {
    const RawFrame& frame = waiter.stack.walk.frames[*found.waiting_frame];
    lock.waits_in = code_of(draft, frame);
    if (lock.waits_in) {
      const auto unit = unit_of(draft.codes, frame);
      if (unit) lock.waits_at = draft.codes.location(frame.executable, *unit).position.line;
    }
  }
  if (!found.holder) return lock;
  const ThreadDraft& holder = draft.threads[*found.holder];
  lock.held_by = holder.thread.tid;
  lock.holder_name = holder.thread.name;
  if (!found.holder_frame) return lock;
  const RawFrame& frame = holder.stack.walk.frames[*found.holder_frame];
  lock.taken_in = code_of(draft, frame);
  if (lock.taken_in && found.taken_at_unit) {
    lock.taken_at = draft.codes.location(frame.executable, *found.taken_at_unit).position.line;
  }
  return lock;
}

/// The wanted threads, and all that they wait for.
std::vector<bool> reached_by_wanted(const Draft& draft) {
  std::vector<bool> reached(draft.threads.size());
  std::vector<std::size_t> left;
  const auto add = [&](std::size_t index) {
    if (index >= reached.size() || reached[index]) return;
    reached[index] = true;
    left.push_back(index);
  };
  for (std::size_t i = 0; i < draft.wanted; ++i)
    add(i);
  while (!left.empty()) {
    const std::size_t index = left.back();
    left.pop_back();
    if (index >= draft.locks.size() || !draft.locks[index]) continue;
    for (const std::size_t waker : draft.locks[index]->wakers())
      add(waker);
  }
  return reached;
}

/// The outermost of the library's functions in which a thread waits; null if it waits in none.
const StandardWait* library_wait(const Draft& draft, const ThreadDraft& thread) {
  const StandardWait* outermost = nullptr;
  bool handing_on = false;
  for (const RawFrame& frame : thread.stack.walk.frames) {
    if (frame.is_entry()) continue;
    if (!draft.codes.knows(frame.executable)) break;
    const StandardWait* wait = find_standard_wait(draft.codes.at(frame.executable).code);
    // A function that only calls one that waits doesn't wait by itself.
    if (wait == nullptr || (outermost == nullptr && wait->place == WaitPlace::Caller)) break;
    if (handing_on && wait->kind == WaitKind::Idle) break;
    handing_on = handing_on || hands_on(*wait);
    outermost = wait;
  }
  return outermost;
}

/// Whether processes that wait for each other's messages are but at rest: a pool without work,
/// whose workers wait for tasks, or for the lock of the worker that reads them, and whose parent
/// waits for results. Not so if a thread of the process waits for something that was to happen: for
/// a result, the end of a child, a message.
bool is_at_rest(Draft& draft, const ProcessDeadlock& found) {
  bool any_message = false;
  for (const ProcessWait& wait : found.cycle) {
    if (!wait.for_message && wait.kind != ProcessWaitKind::Semaphore) return false;
    any_message = any_message || wait.for_message;
  }
  if (!any_message) return false;
  if (draft.locks.empty()) read_other_stacks(draft);
  return std::all_of(draft.threads.begin(), draft.threads.end(), [&](const ThreadDraft& thread) {
    const StandardWait* wait = library_wait(draft, thread);
    if (wait == nullptr) return thread.stack.walk.frames.empty();
    const std::string_view name = wait->qualified_name;
    if (wait->kind == WaitKind::Idle || (wait->kind == WaitKind::Intake && name != "*.select"))
      return true;
    return name == "Event.wait" || name == "Condition.wait" || name == "Condition.wait_for" ||
           name == "_shutdown";
  });
}

const char* name_of(ProcessWaitKind kind) {
  switch (kind) {
    case ProcessWaitKind::Child:
      return "child process";
    case ProcessWaitKind::Pipe:
      return "pipe";
    case ProcessWaitKind::Socket:
      return "unix socket";
    case ProcessWaitKind::Semaphore:
      return "semaphore";
  }
  return "";
}

}  // namespace

void find_lock_waits(Draft& draft) {
  const auto waits = [&](std::size_t i) { return futex_of(draft, draft.threads[i]).has_value(); };
  bool any = false;
  for (std::size_t i = 0; i < draft.wanted && !any; ++i)
    any = waits(i);
  if (!any) return;
  read_other_stacks(draft);
  std::vector<LockThread> threads;
  for (const ThreadDraft& thread : draft.threads) {
    threads.push_back({thread.interpreter->at, thread.raw->at, thread.thread.ident,
                       &thread.stack.walk, thread.thread.consistent, futex_of(draft, thread)});
  }
  const PageCache cache(draft.memory);
  const Reader reader(cache, draft.offsets());
  draft.locks = find_locks(draft.memory, reader, draft.codes, threads);
}

void confirm_lock_waits(Draft& draft) {
  if (draft.locks.empty()) return;
  std::vector<GraphThread> graph;
  for (const ThreadDraft& thread : draft.threads)
    graph.push_back({thread.interpreter->at, *thread.raw, thread.thread.tid});
  const WaitCycles cycles = find_deadlocks(draft.memory, draft.runtime, draft.codes, draft.target,
                                           graph, draft.locks, draft.log);
  for (const auto& cycle : cycles.dissolved) {
    for (const std::size_t index : cycle)
      draft.locks[index].reset();
  }
  for (std::size_t i = 0; i < draft.wanted; ++i) {
    if (draft.locks[i])
      draft.threads[i].thread.lock = describe_lock(draft, *draft.locks[i], draft.threads[i]);
  }
  tell_forked_locks(draft);
  const std::vector<bool> leads = reached_by_wanted(draft);
  for (const auto& cycle : cycles.deadlocks) {
    // A deadlock is told if a wanted thread is in it, or waits for one that is.
    if (std::none_of(cycle.begin(), cycle.end(), [&](std::size_t index) { return leads[index]; })) {
      continue;
    }
    Deadlock& deadlock = draft.snapshot.deadlocks.emplace_back();
    for (const std::size_t index : cycle) {
      const ThreadDraft& member = draft.threads[index];
      deadlock.cycle.push_back({.tid = member.thread.tid,
                                .name = member.thread.name,
                                .lock = describe_lock(draft, *draft.locks[index], member),
                                .thread_state = member.thread.thread_state});
    }
  }
}

void describe_waits(Draft& draft, bool surroundings) {
  std::vector<const Task*> tasks;
  std::vector<Thread*> blocked;
  const auto add = [&](Thread& thread, std::uint64_t native_id) {
    if (thread.state != ThreadState::Blocked || thread.runs_in) return;
    const Task* task = find_task(draft, native_id);
    if (task == nullptr) return;
    tasks.push_back(task);
    blocked.push_back(&thread);
  };
  for (std::size_t i = 0; i < draft.wanted; ++i)
    add(draft.threads[i].thread, draft.threads[i].raw->native_id);
  for (Thread& thread : draft.bare_threads)
    add(thread, static_cast<std::uint64_t>(thread.namespace_tid));
  const LivingProcess* living = draft.target.living();
  auto waits =
      read_waits(tasks, draft.memory,
                 living == nullptr || !surroundings ? nullptr : living->process(), draft.log);
  for (std::size_t i = 0; i < blocked.size(); ++i)
    blocked[i]->wait = std::move(waits[i]);
}

void find_process_deadlocks(Draft& draft) {
  const LivingProcess* living = draft.target.living();
  if (living == nullptr || living->process() == nullptr || !draft.snapshot.deadlocks.empty())
    return;
  const auto found = find_process_deadlock(*living->process(), draft.tasks, draft.log);
  if (!found || is_at_rest(draft, *found)) return;
  const std::vector<ProcessWait>* cycle = &found->cycle;
  Deadlock& deadlock = draft.snapshot.deadlocks.emplace_back();
  deadlock.handlers = found->handlers;
  for (std::size_t i = 0; i < cycle->size(); ++i) {
    const ProcessWait& wait = (*cycle)[i];
    Deadlock::Member member{.tid = wait.tid,
                            .name = {},
                            .lock = {},
                            .pid = wait.pid,
                            .process = wait.name,
                            .waits = wait.words};
    const auto wanted_end = draft.threads.begin() + static_cast<std::ptrdiff_t>(draft.wanted);
    const auto entry =
        std::find_if(draft.threads.begin(), wanted_end, [&](const ThreadDraft& thread) {
          return thread.thread.tid == wait.tid && !thread.thread.runs_in;
        });
    if (entry != wanted_end) {
      const Thread& thread = entry->thread;
      member.name = thread.name;
      if (thread.lock) member.lock = *thread.lock;
      const auto frame = std::find_if(thread.frames.begin(), thread.frames.end(),
                                      [](const Frame& f) { return f.code.has_value(); });
      if (frame != thread.frames.end() && !member.lock.waits_in) {
        member.lock.waits_in = frame->code;
        member.lock.waits_at = frame->position.line;
      }
    }
    if (member.lock.type.empty()) member.lock.type = name_of(wait.kind);
    member.lock.held = Held::ByThread;
    member.lock.held_by = (*cycle)[(i + 1) % cycle->size()].tid;
    deadlock.cycle.push_back(std::move(member));
  }
}

}  // namespace pyscope
