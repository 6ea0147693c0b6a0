#include "session/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "frames/frames.hpp"
#include "frames/locals.hpp"
#include "memory/page_cache.hpp"
#include "passes/locks.hpp"
#include "passes/native_frames.hpp"
#include "passes/stacks.hpp"
#include "passes/waits.hpp"
#include "process/process_deadlock.hpp"
#include "python/code.hpp"
#include "python/reader.hpp"
#include "python/runtime_state.hpp"
#include "values/secrets.hpp"

namespace pyscope {
namespace {

#if defined(__x86_64__)
constexpr std::int64_t kFutex = 202;
#elif defined(__aarch64__)
constexpr std::int64_t kFutex = 98;
#else
#error "the number of the futex system call on this machine is needed"
#endif

using Names = std::unordered_map<std::uint64_t, std::string>;

/// A thread state with what is found out about it on the way to the model.
struct Candidate {
  const RawInterpreter* interpreter = nullptr;
  const RawThread* raw = nullptr;
  Thread thread;
  StackReading stack;
  std::vector<std::size_t>
      raw_frames;  // for each of the thread's frames, which of the stack's it is
};

class SnapshotReader {
 public:
  SnapshotReader(const Memory& memory, const Runtime& runtime, const ProcessFacts& facts,
                 const ThreadSource& threads, const CaptureOptions& options, const Log& log)
      : memory_(memory),
        runtime_(runtime),
        facts_(facts),
        threads_(threads),
        options_(options),
        log_(log),
        codes_(memory, runtime.offsets),
        paused_(threads) {
    if (options.native != Native::Off) {
      native_.emplace();
      // Before anything stands still.
      if (threads.maps) maps_ = threads.maps();
    }
    for (const Task& task : facts.tasks)
      tasks_.emplace(task.namespace_tid, task);
  }

  Result<LocatedSnapshot> read() {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    copy_facts();
    auto raw = list_threads();
    if (native_) native_->maps = maps_;
    if (raw && options_.pause == Pause::All) raw = hold_all(*std::move(raw));
    if (!raw) return fail(std::move(raw).error());
    snapshot_.finalizing = raw->finalizing;
    snapshot_.warnings = raw->warnings;
    snapshot_.capture.complete = raw->warnings.empty();
    collect_candidates(*raw);
    list_bare_threads();
    if (options_.threads.empty()) {
      walk_stacks(*raw);
      resolve_frames(*raw);
      read_names(*raw);
    } else {
      read_names(*raw);
      if (auto ok = select_threads(); !ok) return fail(std::move(ok).error());
      walk_stacks(*raw);
      resolve_frames(*raw);
    }
    paused_.release();  // if nothing has yet
    snapshot_.capture.paused_us = paused_.microseconds();
    snapshot_.capture.paused_threads = paused_.threads();
    drop_ended_threads();
    describe_waits();
    read_locks(*raw);
    find_process_deadlock();
    snapshot_.codes = codes_.codes();
    for (const RawInterpreter& interpreter : raw->interpreters) {
      snapshot_.interpreters.push_back(describe(interpreter));
    }
    LocatedSnapshot located;
    for (Candidate& candidate : candidates_) {
      auto& frames = located.frames.emplace_back();
      for (const std::size_t raw_frame : candidate.raw_frames)
        frames.push_back(candidate.stack.walk.frames[raw_frame]);
      snapshot_.threads.push_back(std::move(candidate.thread));
    }
    if (native_) add_native_frames(located);
    CaptureStats& stats = snapshot_.capture;
    stats.consistent =
        stats.complete &&
        std::all_of(snapshot_.threads.begin(), snapshot_.threads.end(),
                    [](const Thread& thread) {
                      return thread.consistent && thread.error.empty() &&
                             thread.native_error.empty();
                    }) &&
        std::all_of(snapshot_.locals.begin(), snapshot_.locals.end(),
                    [](const Locals& locals) { return locals.consistent && locals.error.empty(); });
    stats.duration_us =
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin).count();
    located.snapshot = std::move(snapshot_);
    located.runtime = *std::move(raw);
    return located;
  }

