#include "passes/forked_locks.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "locks/thread_frames.hpp"
#include "locks/with_statements.hpp"
#include "memory/live_memory.hpp"
#include "memory/page_cache.hpp"
#include "passes/locks.hpp"
#include "process/other_processes.hpp"
#include "process/proc_file.hpp"
#include "python/stack_start.hpp"

namespace pyscope {
namespace {

constexpr std::string_view kHeldAtFork = "held when this process was forked";

/// The process, if it was forked and goes on with its parent's program.
const Process* forked_process(const Draft& draft) {
  const LivingProcess* living = draft.target.living();
  const Process* process = living == nullptr ? nullptr : living->process();
  return process != nullptr && process->forked_without_exec() ? process : nullptr;
}

pid_t parent_of(const Process& process) {
  const auto text = process.read_file("stat");
  const auto stat = text ? parse_stat(*text) : std::nullopt;
  return stat ? stat->parent : 0;
}

/// Whether this is the thread that was forked. All others of a child were started since.
bool is_first(const Draft& draft, std::size_t thread) {
  return draft.threads[thread].thread.namespace_tid == draft.facts.namespace_pid;
}

/// A lock inside of the process that is locked, and that no living thread was seen to take.
bool is_lost(const std::optional<FoundLock>& lock) {
  return lock && !lock->timed && lock->held == Held::ByNobodyFound &&
         !lock->type.starts_with("multiprocessing.");
}

/// All threads that wait for a lock which nobody was seen to take, and which only a thread could
/// give back that waits itself, for such a lock or for a thread that does. Whoever took the lock
/// isn't there any more, or is one of these.
std::vector<std::size_t> find_lost(std::span<const std::optional<FoundLock>> found) {
  std::vector<Wakers> wakers(found.size());
  Wakers all(found.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = i;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i]) wakers[i] = is_lost(found[i]) ? all : found[i]->wakers();
  }
  std::vector<std::size_t> lost;
  for (const auto& cycle : find_cycles(wakers)) {
    std::copy_if(cycle.begin(), cycle.end(), std::back_inserter(lost),
                 [&](std::size_t i) { return is_lost(found[i]); });
  }
  return lost;
}

std::vector<std::optional<std::uint64_t>> marks_of(const Draft& draft) {
  std::vector<std::optional<std::uint64_t>> marks;
  for (const ThreadDraft& thread : draft.threads)
    marks.push_back(draft.target.living()->switches_at_rest(thread.thread.tid));
  return marks;
}

/// The same, if all threads of the process are known and none has run meanwhile.
std::vector<std::size_t> find_surely_lost(Draft& draft) {
  std::vector<std::size_t> lost = find_lost(draft.locks);
  if (lost.empty()) return {};
  for (const ThreadDraft& thread : draft.threads) {
    if (thread.thread.tid == 0 || thread.thread.runs_in || thread.shares_thread) return {};
  }
  const auto before = marks_of(draft);
  std::vector<GraphThread> threads;
  for (const ThreadDraft& thread : draft.threads)
    threads.push_back({thread.interpreter->at, *thread.raw, thread.thread.tid});
  const auto again =
      find_locks_again(draft.memory, draft.runtime, draft.codes, draft.target, threads);
  const bool same =
      find_lost(again) == lost && marks_of(draft) == before &&
      draft.target.threads(ThreadDetail::Scheduling).size() == threads.size() &&
      std::all_of(before.begin(), before.end(), [](const auto& mark) { return mark.has_value(); });
  return same ? lost : std::vector<std::size_t>{};
}

/// Where the parent's threads are. The parent has its own copy of each lock, at the same address.
class ParentThreads {
 public:
  ParentThreads(const Draft& draft, Process parent)
      : parent_(std::move(parent)),
        parent_memory_(parent_.pid(), parent_.directory()),
        budget_(draft.deadline),
        memory_(parent_memory_, budget_),
        cache_(memory_),
        reader_(cache_, draft.offsets()),
        codes_(memory_, draft.offsets()) {
    read(draft.runtime);
  }
  ParentThreads(const ParentThreads&) = delete;
  ParentThreads& operator=(const ParentThreads&) = delete;

  /// The thread that is in a `with` statement of this lock: `12 "refill" of python3 (pid 11)`.
  [[nodiscard]] std::string holder_of(RemoteAddr lock) {
    if (threads_.empty()) return {};
    ThreadFrames frames(reader_, codes_, threads_);
    WithStatements with_statements(frames);
    for (const ContextManager& manager : with_statements.of_lock(lock)) {
      if (!manager.certain || parent_.ended()) continue;
      const RawThread& raw = *raw_[manager.thread];
      const auto name = names_[manager.thread];
      return fmt::format("{}{} of {}", raw.native_id, name.empty() ? "" : " \"" + name + "\"",
                         name_process(parent_.pid()));
    }
    return {};
  }

