#include "passes/instant.hpp"

#include <algorithm>
#include <utility>

#include "frames/variables.hpp"
#include "memory/page_cache.hpp"
#include "python/reader.hpp"
#include "python/stack_start.hpp"

namespace pyscope {

void InstantCopier::take_tasks(std::vector<Task> tasks) {
  tasks_.tasks = std::move(tasks);
  tasks_.described.clear();
  tid_of_native_id_.clear();
  for (const Task& task : tasks_.tasks)
    tid_of_native_id_.emplace(static_cast<std::uint64_t>(task.namespace_tid), task.tid);
}

InstantCopier::Gils InstantCopier::moments() const {
  return read_gils(target_.memory(), runtime_.offsets, interpreters_);
}

/// The OS thread of a thread state. Where the state may have another thread's id, the list of all
/// tells.
std::optional<std::uint64_t> InstantCopier::find_native_id(const Reader& reader,
                                                           RemoteAddr thread_state) const {
  const auto recorded = reader.field<std::uint64_t>(thread_state, Field::ThreadNativeThreadId);
  if (!recorded || !runtime_.offsets.has(Field::ThreadCframe)) {
    return recorded ? std::optional(*recorded) : std::nullopt;
  }
  RawRuntime listed = interpreters_;
  read_threads(reader, target_.memory(), listed);
  for (const RawInterpreter& interpreter : listed.interpreters) {
    for (const RawThread& thread : interpreter.threads) {
      if (thread.at == thread_state) return thread.native_id;
    }
  }
  return std::nullopt;
}

std::optional<InstantCopier::Holder> InstantCopier::find_holder(const Reader& reader,
                                                                RemoteAddr thread_state) {
  const LivingProcess& living = *target_.living();
  const auto native_id = find_native_id(reader, thread_state);
  if (native_id && !tid_of_native_id_.contains(*native_id)) list_tasks();
  const auto tid = native_id ? tid_of_native_id_.find(*native_id) : tid_of_native_id_.end();
  if (tid != tid_of_native_id_.end()) {
    return Holder{tid->second, living.switches_at_rest(tid->second)};
  }
  // A thread that has ended doesn't come back. Its state may be freed, but must not be in use.
  RawRuntime listed = interpreters_;
  read_threads(reader, target_.memory(), listed);
  for (const RawInterpreter& interpreter : listed.interpreters) {
    for (const RawThread& thread : interpreter.threads) {
      if (thread.at == thread_state) return std::nullopt;
    }
    const auto& others = interpreter.without_threads;
    if (std::find(others.begin(), others.end(), thread_state) != others.end()) return std::nullopt;
  }
  return listed.warnings.empty() ? std::optional(Holder{}) : std::nullopt;
}

bool InstantCopier::find_holders() {
  holders_.clear();
  Budget budget;
  const TargetMemory memory(target_.memory(), budget);
  const PageCache cache(memory);
  const Reader reader(cache, runtime_.offsets);
  auto interpreters = read_interpreters(reader, runtime_.at);
  if (!interpreters || !interpreters->warnings.empty()) return false;
  interpreters_ = *std::move(interpreters);
  moments_ = moments();
  for (const RawInterpreter& interpreter : interpreters_.interpreters) {
    // Without a GIL nothing is known of who may run.
    if (!moments_.contains(interpreter.gil.raw())) return false;
  }
  for (const auto& [gil, moment] : moments_) {
    const auto holder = find_holder(reader, moment.last_holder);
    if (!holder) {
      log_("who had the GIL at {:#x} last is not among the threads that were listed", gil);
      return false;
    }
    holders_.push_back(*holder);
  }
  // Somebody may have taken a GIL before the kernel was asked.
  return !holders_.empty() && moments() == moments_;
}

bool InstantCopier::still_rests(const Holder& holder) const {
  return holder.tid == 0 ||
         (holder.rests && target_.living()->switches_at_rest(holder.tid) == holder.rests);
}

bool InstantCopier::mark() {
  marked_ = target_.living() != nullptr && find_holders() &&
            std::all_of(holders_.begin(), holders_.end(),
                        [](const Holder& holder) { return holder.tid == 0 || holder.rests; });
  return marked_;
}

bool InstantCopier::stood_since_mark() const {
  return marked_ &&
         std::all_of(holders_.begin(), holders_.end(),
                     [&](const Holder& holder) { return still_rests(holder); }) &&
         moments() == moments_;
}

const InstantCopier::Holder* InstantCopier::runner() const {
  const Holder* found = nullptr;
  for (const Holder& holder : holders_) {
    if (holder.tid == 0 || holder.rests) continue;
    if (found != nullptr) {
      log_("threads {} and {} may run at the same time, each with a GIL of its own", found->tid,
           holder.tid);
      return nullptr;
    }
    found = &holder;
  }
  return found != nullptr ? found : &holders_.front();
}

Preemption* InstantCopier::preemption_of(pid_t tid) {
  constexpr std::size_t kMostKept = 32;
  if (preemptions_.size() >= kMostKept && !preemptions_.contains(tid)) preemptions_.clear();
  auto& preemption = preemptions_[tid];
  if (!preemption) {
    auto made = target_.living()->preempt(tid);
    if (!made) {
      log_("thread {} can't be kept from running: {}", tid, made.error().message);
      return nullptr;
    }
    preemption = *std::move(made);
  }
  return preemption.get();
}

bool InstantCopier::possible() {
  if (holders_.empty()) return false;
  const Holder* holder = runner();
  return holder != nullptr && (holder->tid == 0 || preemption_of(holder->tid) != nullptr);
}

InstantCopier::Outcome InstantCopier::try_once(const std::vector<pid_t>& tids) {
  if (!find_holders()) return holders_.empty() ? Outcome::Impossible : Outcome::TryAgain;
  const Holder* holder = runner();
  if (holder == nullptr || !image_.prepare()) return Outcome::Impossible;
  const Gils before = moments_;
  Gils after;
  std::vector<std::optional<Task>> asked(tids.size());
  const auto copy = [&] {
    // Somebody took a GIL before this one was kept from running.
    if (moments() != before) return;
    image_.copy();
    for (std::size_t i = 0; i < tids.size(); ++i)
      asked[i] = target_.living()->thread(tids[i]);
    after = moments();
  };
  tasks_.preempted = holder->tid != 0 && !holder->rests;
  bool stood_still = true;
  if (holder->tid == 0 || holder->rests) {
    copy();
    stood_still = still_rests(*holder);
  } else {
    Preemption* preemption = preemption_of(holder->tid);
    if (preemption == nullptr) return Outcome::Impossible;
    const std::int64_t before_it = preemption->microseconds();
    const auto proven = preemption->during(copy);
    microseconds_ += preemption->microseconds() - before_it;
    if (!proven) {
      log_("thread {} can't be kept from running: {}", holder->tid, proven.error().message);
      return Outcome::Impossible;
    }
    stood_still = *proven;
  }
  for (const Holder& other : holders_)
    stood_still = stood_still && (&other == holder || still_rests(other));
  if (!stood_still || before != after) return Outcome::TryAgain;
  tasks_.described.clear();
  std::unordered_map<pid_t, std::size_t> places;
  for (std::size_t i = 0; i < tasks_.tasks.size(); ++i)
    places.emplace(tasks_.tasks[i].tid, i);
  for (auto& task : asked) {
    if (!task) continue;
    tasks_.described.insert(task->tid);
    const auto [place, is_new] = places.emplace(task->tid, tasks_.tasks.size());
    if (is_new) {
      tasks_.tasks.push_back(*std::move(task));
    } else {
      tasks_.tasks[place->second] = *std::move(task);
    }
  }
  return Outcome::Copied;
}

std::unordered_set<std::uint64_t> find_objects_being_changed(
    const Reader& reader, const std::unordered_map<std::uint64_t, GilMoment>& gils) {
  std::unordered_set<std::uint64_t> objects;
  for (const auto& [gil, moment] : gils) {
    if (moment.locked != 1) continue;
    const auto stack = read_stack_start(reader, moment.last_holder);
    if (!stack || !stack->current_frame) continue;
    auto frame = read_frame(reader.memory(), reader.offsets(), stack->current_frame);
    // Just before C code calls Python, or after it has.
    if (frame && frame->is_entry()) {
      frame = read_frame(reader.memory(), reader.offsets(), frame->previous);
    }
    if (!frame || frame->is_entry()) continue;
    for (const RemoteAddr object : objects_being_changed(reader, *frame))
      objects.insert(object.raw());
  }
  return objects;
}

}  // namespace pyscope