 private:
  void copy_facts() {
    snapshot_.captured_at = facts_.captured_at;
    snapshot_.host = facts_.host;
    snapshot_.pid = facts_.pid;
    snapshot_.namespace_pid = facts_.namespace_pid;
    snapshot_.command =
        options_.values.show_secrets
            ? facts_.command
            : mask_command(facts_.command, SecretNames(options_.values.secret_names));
    snapshot_.executable = facts_.executable;
    snapshot_.started_at = facts_.started_at;
    snapshot_.python.version = runtime_.offsets.version().text();
    snapshot_.python.free_threaded = runtime_.offsets.version().free_threaded;
  }

  const Task* find_task(std::uint64_t native_id) {
    if (native_id > static_cast<std::uint64_t>(std::numeric_limits<pid_t>::max())) return nullptr;
    const auto key = static_cast<pid_t>(native_id);
    auto found = tasks_.find(key);
    if (found == tasks_.end() && !listed_again_) {
      listed_again_ = true;  // a thread that was started after the first listing
      for (const Task& task : threads_.list())
        tasks_.emplace(task.namespace_tid, task);
      found = tasks_.find(key);
    }
    return found == tasks_.end() ? nullptr : &found->second;
  }

  /// The lists of interpreters and threads, and the GILs before them: in this order, and the thread
  /// states from a copy of their own. What is read between this look at the GILs and the next one
  /// held still for every thread that hadn't the GIL in between.
  Result<RawRuntime> list_threads() {
    // A list can change while it is followed, above all where threads come and go. One that was
    // followed to its end without a contradiction is taken; after some tries, what there is of it.
    constexpr int kMaxAttempts = 30;
    for (int attempt = 1;; ++attempt) {
      const PageCache cache(memory_);
      auto raw = read_interpreters(Reader(cache, runtime_.offsets), runtime_.at);
      if (raw) {
        gils_before_ = read_gils(memory_, runtime_.offsets.layout(), *raw);
        const PageCache thread_cache(memory_);
        read_threads(Reader(thread_cache, runtime_.offsets), memory_, *raw);
      }
      const bool settled =
          raw ? raw->warnings.empty()
              : raw.error().kind != ErrorKind::Fault && raw.error().kind != ErrorKind::Malformed;
      if (settled || attempt == kMaxAttempts) return raw;
      log_("the lists of threads changed while they were followed, try {}", attempt);
    }
  }

  /// Holds all Python threads, and lists them again now that they can't come and go.
  Result<RawRuntime> hold_all(RawRuntime raw) {
    // Threads that were started meanwhile; their creators stand by then.
    constexpr int kMaxRounds = 4;
    std::unordered_set<pid_t> asked;
    for (int round = 0; round < kMaxRounds; ++round) {
      std::vector<pid_t> more;
      for (const RawInterpreter& interpreter : raw.interpreters) {
        for (const RawThread& thread : interpreter.threads) {
          const Task* task = find_task(thread.native_id);
          if (task != nullptr && asked.insert(task->tid).second) more.push_back(task->tid);
        }
      }
      if (more.empty()) break;
      if (round == 0 && options_.native == Native::All) {
        // Which of them run Python is known only when they stand.
        for (const Task& task : facts_.tasks) {
          if (asked.insert(task.tid).second) more.push_back(task.tid);
        }
      }
      paused_.hold(more, native_.has_value(), log_);
      listed_again_ = false;
      auto again = list_threads();
      if (!again) return again;
      raw = *std::move(again);
    }
    return raw;
  }

  void collect_candidates(const RawRuntime& raw) {
    for (const RawInterpreter& interpreter : raw.interpreters) {
      // Linked newest first; shown in the order of their creation.
      for (auto thread = interpreter.threads.rbegin(); thread != interpreter.threads.rend();
           ++thread) {
        Candidate candidate{&interpreter, &*thread, {}, {}, {}};
        describe(candidate);
        holders_.emplace(thread->at.raw(), candidate.thread.tid);
        candidates_.push_back(std::move(candidate));
      }
    }
  }

  /// The threads that Python knows nothing of, if they are wanted.
  void list_bare_threads() {
    if (options_.native != Native::All) return;
    std::unordered_set<pid_t> known;
    for (const Candidate& candidate : candidates_)
      known.insert(candidate.thread.tid);
    for (const Task& task : facts_.tasks) {
      if (known.contains(task.tid)) continue;
      Thread thread;
      copy_task(task, thread);
      thread.state = is_asleep(task.state) ? ThreadState::Blocked
                     : task.state == 'R'   ? ThreadState::Running
                                           : ThreadState::Unknown;
      thread.python = false;
      bare_threads_.push_back(std::move(thread));
    }
  }

