#include "passes/threads.hpp"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "memory/page_cache.hpp"
#include "passes/locks.hpp"
#include "process/words.hpp"
#include "pyscope/command_hint.hpp"
#include "python/reader.hpp"

namespace pyscope {
namespace {

using Names = std::unordered_map<std::uint64_t, std::string>;

/// Reads the interpreters, then the GILs, then the threads from a fresh copy of the memory. The
/// order matters: of a thread that didn't have the GIL between this look at the GILs and the next
/// one, all that is read in between held still.
Result<void> read_lists(Draft& draft) {
  // A list can change while it is followed, above all where threads come and go. It is read again
  // until it has no contradiction. After the last try, the part is taken that could be read.
  constexpr int kMaxAttempts = 30;
  if (draft.runtime.shut_down) {
    draft.raw = {};
    draft.raw.finalizing = true;
    return {};
  }
  for (int attempt = 1;; ++attempt) {
    const PageCache cache(draft.memory);
    auto raw = read_interpreters(Reader(cache, draft.offsets()), draft.runtime.at);
    if (raw) {
      draft.gils = read_gils(draft.memory, draft.offsets(), *raw);
      const PageCache thread_cache(draft.memory);
      read_threads(Reader(thread_cache, draft.offsets()), draft.memory, *raw);
    }
    const bool settled =
        raw ? raw->warnings.empty() || raw->over_limit
            : raw.error().kind != ErrorKind::Fault && raw.error().kind != ErrorKind::Malformed;
    if (settled || attempt == kMaxAttempts || draft.deadline.has_passed()) {
      if (!raw) return fail(std::move(raw).error());
      draft.raw = *std::move(raw);
      return {};
    }
    draft.log("the lists of threads changed while they were followed, try {}", attempt);
  }
}

/// What the kernel says of each thread now.
void list_tasks(Draft& draft) {
  draft.tasks = draft.instant != nullptr ? draft.instant->tasks
                                         : draft.target.threads(ThreadDetail::SystemCalls);
  draft.listed_again = draft.instant != nullptr;
  for (const Task& task : draft.tasks)
    draft.task_of.emplace(task.namespace_tid, task);
}

/// Holds all Python threads, and lists them again now that they can't come and go.
Result<void> hold_all_threads(Draft& draft) {
  Result<void> read = read_lists(draft);
  bool first = true;
  draft.holds.hold_all(
      [&] {
        if (!first) {
          draft.listed_again = false;
          read = read_lists(draft);
        }
        std::vector<pid_t> tids;
        if (!read) return tids;
        for (const RawInterpreter& interpreter : draft.raw.interpreters) {
          for (const RawThread& thread : interpreter.threads) {
            if (const Task* task = find_task(draft, thread.native_id)) tids.push_back(task->tid);
          }
        }
        if (draft.options.native == Native::All) {
          // Which of them run Python is known only when they stand.
          for (const Task& task : draft.tasks)
            tids.push_back(task.tid);
        }
        first = false;
        return tids;
      },
      draft.log);
  for (Task& task : draft.tasks) {
    task = as_held(draft, task);
    draft.task_of[task.namespace_tid] = task;
  }
  return read;
}

void copy_task(const Task& task, Thread& thread) {
  thread.tid = task.tid;
  thread.namespace_tid = task.namespace_tid;
  thread.os_name = task.os_name;
  thread.os_state = task.state;
  thread.cpu_time_us = task.cpu_time_us;
  thread.run_delay_us = task.run_delay_us;
  thread.system_call = task.system_call ? std::optional(task.system_call->number) : std::nullopt;
}

bool is_asleep(char os_state) {
  return std::string_view("SDITt").find(os_state) != std::string_view::npos;
}

RemoteRange gil_place(const Draft& draft, const RawInterpreter& interpreter) {
  const DebugOffsets& offsets = draft.offsets();
  const std::uint64_t begin = offsets[Field::GilCond];
  return {interpreter.gil + begin, offsets[Field::GilSize] - begin};
}

void describe_gil(const Draft& draft, const ThreadDraft& entry, const Task* task, Thread& thread) {
  const RawThread& raw = *entry.raw;
  const RawInterpreter& interpreter = *entry.interpreter;
  if (thread.runs_in) {
    thread.holds_gil = false;
    thread.waits_for_gil = false;
    return;
  }
  const auto gil = draft.told_gils.find(interpreter.gil.raw());
  if (gil == draft.told_gils.end()) return;
  const GilMoment& moment = gil->second;
  thread.holds_gil = moment.locked == 1 && moment.last_holder == raw.at;
  const auto slept_on_gil = sleeps_on_gil(draft, interpreter, task);
  if (*thread.holds_gil) {
    thread.waits_for_gil = false;
  } else if (slept_on_gil.value_or(false)) {
    // Only a thread that waits for the GIL sleeps there, whatever the GIL's state is by now.
    thread.waits_for_gil = true;
  } else if (raw.gil_requested && !entry.described_again) {
    thread.waits_for_gil = *raw.gil_requested;
  } else {
    // While nobody has the GIL, only a thread that sleeps can wait for it.
    thread.waits_for_gil = moment.locked == 1 ? slept_on_gil : false;
  }
}

// The facts of a thread other than its name and its frames.
void describe_thread(Draft& draft, ThreadDraft& entry) {
  const RawThread& raw = *entry.raw;
  const RawInterpreter& interpreter = *entry.interpreter;
  Thread& thread = entry.thread;
  thread.ident = raw.ident;
  thread.thread_state = raw.at.raw();
  thread.interpreter = interpreter.id;
  const Task* task = find_task(draft, raw.native_id);
  if (task != nullptr) {
    copy_task(*task, thread);
  } else {
    // Python's record outlives a thread for a moment when the thread ends, and for longer in the
    // child of a fork.
    thread.namespace_tid = static_cast<pid_t>(raw.native_id);
    thread.os_state = 'X';
  }
  if (interpreter.id == 0) {
    thread.main = interpreter.threads_main ? raw.at == interpreter.threads_main
                                           : thread.namespace_tid == draft.facts.namespace_pid;
  }
  describe_gil(draft, entry, task, thread);
  const char os_state = thread.os_state.value_or('?');
  const bool asleep = is_asleep(os_state);
  if (os_state != 'R' && !asleep) {
    thread.state = ThreadState::Unknown;  // ended, or a state that no kernel had so far
  } else if (thread.waits_for_gil.value_or(false)) {
    thread.state = ThreadState::WaitingForGil;
  } else if (thread.holds_gil.value_or(false) &&
             sleeps_on_gil(draft, interpreter, task).value_or(false)) {
    thread.state = ThreadState::Running;  // it has got the GIL since it was seen asleep
  } else {
    thread.state = asleep ? ThreadState::Blocked : ThreadState::Running;
  }
}

/// Finds out which state an OS thread that has several of them executes for.
void find_executing_states(Draft& draft) {
  std::unordered_map<std::uint64_t, std::vector<ThreadDraft*>> states;
  for (ThreadDraft& thread : draft.threads)
    states[thread.raw->native_id].push_back(&thread);
  for (const auto& [native_id, of_thread] : states) {
    if (of_thread.size() == 1) continue;
    const auto attached_last = [](const ThreadDraft* state) { return state->raw->attached_last; };
    const auto executing = std::find_if(of_thread.begin(), of_thread.end(), attached_last);
    // The thread may have passed from one state to another while these were read.
    const bool known = std::count_if(of_thread.begin(), of_thread.end(), attached_last) == 1;
    for (ThreadDraft* state : of_thread) {
      state->shares_thread = !known;
      if (known && state != *executing) state->thread.runs_in = (*executing)->interpreter->id;
    }
  }
}

/// Of several records whose threads aren't there, that of the first thread: it goes on with the
/// stack of the thread that forked. The stack pointer is in the main thread's stack, or in that of
/// the thread whose ident (the address of the C library's record, at the stack's end) is in it,
/// too.
std::optional<std::uint64_t> record_of_first_thread(const Draft& draft, const Process& process,
                                                    const std::vector<const RawThread*>& stale) {
  if (stale.size() == 1) return stale.front()->native_id;
  const auto text = process.read_file(fmt::format("task/{}/syscall", process.pid()).c_str());
  if (!text) return std::nullopt;
  // "230 0x1 0x0 0x7f… 0x0 0x0 0x0 0x7ffd… 0x7f…": the two last words are the stack pointer and
  // where the thread is.
  std::string_view rest(*text);
  while (rest.ends_with('\n'))
    rest.remove_suffix(1);
  rest = rest.substr(0, rest.rfind(' '));
  std::string_view word = rest.substr(rest.rfind(' ') + 1);
  if (!word.starts_with("0x")) return std::nullopt;
  word.remove_prefix(2);
  const auto pointer = to_number<std::uint64_t>(word, 16);
  const auto maps = process.maps();
  const Mapping* stack = pointer && maps ? find_mapping(*maps, RemoteAddr{*pointer}) : nullptr;
  if (stack == nullptr) return std::nullopt;
  const RawThread* found = nullptr;
  for (const RawThread* thread : stale) {
    // The main thread's record was made first, and is the last of the list.
    const bool fits = stack->path == "[stack]"
                          ? draft.raw.interpreters.front().threads.back().at == thread->at
                          : stack->range.contains(RemoteAddr{thread->ident});
    if (!fits) continue;
    if (found != nullptr) return std::nullopt;
    found = thread;
  }
  return found == nullptr ? std::nullopt : std::optional(found->native_id);
}

/// Of a process only the thread that forked goes on in the child, as the child's first one. A fork
/// in C leaves the records of all threads, with the native ids that they have in the parent
/// (uWSGI's workers).
void find_forked_thread(Draft& draft) {
  const LivingProcess* living = draft.target.living();
  const auto has_record = [&](pid_t tid) {
    return std::any_of(draft.threads.begin(), draft.threads.end(), [&](const ThreadDraft& thread) {
      return thread.raw->native_id == static_cast<std::uint64_t>(tid);
    });
  };
  const pid_t first = draft.facts.namespace_pid;
  if (living == nullptr || living->process() == nullptr || has_record(first)) return;
  std::vector<const RawThread*> stale;
  for (const ThreadDraft& thread : draft.threads) {
    const std::uint64_t id = thread.raw->native_id;
    if (find_task(draft, id) != nullptr) continue;
    const bool known = std::any_of(stale.begin(), stale.end(),
                                   [&](const RawThread* raw) { return raw->native_id == id; });
    if (!known) stale.push_back(thread.raw);
  }
  if (stale.empty() || find_task(draft, static_cast<std::uint64_t>(first)) == nullptr ||
      !living->process()->forked_without_exec()) {
    return;
  }
  const auto id = record_of_first_thread(draft, *living->process(), stale);
  if (!id || *id == 0 || *id > static_cast<std::uint64_t>(std::numeric_limits<pid_t>::max()))
    return;
  draft.id_before_fork = static_cast<pid_t>(*id);
}

void collect_threads(Draft& draft) {
  for (const RawInterpreter& interpreter : draft.raw.interpreters) {
    // Linked newest first; shown in the order of their creation.
    for (auto raw = interpreter.threads.rbegin(); raw != interpreter.threads.rend(); ++raw) {
      ThreadDraft& thread = draft.threads.emplace_back();
      thread.interpreter = &interpreter;
      thread.raw = &*raw;
    }
  }
  find_forked_thread(draft);
  find_executing_states(draft);
  for (ThreadDraft& thread : draft.threads) {
    describe_thread(draft, thread);
    thread.described_again =
        draft.instant != nullptr && draft.instant->described.contains(thread.thread.tid);
    draft.tid_of_state.emplace(thread.raw->at.raw(), thread.thread.tid);
  }
  draft.wanted = draft.threads.size();
}

/// The threads that Python knows nothing of, if they are wanted. While Python shuts down, and
/// after, it forgets threads that are still there.
void list_bare_threads(Draft& draft) {
  if (draft.options.native == Native::Off) return;
  if (draft.options.native != Native::All && !draft.raw.finalizing) return;
  std::unordered_set<pid_t> known;
  for (const ThreadDraft& thread : draft.threads)
    known.insert(thread.thread.tid);
  for (const Task& task : draft.tasks) {
    if (known.contains(task.tid)) continue;
    Thread thread;
    copy_task(task, thread);
    thread.state = is_asleep(task.state) ? ThreadState::Blocked
                   : task.state == 'R'   ? ThreadState::Running
                                         : ThreadState::Unknown;
    thread.python = false;
    draft.bare_threads.push_back(std::move(thread));
  }
}

void tell_names_missing(Draft& draft, const RawInterpreter& interpreter, std::string_view reason) {
  draft.snapshot.capture.complete = false;
  draft.snapshot.warnings.push_back(fmt::format(
      "interpreter {}: names of threads could not be read: {}", interpreter.id, reason));
}

// The dict of threads is rebuilt now and then while they come and go.
Result<Names> read_names(Draft& draft, const RawInterpreter& interpreter) {
  constexpr int kMaxAttempts = 8;
  for (int attempt = 1;; ++attempt) {
    // Bound: looks at memory for the names of threads
    constexpr std::uint64_t kMostWork = std::uint64_t{1} << 24U;
    const PageCache cache(draft.memory, PageCache::kMostBytes, kMostWork);
    auto names = read_thread_names(Reader(cache, draft.offsets()), draft.memory, interpreter);
    if (names && cache.failures() == 0) return names;
    if (attempt < kMaxAttempts) continue;
    if (names) tell_names_missing(draft, interpreter, "some of their memory can't be read");
    return names;
  }
}

/// Whether a thread is gone, in the child of a fork in C, and a later one has got its ident.
bool is_succeeded(const Draft& draft, const ThreadDraft& thread) {
  return thread.thread.tid == 0 &&
         std::any_of(draft.threads.begin(), draft.threads.end(), [&](const ThreadDraft& other) {
           return other.thread.tid != 0 && other.thread.ident == thread.thread.ident;
         });
}

/// "MainThread" is the main thread, whatever the program calls its threads.
bool matches(const Thread& thread, const std::string& wanted) {
  if (wanted == "MainThread" && (thread.main || thread.name == wanted)) return thread.main;
  const auto& name = thread.python ? thread.name : thread.os_name;
  return name == wanted || (thread.tid != 0 && fmt::to_string(thread.tid) == wanted);
}

}  // namespace

const Task* find_task(Draft& draft, std::uint64_t native_id) {
  if (native_id > static_cast<std::uint64_t>(std::numeric_limits<pid_t>::max())) return nullptr;
  auto key = static_cast<pid_t>(native_id);
  if (key == draft.id_before_fork) key = draft.facts.namespace_pid;
  auto found = draft.task_of.find(key);
  if (found == draft.task_of.end() && !draft.listed_again) {
    draft.listed_again = true;  // a thread that was started after the first listing
    for (const Task& task : draft.target.threads(ThreadDetail::SystemCalls))
      draft.task_of.emplace(task.namespace_tid, task);
    found = draft.task_of.find(key);
  }
  return found == draft.task_of.end() ? nullptr : &found->second;
}

std::optional<bool> sleeps_on_gil(const Draft& draft, const RawInterpreter& interpreter,
                                  const Task* task) {
  if (task != nullptr && task->state == 'R') return false;
  if (task == nullptr || !task->system_call || !interpreter.gil) return std::nullopt;
  const SystemCall& call = *task->system_call;
  const bool within = gil_place(draft, interpreter).contains(RemoteAddr{call.arguments[0]});
  // A wait that was held goes on as another system call, with the arguments that it had. No other
  // call that does so has an address of the GIL's.
  if (call.number == SYS_restart_syscall) return within ? std::optional(true) : std::nullopt;
  return call.number == SYS_futex && within;
}

std::optional<FutexWait> futex_of(Draft& draft, const ThreadDraft& thread) {
  if (thread.thread.state != ThreadState::Blocked) return std::nullopt;
  if (thread.thread.runs_in || thread.shares_thread) return std::nullopt;
  const Task* task = find_task(draft, thread.raw->native_id);
  if (task == nullptr || !task->system_call) return std::nullopt;
  auto wait = futex_wait(*task->system_call);
  if (wait && gil_place(draft, *thread.interpreter).contains(wait->word)) return std::nullopt;
  return wait;
}

Task as_held(const Draft& draft, Task task) {
  const Registers* registers = draft.holds.registers(task.tid);
  // One that a signal had stopped before stays so.
  if (registers == nullptr || task.state == 'T') return task;
  const auto interrupted = registers->interrupted_call();
  task.system_call.reset();
  task.state = interrupted ? 'S' : 'R';
  if (interrupted) {
    task.system_call = SystemCall{interrupted->number, interrupted->arguments};
  }
  return task;
}

void describe_again(Draft& draft, ThreadDraft& entry, const Task& task) {
  draft.task_of[task.namespace_tid] = task;
  entry.described_again = true;
  describe_thread(draft, entry);
}

void drop_unproven_states(Draft& draft, std::span<ThreadDraft> threads) {
  const LivingProcess* living = draft.target.living();
  if (living == nullptr) return;
  for (ThreadDraft& entry : threads) {
    Thread& thread = entry.thread;
    const bool waits =
        thread.state == ThreadState::Blocked || thread.state == ThreadState::WaitingForGil;
    // By the GIL: the first look at which was before the kernel was asked. But for a moment whose
    // memory was copied, the kernel was asked before that moment.
    const bool asked_within = entry.stack.proof == Proof::Gil && draft.instant == nullptr;
    if (!waits || entry.described_again || asked_within || thread.tid == 0 ||
        draft.holds.holds(thread.tid)) {
      continue;
    }
    const Task* task = find_task(draft, entry.raw->native_id);
    if (task == nullptr || !task->times_scheduled) continue;
    if (living->times_scheduled(thread.tid) == task->times_scheduled) continue;
    thread.state = ThreadState::Unknown;
    thread.waits_for_gil.reset();
    thread.system_call.reset();
  }
}

Result<void> list_threads(Draft& draft) {
  const bool hold = draft.options.pause == Pause::All;
  if (hold) list_tasks(draft);
  auto read = hold ? hold_all_threads(draft) : read_lists(draft);
  if (!read) return read;
  draft.told_gils = draft.gils;
  // After the first look at the GILs: what the kernel says then is of the time in which a thread
  // provably didn't run Python code.
  if (!hold) list_tasks(draft);
  draft.snapshot.finalizing = draft.raw.finalizing;
  draft.snapshot.shut_down = draft.runtime.shut_down;
  draft.snapshot.warnings = draft.raw.warnings;
  draft.snapshot.capture.complete = draft.raw.warnings.empty();
  collect_threads(draft);
  list_bare_threads(draft);
  return {};
}

void name_threads(Draft& draft) {
  const PageCache cache(draft.memory);
  const Reader reader(cache, draft.offsets());
  for (const RawInterpreter& interpreter : draft.raw.interpreters) {
    if (!draft.snapshot.python.debug_build) {
      draft.snapshot.python.debug_build = read_debug_build(reader, interpreter);
    }
    if (interpreter.threads.empty()) continue;
    const auto names = read_names(draft, interpreter);
    if (!names) {
      tell_names_missing(draft, interpreter, names.error().message);
      continue;
    }
    for (ThreadDraft& thread : draft.threads) {
      if (thread.interpreter != &interpreter) continue;
      const auto name = names->find(thread.thread.ident);
      if (name != names->end() && !is_succeeded(draft, thread)) thread.thread.name = name->second;
    }
  }
}

Result<void> select_threads(Draft& draft) {
  const auto& names = draft.options.threads;
  if (names.empty()) return {};
  std::string unknown;
  for (const std::string& wanted : names) {
    const bool known =
        std::any_of(draft.threads.begin(), draft.threads.end(),
                    [&](const ThreadDraft& thread) { return matches(thread.thread, wanted); }) ||
        std::any_of(draft.bare_threads.begin(), draft.bare_threads.end(),
                    [&](const Thread& thread) { return matches(thread, wanted); });
    if (!known) unknown += (unknown.empty() ? "" : ", ") + wanted;
  }
  if (!unknown.empty() && !draft.snapshot.capture.complete) {
    return fail(ErrorKind::Malformed,
                fmt::format("process {}: {} can't be found: not all threads and their names could "
                            "be read",
                            draft.facts.pid, unknown),
                "give the thread's tid instead of its name");
  }
  if (!unknown.empty()) {
    return fail(ErrorKind::Usage,
                fmt::format("process {} has no Python thread {}", draft.facts.pid, unknown),
                CommandHint{.action = CommandHint::Action::ListThreads, .pid = draft.facts.pid});
  }
  const auto is_wanted = [&](const Thread& thread) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& wanted) { return matches(thread, wanted); });
  };
  std::erase_if(draft.bare_threads, [&](const Thread& thread) { return !is_wanted(thread); });
  const auto others =
      std::stable_partition(draft.threads.begin(), draft.threads.end(),
                            [&](const ThreadDraft& thread) { return is_wanted(thread.thread); });
  draft.wanted = static_cast<std::size_t>(others - draft.threads.begin());
  return {};
}