 private:
  void read(const Runtime& runtime) {
    auto interpreters = read_interpreters(reader_, runtime.at);
    if (!interpreters) return;
    interpreters_ = *std::move(interpreters);
    read_threads(reader_, memory_, interpreters_);
    std::vector<StackStart> starts;
    for (const RawInterpreter& interpreter : interpreters_.interpreters) {
      const auto names = read_thread_names(reader_, memory_, interpreter);
      for (const RawThread& thread : interpreter.threads) {
        StackStart start = read_stack_start(reader_, thread.at).value_or(StackStart{});
        start.max_frames = FrameWalker::kMaxDepth;
        starts.push_back(start);
        raw_.push_back(&thread);
        homes_.push_back(interpreter.at);
        const auto name = names ? names->find(thread.ident) : decltype(names->end()){};
        names_.push_back(names && name != names->end() ? name->second : std::string{});
      }
    }
    walks_ = walk_frames(cache_, reader_.offsets(), starts);
    std::vector<RemoteAddr> executables;
    for (const FrameWalk& walk : walks_) {
      for (const RawFrame& frame : walk.frames) {
        if (!frame.is_entry()) executables.push_back(frame.executable);
      }
    }
    codes_.load(std::move(executables));
    for (std::size_t i = 0; i < raw_.size(); ++i)
      threads_.push_back({homes_[i], raw_[i]->at, raw_[i]->ident, &walks_[i], false, std::nullopt});
  }

  Process parent_;
  LiveMemory parent_memory_;
  Budget budget_;
  TargetMemory memory_;
  PageCache cache_;
  Reader reader_;
  CodeTable codes_;
  RawRuntime interpreters_;
  std::vector<const RawThread*> raw_;
  std::vector<RemoteAddr> homes_;
  std::vector<std::string> names_;
  std::vector<FrameWalk> walks_;
  std::vector<LockThread> threads_;
};

}  // namespace

std::string describe_lost_owner(const Draft& draft, pid_t owner) {
  const Process* process = forked_process(draft);
  if (process == nullptr) return {};
  const pid_t parent = parent_of(*process);
  const bool of_parent =
      parent > 0 && draft.facts.namespace_pid == draft.facts.pid &&
      ::access(fmt::format("/proc/{}/task/{}", parent, owner).c_str(), F_OK) == 0;
  if (of_parent)
    return fmt::format("{}, by thread {} of {}", kHeldAtFork, owner, name_process(parent));
  return fmt::format("{}, or by a thread that has ended since", kHeldAtFork);
}

void tell_forked_locks(Draft& draft) {
  if (draft.locks.empty()) return;
  const Process* process = nullptr;
  const auto is_forked = [&] {
    if (process == nullptr) process = forked_process(draft);
    return process != nullptr;
  };
  std::vector<std::size_t> unclear;
  bool any_lost = false;
  for (std::size_t i = 0; i < draft.wanted; ++i) {
    auto& lock = draft.threads[i].thread.lock;
    const auto& found = draft.locks[i];
    if (!lock || !found || found->timed) continue;
    if (found->holder && draft.threads[*found->holder].thread.tid == 0 &&
        found->type != "threading.Thread") {
      // A fork in C copies the records of all threads, but only one of the threads.
      if (!is_forked()) return;
      const auto& name = draft.threads[*found->holder].thread.name;
      lock->held = Held::ByNobodyLeft;
      lock->held_by = 0;
      lock->holder_name.reset();
      lock->lost = fmt::format("{}, by a thread{} that wasn't forked with it", kHeldAtFork,
                               name ? fmt::format(" \"{}\"", *name) : "");
    } else if (is_lost(found)) {
      any_lost = true;
    } else if (found->held == Held::ByThread && found->type == "threading.RLock" &&
               !found->holder_frame && found->holder != i && !is_first(draft, *found->holder)) {
      // The C library gives the ident, which is an address, to the next thread that is started.
      if (!is_forked()) continue;
      const Thread& holder = draft.threads[*found->holder].thread;
      lock->held = Held::ByNobodyFound;
      lock->lost = fmt::format("{}, or taken by {}{}", kHeldAtFork, lock->held_by,
                               holder.name ? fmt::format(" \"{}\"", *holder.name) : "");
      lock->held_by = 0;
      lock->holder_name.reset();
    }
  }
  if (!any_lost || !is_forked()) return;
  const std::vector<std::size_t> lost = find_surely_lost(draft);
  for (std::size_t i = 0; i < draft.wanted; ++i) {
    auto& lock = draft.threads[i].thread.lock;
    if (!lock || !is_lost(draft.locks[i])) continue;
    if (std::find(lost.begin(), lost.end(), i) != lost.end()) {
      lock->held = Held::ByNobodyLeft;
      lock->lost = fmt::format(
          "{}, or taken by {}", kHeldAtFork,
          draft.threads.size() == 1 ? "this thread itself" : "a thread that waits now itself");
    } else if (lock->type == "threading.RLock") {
      lock->held = Held::ByNobodyLeft;
      lock->lost = fmt::format("{}, or by a thread that has ended since", kHeldAtFork);
    } else {
      unclear.push_back(i);
    }
  }
  if (unclear.empty()) return;
  // Another thread may have taken it by acquire(). That the parent's copy is held, too, speaks for
  // a lock that was held already at the fork.
  auto parent = Process::open(parent_of(*process), draft.log);
  if (!parent) return;
  ParentThreads parents(draft, *std::move(parent));
  for (const std::size_t i : unclear) {
    const std::string holder = parents.holder_of(draft.locks[i]->lock);
    if (!holder.empty()) {
      draft.threads[i].thread.lock->lost =
          fmt::format("most likely {}, by {}, which has it there", kHeldAtFork, holder);
    }
  }
}

}  // namespace pyscope