  static void copy_task(const Task& task, Thread& thread) {
    thread.tid = task.tid;
    thread.namespace_tid = task.namespace_tid;
    thread.os_name = task.os_name;
    thread.os_state = task.state;
    thread.cpu_time_us = task.cpu_time_us;
    thread.run_delay_us = task.run_delay_us;
    if (task.system_call) thread.system_call = task.system_call->number;
  }

  static bool is_asleep(char os_state) {
    return std::string_view("SDITt").find(os_state) != std::string_view::npos;
  }

  // The facts of a thread other than its name and its frames.
  void describe(Candidate& candidate) {
    const RawThread& raw = *candidate.raw;
    const RawInterpreter& interpreter = *candidate.interpreter;
    Thread& thread = candidate.thread;
    thread.ident = raw.ident;
    thread.interpreter = interpreter.id;
    const Task* task = find_task(raw.native_id);
    if (task != nullptr) {
      copy_task(*task, thread);
    } else {
      // The record outlives the thread for a moment when it ends, and for longer in the child of a
      // fork.
      thread.namespace_tid = static_cast<pid_t>(raw.native_id);
      thread.os_state = 'X';
    }
    if (interpreter.id == 0) {
      thread.main = interpreter.threads_main ? raw.at == interpreter.threads_main
                                             : thread.namespace_tid == facts_.namespace_pid;
    }
    describe_gil(raw, interpreter, task, thread);
    const char os_state = thread.os_state.value_or('?');
    const bool asleep = is_asleep(os_state);
    if (os_state != 'R' && !asleep) {
      thread.state =
          ThreadState::Unknown;  // ended, or a state that no kernel had when this was written
    } else if (thread.waits_for_gil.value_or(false)) {
      thread.state = ThreadState::WaitingForGil;
    } else if (thread.holds_gil.value_or(false) &&
               sleeps_on_gil(interpreter, task).value_or(false)) {
      thread.state = ThreadState::Running;  // it has got the GIL since it was seen asleep
    } else {
      thread.state = asleep ? ThreadState::Blocked : ThreadState::Running;
    }
  }

  void describe_gil(const RawThread& raw, const RawInterpreter& interpreter, const Task* task,
                    Thread& thread) const {
    const auto gil = gils_before_.find(interpreter.gil.raw());
    if (gil == gils_before_.end()) return;
    const GilMoment& moment = gil->second;
    thread.holds_gil = moment.locked == 1 && moment.last_holder == raw.at;
    const auto slept_on_gil = sleeps_on_gil(interpreter, task);
    if (*thread.holds_gil) {
      thread.waits_for_gil = false;
    } else if (slept_on_gil.value_or(false)) {
      // Whatever the GIL is at this other moment: only who waits for it sleeps there.
      thread.waits_for_gil = true;
    } else if (raw.gil_requested) {
      thread.waits_for_gil = *raw.gil_requested;
    } else {
      // Nobody waits for a GIL that nobody has, other than asleep.
      thread.waits_for_gil = moment.locked == 1 ? slept_on_gil : false;
    }
  }

  // A waiter sleeps on a futex inside of the GIL's condition variable or mutex. Before 3.15 it
  // shows only there. Empty if it isn't known what the thread sleeps on.
  [[nodiscard]] std::optional<bool> sleeps_on_gil(const RawInterpreter& interpreter,
                                                  const Task* task) const {
    if (task != nullptr && task->state == 'R') return false;
    if (task == nullptr || !task->system_call) return std::nullopt;
    return task->system_call->number == kFutex &&
           gil_place(interpreter).contains(RemoteAddr{task->system_call->arguments[0]});
  }

  [[nodiscard]] RemoteRange gil_place(const RawInterpreter& interpreter) const {
    const PythonLayout& layout = runtime_.offsets.layout();
    return {interpreter.gil + layout.gil_condition,
            layout.gil_conditions_end - layout.gil_condition};
  }