// A thread that had ended before it was listed, and still has its record, is shown as ended.
void drop_ended_threads(Draft& draft) {
  const auto wanted_end = draft.threads.begin() + static_cast<std::ptrdiff_t>(draft.wanted);
  const bool all_stood = std::all_of(draft.threads.begin(), wanted_end,
                                     [](const ThreadDraft& t) { return t.thread.consistent; });
  if (all_stood) return;
  std::unordered_set<pid_t> alive;
  for (const Task& task : draft.target.threads(ThreadDetail::Scheduling))
    alive.insert(task.namespace_tid);
  const auto kept = std::remove_if(draft.threads.begin(), wanted_end, [&](const ThreadDraft& t) {
    if (t.thread.consistent || alive.contains(t.thread.namespace_tid)) return false;
    draft.snapshot.warnings.push_back(
        fmt::format("thread {} ended while it was read", t.thread.namespace_tid));
    return true;
  });
  draft.wanted = static_cast<std::size_t>(kept - draft.threads.begin());
  draft.threads.erase(kept, wanted_end);
}

std::vector<Interpreter> describe_interpreters(const Draft& draft) {
  std::vector<Interpreter> interpreters;
  for (const RawInterpreter& raw : draft.raw.interpreters) {
    Interpreter& interpreter = interpreters.emplace_back();
    interpreter.id = raw.id;
    interpreter.collecting_garbage = raw.collecting_garbage;
    const auto gil = draft.told_gils.find(raw.gil.raw());
    if (gil == draft.told_gils.end() || gil->second.locked != 1) continue;
    const auto holder = draft.tid_of_state.find(gil->second.last_holder.raw());
    if (holder != draft.tid_of_state.end() && holder->second != 0)
      interpreter.gil_held_by = holder->second;
  }
  return interpreters;
}

}  // namespace pyscope