  void read_names(const RawRuntime& raw) {
    const PageCache cache(memory_);
    const Reader reader(cache, runtime_.offsets);
    for (const RawInterpreter& interpreter : raw.interpreters) {
      if (!snapshot_.python.debug_build) {
        snapshot_.python.debug_build = read_debug_build(reader, interpreter);
      }
      if (interpreter.threads.empty()) continue;
      const auto names = read_names(interpreter);
      if (!names) {
        tell_names_missing(interpreter, names.error().message);
        continue;
      }
      for (Candidate& candidate : candidates_) {
        if (candidate.interpreter != &interpreter) continue;
        const auto name = names->find(candidate.thread.ident);
        if (name != names->end()) candidate.thread.name = name->second;
      }
    }
  }

  // The dict of threads is rebuilt now and then while they come and go.
  [[nodiscard]] Result<Names> read_names(const RawInterpreter& interpreter) {
    constexpr int kMaxAttempts = 8;
    for (int attempt = 1;; ++attempt) {
      const PageCache cache(memory_);
      auto names = read_thread_names(Reader(cache, runtime_.offsets), memory_, interpreter);
      if (names && cache.failures() == 0) return names;
      if (attempt < kMaxAttempts) continue;
      if (names) tell_names_missing(interpreter, "some of their memory can't be read");
      return names;
    }
  }

  void tell_names_missing(const RawInterpreter& interpreter, std::string_view reason) {
    snapshot_.capture.complete = false;
    snapshot_.warnings.push_back(fmt::format(
        "interpreter {}: names of threads could not be read: {}", interpreter.id, reason));
  }

  Result<void> select_threads() {
    if (options_.threads.empty()) return {};
    std::string unknown;
    for (const std::string& wanted : options_.threads) {
      const bool known =
          std::any_of(candidates_.begin(), candidates_.end(),
                      [&](const Candidate& c) { return matches(c.thread, wanted); }) ||
          std::any_of(bare_threads_.begin(), bare_threads_.end(),
                      [&](const Thread& thread) { return matches(thread, wanted); });
      if (!known) unknown += (unknown.empty() ? "" : ", ") + wanted;
    }
    if (!unknown.empty()) {
      if (!snapshot_.capture.complete) {
        return fail(
            ErrorKind::Malformed,
            fmt::format("process {}: {} can't be found: not all threads and their names could "
                        "be read",
                        facts_.pid, unknown),
            "give the thread's tid instead of its name");
      }
      return fail(ErrorKind::Usage,
                  fmt::format("process {} has no Python thread {}", facts_.pid, unknown),
                  fmt::format("list its threads: pyscope dump {} --frames 1", facts_.pid));
    }
    const auto is_wanted = [&](const Thread& thread) {
      return std::any_of(options_.threads.begin(), options_.threads.end(),
                         [&](const std::string& wanted) { return matches(thread, wanted); });
    };
    std::erase_if(bare_threads_, [&](const Thread& thread) { return !is_wanted(thread); });
    const auto others = std::stable_partition(
        candidates_.begin(), candidates_.end(),
        [&](const Candidate& candidate) { return is_wanted(candidate.thread); });
    others_.assign(std::make_move_iterator(others), std::make_move_iterator(candidates_.end()));
    candidates_.erase(others, candidates_.end());
    return {};
  }

  static bool matches(const Thread& thread, const std::string& wanted) {
    const auto& name = thread.python ? thread.name : thread.os_name;
    return name == wanted || (thread.tid != 0 && fmt::to_string(thread.tid) == wanted);
  }

  void walk_stacks(const RawRuntime& raw) {
    std::vector<StackRequest> requests;
    requests.reserve(candidates_.size());
    for (const Candidate& candidate : candidates_) {
      requests.push_back({candidate.interpreter->gil, *candidate.raw, candidate.thread.tid,
                          candidate.thread.state == ThreadState::Blocked});
    }
    if (native_) {
      for (const Thread& thread : bare_threads_)
        native_->others.push_back(thread.tid);
    }
    auto readings = read_stacks(memory_, runtime_, raw, gils_before_, requests, codes_, threads_,
                                options_, paused_, log_, native_ ? &*native_ : nullptr);
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      Candidate& candidate = candidates_[i];
      candidate.stack = std::move(readings[i]);
      candidate.thread.proof = candidate.stack.proof;
      candidate.thread.consistent = candidate.stack.proof != Proof::None;
      candidate.thread.attempts = candidate.stack.attempts;
      candidate.thread.inconsistency = candidate.stack.doubt;
      snapshot_.capture.attempts = std::max(snapshot_.capture.attempts, candidate.stack.attempts);
    }
  }

  // A thread that ended while it was read has left nothing that could be shown: its thread state is
  // freed memory by now. One that had ended before and whose record still stands is shown as ended.
  void drop_ended_threads() {
    const bool all_stood = std::all_of(candidates_.begin(), candidates_.end(),
                                       [](const Candidate& c) { return c.thread.consistent; });
    if (all_stood) return;
    std::unordered_set<pid_t> alive;
    for (const Task& task : threads_.list())
      alive.insert(task.namespace_tid);
    std::erase_if(candidates_, [&](const Candidate& candidate) {
      const Thread& thread = candidate.thread;
      if (thread.consistent || alive.contains(thread.namespace_tid)) return false;
      snapshot_.warnings.push_back(
          fmt::format("thread {} ended while it was read", thread.namespace_tid));
      return true;
    });
  }

  void resolve_frames(const RawRuntime& raw) {
    for (Candidate& candidate : candidates_)
      resolve_frames(candidate);
    if (options_.locals) read_variables(raw);
  }

  /// The variables of all frames. What could have changed while it was read is read twice.
  void read_variables(const RawRuntime& raw) {
    ReprBudget budget;
    struct Reading {
      Candidate* candidate;
      std::size_t frame;
    };
    std::vector<Reading> readings;
    const auto read = [&](const std::vector<Reading>& which, const auto& take) {
      constexpr std::size_t kMost = std::size_t{128} << 20U;
      const PageCache cache(memory_, kMost);
      const Reader reader(cache, runtime_.offsets);
      ObjectReader objects(reader);
      ReprWriter values(objects, options_.values, budget);
      for (const auto& [candidate, frame] : which) {
        const RawFrame& at = candidate->stack.walk.frames[candidate->raw_frames[frame]];
        const std::size_t failures = cache.failures();
        Locals locals = read_locals(reader, at, values, options_.values);
        // An attribute that wasn't found may be where nothing could be read.
        locals.complete = locals.complete && cache.failures() == failures;
        take(candidate->thread.frames[frame], std::move(locals), is_there(reader, at));
      }
    };
    for (Candidate& candidate : candidates_) {
      for (std::size_t i = 0; i < candidate.thread.frames.size(); ++i) {
        if (candidate.thread.frames[i].code) readings.push_back({&candidate, i});
      }
    }
    read(readings, [&](Frame& frame, Locals locals, bool) {
      frame.locals = static_cast<std::uint32_t>(snapshot_.locals.size());
      snapshot_.locals.push_back(std::move(locals));
    });
    const Gils gils_after = read_gils(memory_, runtime_.offsets.layout(), raw);
    std::erase_if(readings, [&](const Reading& reading) {
      return gil_stood_still(*reading.candidate, gils_after);
    });
    if (readings.empty()) return;
    budget = {};
    read(readings, [&](Frame& frame, const Locals& again, bool is_there) {
      Locals& locals = snapshot_.locals[*frame.locals];
      locals.consistent = is_there && locals.variables == again.variables && locals.error.empty();
    });
  }

  /// Whether a frame that was part of a stack still is one of that function, called by the same
  /// frame: what lies there may be another function's by the time its variables are read.
  [[nodiscard]] bool is_there(const Reader& reader, const RawFrame& frame) const {
    const auto previous = reader.field<std::uint64_t>(frame.at, Field::FramePrevious);
    const auto executable = reader.field<std::uint64_t>(frame.at, Field::FrameExecutable);
    return previous && executable && *previous == frame.previous.raw() &&
           runtime_.offsets.layout().untagged(*executable) == frame.executable.raw();
  }

  [[nodiscard]] bool gil_stood_still(const Candidate& candidate, const Gils& gils_after) const {
    const std::uint64_t gil = candidate.interpreter->gil.raw();
    const auto before = gils_before_.find(gil);
    const auto after = gils_after.find(gil);
    // Whoever has the GIL may change any object, and who had it last may do so without a trace.
    return before != gils_before_.end() && after != gils_after.end() &&
           before->second == after->second && before->second.locked == 0 &&
           after->second.locked == 0;
  }

  void resolve_frames(Candidate& candidate) {
    Thread& thread = candidate.thread;
    // Native frames are put between all frames, and only then are there too many.
    const std::size_t limit =
        native_ ? std::numeric_limits<std::size_t>::max()
                : options_.max_frames.value_or(std::numeric_limits<std::size_t>::max());
    std::size_t functions = 0;
    std::size_t moving = candidate.thread.consistent ? 0 : candidate.stack.moving;
    thread.frames.reserve(candidate.stack.walk.frames.size());
    for (const RawFrame& raw : candidate.stack.walk.frames) {
      const bool moves = moving > 0;
      if (moves) --moving;
      if (functions == limit) {
        // What C code put between the functions, or beneath the last one, is no loss.
        if (raw.is_entry()) continue;
        thread.truncated = true;
        break;
      }
      if (raw.is_entry()) {
        candidate.raw_frames.push_back(
            static_cast<std::size_t>(&raw - candidate.stack.walk.frames.data()));
        Frame& shim = thread.frames.emplace_back();
        shim.kind = FrameKind::Shim;
        shim.moving = moves;
        continue;
      }
      if (auto frame = resolve(raw)) {
        frame->moving = moves;
        candidate.raw_frames.push_back(
            static_cast<std::size_t>(&raw - candidate.stack.walk.frames.data()));
        thread.frames.push_back(*std::move(frame));
        ++functions;
      }
    }
    if (candidate.stack.walk.limited) thread.truncated = true;
    if (!candidate.stack.walk.error.empty()) {
      thread.error = candidate.stack.walk.error;
      thread.truncated = true;
      thread.consistent = false;
      thread.proof = Proof::None;
    }
  }

  // Nothing for a frame that hasn't begun to run its function, which Python doesn't show either.
  std::optional<Frame> resolve(const RawFrame& raw) {
    Frame frame;
    const CodeTable::Entry& entry = codes_.at(raw.executable);
    if (!entry.error.empty()) {
      frame.error = entry.error;
      return frame;
    }
    const auto unit = CodeTable::unit_of(entry, raw.instruction);
    frame.code = entry.index;
    if (!unit) {
      frame.error = unit.error().message;
      return frame;
    }
    // _PyFrame_IsIncomplete
    if (raw.owner != kOwnedByGenerator &&
        static_cast<std::int64_t>(*unit) < entry.first_traceable) {
      return std::nullopt;
    }
    const CodeTable::Location& location = codes_.location(raw.executable, *unit);
    frame.position = location.position;
    frame.error = location.error;
    return frame;
  }

  /// What blocked threads wait for, who holds it, and the deadlocks.
  void read_locks(const RawRuntime& raw) {
    std::vector<LockThread> threads;
    std::vector<GraphThread> graph;
    if (std::none_of(candidates_.begin(), candidates_.end(),
                     [&](const Candidate& candidate) { return futex_of(candidate).has_value(); })) {
      return;
    }
    walk_others(raw);
    std::vector<const Candidate*> all;
    for (const auto* part : {&candidates_, &others_}) {
      for (const Candidate& candidate : *part) {
        all.push_back(&candidate);
        threads.push_back({candidate.raw->at, candidate.thread.ident, &candidate.stack.walk,
                           candidate.thread.consistent, futex_of(candidate)});
        graph.push_back({*candidate.raw, candidate.thread.tid});
      }
    }
    std::vector<std::optional<FoundLock>> found;
    {
      const PageCache cache(memory_);
      const Reader reader(cache, runtime_.offsets);
      found = find_locks(memory_, reader, codes_, threads);
    }
    const WaitCycles cycles =
        find_deadlocks(memory_, runtime_, codes_, threads_, graph, found, log_);
    for (const auto& cycle : cycles.dissolved) {
      for (const std::size_t index : cycle)
        found[index].reset();
    }
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (found[i]) candidates_[i].thread.lock = describe(*found[i], i, all);
    }
    for (const auto& cycle : cycles.deadlocks) {
      // Among others than those that were asked for it is no news.
      if (std::all_of(cycle.begin(), cycle.end(),
                      [&](std::size_t index) { return index >= candidates_.size(); })) {
        continue;
      }
      Deadlock& deadlock = snapshot_.deadlocks.emplace_back();
      for (const std::size_t index : cycle) {
        const Thread& thread = all[index]->thread;
        deadlock.cycle.push_back({thread.tid, thread.name, describe(*found[index], index, all)});
      }
    }
  }

  /// Processes that wait for each other, this one among them or waiting for them.
  void find_process_deadlock() {
    if (threads_.process == nullptr || !snapshot_.deadlocks.empty()) return;
    const auto cycle = pyscope::find_process_deadlock(*threads_.process, facts_.tasks, log_);
    if (!cycle) return;
    Deadlock& deadlock = snapshot_.deadlocks.emplace_back();
    for (std::size_t i = 0; i < cycle->size(); ++i) {
      const ProcessWait& wait = (*cycle)[i];
      Deadlock::Member member{.tid = wait.tid,
                              .name = {},
                              .lock = {},
                              .pid = wait.pid,
                              .process = wait.name,
                              .waits = wait.words};
      const auto candidate =
          std::find_if(candidates_.begin(), candidates_.end(),
                       [&](const Candidate& c) { return c.thread.tid == wait.tid; });
      if (candidate != candidates_.end()) {
        const Thread& thread = candidate->thread;
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

  static const char* name_of(ProcessWaitKind kind) {
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

  /// The stacks of threads that weren't asked for: one of them may hold what one that was waits
  /// for. Nothing is held still for that.
  void walk_others(const RawRuntime& raw) {
    if (others_.empty()) return;
    std::vector<StackRequest> requests;
    requests.reserve(others_.size());
    for (const Candidate& other : others_) {
      requests.push_back({other.interpreter->gil, *other.raw, other.thread.tid,
                          other.thread.state == ThreadState::Blocked});
    }
    auto readings = read_stacks(memory_, runtime_, raw, gils_before_, requests, codes_, threads_,
                                CaptureOptions{}, paused_, log_);
    for (std::size_t i = 0; i < others_.size(); ++i) {
      others_[i].stack = std::move(readings[i]);
      others_[i].thread.consistent = others_[i].stack.proof != Proof::None;
    }
  }

  /// The futex that a thread sleeps on, unless that is the GIL's.
  std::optional<FutexWait> futex_of(const Candidate& candidate) {
    if (candidate.thread.state != ThreadState::Blocked) return std::nullopt;
    const Task* task = find_task(candidate.raw->native_id);
    if (task == nullptr || !task->system_call) return std::nullopt;
    auto wait = futex_wait(*task->system_call);
    if (wait && gil_place(*candidate.interpreter).contains(wait->word)) return std::nullopt;
    return wait;
  }

  LockWait describe(const FoundLock& found, std::size_t waiter,
                    const std::vector<const Candidate*>& all) {
    LockWait lock;
    lock.type = found.type;
    lock.address = found.at.raw();
    lock.name = found.name;
    lock.owner_object = found.owner_object;
    lock.held = found.held;
    lock.timed = found.timed;
    const auto code_of = [&](const RawFrame& frame) -> std::optional<std::uint32_t> {
      if (!codes_.knows(frame.executable)) return std::nullopt;
      return codes_.at(frame.executable).index;
    };
    if (found.waiting_frame) {
      const RawFrame& frame = all[waiter]->stack.walk.frames[*found.waiting_frame];
      lock.waits_in = code_of(frame);
      if (lock.waits_in) {
        const auto unit = CodeTable::unit_of(codes_.at(frame.executable), frame.instruction);
        if (unit) lock.waits_at = codes_.location(frame.executable, *unit).position.line;
      }
    }
    if (!found.holder) return lock;
    const Candidate& holder = *all[*found.holder];
    lock.held_by = holder.thread.tid;
    lock.holder_name = holder.thread.name;
    if (!found.holder_frame) return lock;
    const RawFrame& frame = holder.stack.walk.frames[*found.holder_frame];
    lock.taken_in = code_of(frame);
    if (lock.taken_in && found.taken_at_unit) {
      lock.taken_at = codes_.location(frame.executable, *found.taken_at_unit).position.line;
    }
    return lock;
  }

  /// Now that nothing stands still any more.
  void add_native_frames(LocatedSnapshot& located) {
    NativeFrames native(memory_, threads_.process, runtime_, maps_, options_.native,
                        snapshot_.native_locations, log_);
    for (Thread& thread : bare_threads_) {
      thread.consistent = native_->states.contains(thread.tid);
      if (thread.consistent) thread.proof = Proof::Paused;
      snapshot_.threads.push_back(std::move(thread));
      located.frames.emplace_back();
    }
    for (std::size_t i = 0; i < snapshot_.threads.size(); ++i) {
      Thread& thread = snapshot_.threads[i];
      const auto state = native_->states.find(thread.tid);
      if (state != native_->states.end()) {
        native.add(thread, located.frames[i], state->second);
      } else if (thread.tid != 0) {
        const auto refusal = native_->refusals.find(thread.tid);
        thread.native_error = fmt::format(
            "it could not be held for its native frames: {}",
            refusal == native_->refusals.end() ? "it was started meanwhile" : refusal->second);
        if (!thread.python) thread.inconsistency = thread.native_error;
      }
      cut(thread, located.frames[i]);
    }
  }

  /// Leaves so many Python frames as were asked for, and the native ones above them.
  void cut(Thread& thread, std::vector<RawFrame>& chain) const {
    if (!options_.max_frames) return;
    std::size_t functions = 0;
    for (std::size_t i = 0; i < thread.frames.size(); ++i) {
      if (thread.frames[i].kind != FrameKind::Python) continue;
      if (functions++ < *options_.max_frames) continue;
      thread.truncated = true;
      thread.frames.resize(i);
      chain.resize(i);
      return;
    }
  }

  /// After all stacks, so as not to come between them and what proves them.
  void describe_waits() {
    std::vector<const Task*> tasks;
    std::vector<Thread*> blocked;
    const auto add = [&](Thread& thread, std::uint64_t native_id) {
      if (thread.state != ThreadState::Blocked) return;
      const Task* task = find_task(native_id);
      if (task == nullptr) return;
      tasks.push_back(task);
      blocked.push_back(&thread);
    };
    for (Candidate& candidate : candidates_)
      add(candidate.thread, candidate.raw->native_id);
    for (Thread& thread : bare_threads_)
      add(thread, static_cast<std::uint64_t>(thread.namespace_tid));
    auto waits = read_waits(tasks, memory_, threads_.process, log_);
    for (std::size_t i = 0; i < blocked.size(); ++i)
      blocked[i]->wait = std::move(waits[i]);
  }

  [[nodiscard]] Interpreter describe(const RawInterpreter& raw) {
    Interpreter interpreter{
        .id = raw.id, .gil_held_by = {}, .collecting_garbage = raw.collecting_garbage};
    const auto gil = gils_before_.find(raw.gil.raw());
    if (gil != gils_before_.end() && gil->second.locked == 1) {
      const auto holder = holders_.find(gil->second.last_holder.raw());
      if (holder != holders_.end() && holder->second != 0) interpreter.gil_held_by = holder->second;
    }
    return interpreter;
  }

  const Memory& memory_;
  const Runtime& runtime_;
  const ProcessFacts& facts_;
  const ThreadSource& threads_;
  const CaptureOptions& options_;
  const Log& log_;

  CodeTable codes_;
  PausedThreads paused_;
  Snapshot snapshot_;
  Gils gils_before_;
  std::vector<Mapping> maps_;              // only for native frames
  std::optional<NativeStates> native_;     // if they are asked for
  std::vector<Thread> bare_threads_;       // those that run no Python
  std::unordered_map<pid_t, Task> tasks_;  // by the tid in the target's namespace
  bool listed_again_ = false;
  std::vector<Candidate> candidates_;
  std::vector<Candidate> others_;                     // threads that weren't asked for
  std::unordered_map<std::uint64_t, pid_t> holders_;  // thread state to tid, of all threads
};

}  // namespace

Result<Snapshot> read_snapshot(const Memory& memory, const Runtime& runtime,
                               const ProcessFacts& facts, const ThreadSource& threads,
                               const CaptureOptions& options, const Log& log) {
  return SnapshotReader(memory, runtime, facts, threads, options, log)
      .read()
      .map([](LocatedSnapshot located) { return std::move(located.snapshot); });
}

Result<LocatedSnapshot> read_located_snapshot(const Memory& memory, const Runtime& runtime,
                                              const ProcessFacts& facts,
                                              const ThreadSource& threads,
                                              const CaptureOptions& options, const Log& log) {
  return SnapshotReader(memory, runtime, facts, threads, options, log).read();
}

}  // namespace pyscope
