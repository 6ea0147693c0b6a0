#include "passes/native_locks.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "passes/forked_locks.hpp"
#include "passes/locks.hpp"
#include "passes/threads.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kContended = 2;  // the word of a mutex that threads wait for (lowlevellock)

/// What one thread waits for. Nodes of the graph are the draft's threads, and after them the
/// threads of the process that Python knows nothing of.
struct NativeEdge {
  enum class Kind : std::uint8_t { None, Python, Mutex, Gil };
  Kind kind = Kind::None;
  RemoteAddr at;       // the mutex, or the GIL
  std::size_t to = 0;  // who has it
  bool timed = false;  // the wait ends by itself
  Wakers wakers;       // empty for a wait that ends by itself
};

/// A mutex that nobody is left to give back.
struct LostMutex {
  std::size_t waiter = 0;
  RemoteAddr at;
  std::string words;  // as LockWait::lost
};

class NativeGraph {
 public:
  NativeGraph(Draft& draft, const LivingProcess& living) : draft_(draft), living_(living) {
    for (const ThreadDraft& thread : draft_.threads)
      nodes_.push_back({thread.thread.tid, thread.thread.namespace_tid, thread.thread.name});
    for (const Task& task : draft_.tasks) {
      const bool known = std::any_of(nodes_.begin(), nodes_.end(),
                                     [&](const Node& node) { return node.tid == task.tid; });
      if (!known) nodes_.push_back({task.tid, task.namespace_tid, task.os_name});
    }
    edges_.resize(nodes_.size());
  }

  /// False if no thread waits for a mutex: then there is nothing that isn't known already.
  bool find() {
    bool any = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const auto futex = futex_of_node(i);
      if (!futex) continue;
      const auto owner = holder_of(i, *futex);
      if (!owner) {
        find_lost_owner(i, *futex);
        continue;
      }
      any = true;
      edges_[i] = {NativeEdge::Kind::Mutex, futex->word, *owner, futex->timed, {}};
      if (!futex->timed) edges_[i].wakers = {*owner};
    }
    if (!any) return !lost_.empty();
    for (std::size_t i = 0; i < draft_.threads.size(); ++i) {
      NativeEdge& edge = edges_[i];
      if (edge.kind != NativeEdge::Kind::None) continue;
      if (i < draft_.locks.size() && draft_.locks[i]) {
        edge.kind = NativeEdge::Kind::Python;
        edge.wakers = draft_.locks[i]->wakers();
      } else if (may_wait_for_gil(draft_.threads[i].thread)) {
        if (const auto holder = gil_holder(i)) {
          edge = {NativeEdge::Kind::Gil, draft_.threads[i].interpreter->gil, *holder, false,
                  Wakers{*holder}};
        }
      }
    }
    return true;
  }

  void tell_holders() {
    for (std::size_t i = 0; i < draft_.wanted; ++i) {
      if (edges_[i].kind == NativeEdge::Kind::Mutex) draft_.threads[i].thread.lock = lock_of(i);
    }
    for (const LostMutex& lost : lost_) {
      if (lost.waiter >= draft_.wanted) continue;
      LockWait& lock = draft_.threads[lost.waiter].thread.lock.emplace();
      lock.type = "native mutex";
      lock.address = lost.at.raw();
      lock.held = Held::ByNobodyLeft;
      lock.lost = lost.words;
      tell_place(lost.waiter, lock);
    }
  }

  void tell_deadlocks() {
    const auto candidates = native_cycles(wakers());
    if (candidates.empty()) return;
    const auto confirmed = native_cycles(confirm(candidates));
    for (const auto& cycle : confirmed) {
      if (!is_wanted(cycle)) continue;
      Deadlock& deadlock = draft_.snapshot.deadlocks.emplace_back();
      for (const std::size_t i : cycle) {
        const bool known = i < draft_.threads.size();
        deadlock.cycle.push_back(
            {.tid = nodes_[i].tid,
             .name = nodes_[i].name,
             .lock = lock_of(i),
             .thread_state = known ? draft_.threads[i].thread.thread_state : 0});
      }
    }
  }

 private:
  struct Node {
    pid_t tid = 0;
    pid_t namespace_tid = 0;
    std::optional<std::string> name;
  };

  [[nodiscard]] static std::optional<FutexWait> contended_futex(const Task& task) {
    if (!task.system_call || task.system_call->arguments[2] != kContended) return std::nullopt;
    return futex_wait(*task.system_call);
  }

  /// The futex of a node that may be a mutex.
  [[nodiscard]] std::optional<FutexWait> futex_of_node(std::size_t i) const {
    if (i < draft_.threads.size()) {
      const ThreadDraft& thread = draft_.threads[i];
      const bool told = i < draft_.locks.size() && draft_.locks[i];
      if (told || !futex_of(draft_, thread)) return std::nullopt;
      const Task* task = find_task(draft_, thread.raw->native_id);
      return task == nullptr ? std::nullopt : contended_futex(*task);
    }
    const auto task = std::find_if(draft_.tasks.begin(), draft_.tasks.end(),
                                   [&](const Task& t) { return t.tid == nodes_[i].tid; });
    return task == draft_.tasks.end() ? std::nullopt : contended_futex(*task);
  }

  /// The OS thread that has the mutex at this futex, if the thread waits for it before and after
  /// the mutex is read.
  [[nodiscard]] std::optional<pid_t> owner_at(std::size_t waiter, const FutexWait& futex) const {
    const auto waits = [&] {
      const auto task = living_.thread(nodes_[waiter].tid);
      const auto now = task ? contended_futex(*task) : std::nullopt;
      return now && now->word == futex.word;
    };
    std::array<std::byte, kMutexSize> mutex{};
    if (!waits() || !draft_.memory.read(futex.word, mutex)) return std::nullopt;
    const auto owner = owner_of_mutex(mutex);
    return owner && waits() ? owner : std::nullopt;
  }

  /// A mutex whose owner is no thread of the process, and that no other process shares: in a child
  /// of a fork, a thread of the parent had it then.
  void find_lost_owner(std::size_t waiter, const FutexWait& futex) {
    if (futex.timed || waiter >= draft_.threads.size()) return;
    const Task* task = find_task(draft_, draft_.threads[waiter].raw->native_id);
    if (task == nullptr || !task->system_call ||
        (task->system_call->arguments[1] & FUTEX_PRIVATE_FLAG) == 0) {
      return;
    }
    const auto owner = owner_at(waiter, futex);
    // A thread that was started since the threads were listed is no node, but is there.
    if (!owner || find_task(draft_, static_cast<std::uint64_t>(*owner)) != nullptr) return;
    std::string words = describe_lost_owner(draft_, *owner);
    if (!words.empty()) lost_.push_back({waiter, futex.word, std::move(words)});
  }

  /// The node that has the mutex at this futex.
  [[nodiscard]] std::optional<std::size_t> holder_of(std::size_t waiter,
                                                     const FutexWait& futex) const {
    const auto owner = owner_at(waiter, futex);
    if (!owner) return std::nullopt;
    const auto node = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& candidate) {
      return candidate.tid != 0 && candidate.namespace_tid == *owner;
    });
    if (node == nodes_.end()) return std::nullopt;
    // Of a thread with several states, the one that it executes for.
    auto index = static_cast<std::size_t>(node - nodes_.begin());
    for (std::size_t i = index; i < draft_.threads.size(); ++i) {
      if (nodes_[i].tid == node->tid && !draft_.threads[i].thread.runs_in) return i;
    }
    return index;
  }

  /// Who waits for the GIL runs now and then. Whether it is on its way to the GIL is found out only
  /// if that makes a cycle.
  [[nodiscard]] static bool may_wait_for_gil(const Thread& thread) {
    if (thread.state == ThreadState::WaitingForGil) return true;
    return thread.state != ThreadState::Blocked && thread.tid != 0 && !thread.runs_in &&
           thread.holds_gil == false;
  }

  [[nodiscard]] std::optional<std::size_t> gil_holder(std::size_t waiter) const {
    const RemoteAddr gil = draft_.threads[waiter].interpreter->gil;
    for (std::size_t i = 0; i < draft_.threads.size(); ++i) {
      const ThreadDraft& thread = draft_.threads[i];
      if (thread.thread.holds_gil.value_or(false) && thread.interpreter->gil == gil) return i;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::vector<Wakers> wakers() const {
    std::vector<Wakers> all;
    for (const NativeEdge& edge : edges_)
      all.push_back(edge.wakers);
    return all;
  }

  /// The cycles in which a thread waits for a mutex. The others are known already.
  [[nodiscard]] std::vector<std::vector<std::size_t>> native_cycles(
      const std::vector<Wakers>& wakers) const {
    auto cycles = find_cycles(wakers);
    std::erase_if(cycles, [&](const auto& cycle) {
      return std::none_of(cycle.begin(), cycle.end(),
                          [&](std::size_t i) { return edges_[i].kind == NativeEdge::Kind::Mutex; });
    });
    return cycles;
  }

  /// The edges that are as they were, some milliseconds later. All threads but those that wait for
  /// the GIL must rest from before all is read until after. Who waits for the GIL wakes up every
  /// few milliseconds to ask for it, but can't do anything else while its holder rests.
  [[nodiscard]] std::vector<Wakers> confirm(
      const std::vector<std::vector<std::size_t>>& cycles) const {
    std::vector<bool> seen(nodes_.size());
    std::vector<std::size_t> members;
    const auto add = [&](std::size_t i) {
      if (i >= seen.size() || seen[i]) return;
      seen[i] = true;
      members.push_back(i);
    };
    for (const auto& cycle : cycles)
      std::for_each(cycle.begin(), cycle.end(), add);
    for (std::size_t i = 0; i < members.size(); ++i) {
      const Wakers next = edges_[members[i]].wakers;
      std::for_each(next.begin(), next.end(), add);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::vector<std::optional<std::uint64_t>> before;
    for (const std::size_t i : members)
      before.push_back(living_.switches_at_rest(nodes_[i].tid));
    const Gils gils = read_gils(draft_.memory, draft_.offsets(), draft_.raw);
    const std::vector<Wakers> python = python_again(members);
    std::vector<Wakers> confirmed(nodes_.size());
    for (std::size_t m = 0; m < members.size(); ++m) {
      const std::size_t i = members[m];
      const NativeEdge& edge = edges_[i];
      if (edge.wakers.empty()) continue;
      bool same = false;
      if (edge.kind == NativeEdge::Kind::Mutex) {
        same = holder_of(i, {edge.at, edge.timed}) == edge.to;
      } else if (edge.kind == NativeEdge::Kind::Gil) {
        const auto gil = gils.find(edge.at.raw());
        same = gil != gils.end() && gil->second.locked == 1 &&
               gil->second.last_holder == draft_.threads[edge.to].raw->at && asks_for_gil(i);
      } else if (edge.kind == NativeEdge::Kind::Python) {
        same = python[i] == edge.wakers;
      }
      if (same) confirmed[i] = edge.wakers;
    }
    const Gils later = read_gils(draft_.memory, draft_.offsets(), draft_.raw);
    for (std::size_t m = 0; m < members.size(); ++m) {
      const std::size_t i = members[m];
      if (edges_[i].kind == NativeEdge::Kind::Gil) {
        const auto first = gils.find(edges_[i].at.raw());
        const auto last = later.find(edges_[i].at.raw());
        if (first == gils.end() || last == later.end() || !(first->second == last->second))
          confirmed[i].clear();
      } else if (!before[m] || living_.switches_at_rest(nodes_[i].tid) != before[m]) {
        confirmed[i].clear();
      }
    }
    return confirmed;
  }

  /// What the members wait for now that wait for locks of Python's.
  [[nodiscard]] std::vector<Wakers> python_again(const std::vector<std::size_t>& members) const {
    std::vector<Wakers> again(nodes_.size());
    std::vector<std::size_t> known;
    std::vector<GraphThread> threads;
    bool any = false;
    for (const std::size_t i : members) {
      if (i >= draft_.threads.size()) continue;
      const ThreadDraft& thread = draft_.threads[i];
      any = any || edges_[i].kind == NativeEdge::Kind::Python;
      known.push_back(i);
      threads.push_back({thread.interpreter->at, *thread.raw, thread.thread.tid});
    }
    if (!any) return again;
    const auto found =
        find_locks_again(draft_.memory, draft_.runtime, draft_.codes, draft_.target, threads);
    for (std::size_t k = 0; k < known.size(); ++k) {
      const auto& before = draft_.locks[known[k]];
      if (!found[k] || !before || found[k]->lock != before->lock) continue;
      for (const std::size_t waker : found[k]->wakers())
        again[known[k]].push_back(known[waker]);
      std::sort(again[known[k]].begin(), again[known[k]].end());
    }
    return again;
  }

  /// Whether the thread is seen asleep within the GIL: between two such sleeps it runs for some
  /// microseconds.
  [[nodiscard]] bool asks_for_gil(std::size_t i) const {
    constexpr int kMostTries = 20;
    for (int tried = 0; tried < kMostTries; ++tried) {
      if (tried > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const auto task = living_.thread(nodes_[i].tid);
      if (!task) return false;
      if (sleeps_on_gil(draft_, *draft_.threads[i].interpreter, &*task).value_or(false))
        return true;
    }
    return false;
  }

  [[nodiscard]] LockWait lock_of(std::size_t i) const {
    const NativeEdge& edge = edges_[i];
    if (edge.kind == NativeEdge::Kind::Python) {
      const LockWait lock = draft_.threads[i].thread.lock.value_or(LockWait{});
      if (lock.held_by != 0 || !lock.served_by.empty()) return lock;
    }
    LockWait lock;
    lock.type = edge.kind == NativeEdge::Kind::Gil     ? "GIL"
                : edge.kind == NativeEdge::Kind::Mutex ? "native mutex"
                                                       : draft_.locks[i]->type;
    if (edge.kind == NativeEdge::Kind::Mutex) lock.address = edge.at.raw();
    const std::size_t to = edge.wakers.empty() ? edge.to : edge.wakers.front();
    lock.held = Held::ByThread;
    lock.held_by = nodes_[to].tid;
    lock.holder_name = nodes_[to].name;
    lock.timed = edge.timed;
    if (i < draft_.threads.size()) tell_place(i, lock);
    return lock;
  }

  void tell_place(std::size_t i, LockWait& lock) const {
    const auto& frames = draft_.threads[i].thread.frames;
    const auto frame = std::find_if(frames.begin(), frames.end(),
                                    [](const Frame& f) { return f.code.has_value(); });
    if (frame != frames.end()) {
      lock.waits_in = frame->code;
      lock.waits_at = frame->position.line;
    }
  }

  /// A deadlock is told if a wanted thread is in it, or waits for one that is.
  [[nodiscard]] bool is_wanted(const std::vector<std::size_t>& cycle) const {
    if (draft_.options.threads.empty()) return true;
    std::vector<bool> reached(nodes_.size());
    std::vector<std::size_t> left;
    for (std::size_t i = 0; i < draft_.wanted; ++i)
      left.push_back(i);
    while (!left.empty()) {
      const std::size_t i = left.back();
      left.pop_back();
      if (i >= reached.size() || reached[i]) continue;
      reached[i] = true;
      left.insert(left.end(), edges_[i].wakers.begin(), edges_[i].wakers.end());
    }
    return std::any_of(cycle.begin(), cycle.end(), [&](std::size_t i) { return reached[i]; });
  }

  Draft& draft_;
  const LivingProcess& living_;
  std::vector<Node> nodes_;
  std::vector<NativeEdge> edges_;
  std::vector<LostMutex> lost_;
};

}  // namespace

std::optional<pid_t> owner_of_mutex(std::span<const std::byte> mutex) {
  // struct __pthread_mutex_s of 64-bit glibc: __lock, __count, __owner, __nusers, __kind.
  std::array<std::uint32_t, 5> words{};
  if (mutex.size() < sizeof words) return std::nullopt;
  std::memcpy(words.data(), mutex.data(), sizeof words);
  const auto [lock, count, owner, users, kind] = words;
  // Of the kind, the type and the bits for sharing and elision; all others have words of their own.
  constexpr std::uint32_t kRecursive = 1;
  constexpr std::uint32_t kTypes = 3;
  constexpr std::uint32_t kShared = 0x80;
  constexpr std::uint32_t kElision = 0x300;
  if (lock != kContended || users != 1 || (kind & ~(kTypes | kShared | kElision)) != 0)
    return std::nullopt;
  const bool counts = (kind & kTypes) == kRecursive;
  constexpr std::uint32_t kMostCounts = 1U << 20U;
  if (counts ? count == 0 || count > kMostCounts : count != 0) return std::nullopt;
  if (owner == 0 || owner > (1U << 30U)) return std::nullopt;
  return static_cast<pid_t>(owner);
}

void find_native_locks(Draft& draft) {
#if defined(__x86_64__) || defined(__aarch64__)
  const LivingProcess* living = draft.target.living();
  if (living == nullptr) return;
  NativeGraph graph(draft, *living);
  if (!graph.find()) return;
  graph.tell_holders();
  graph.tell_deadlocks();
#endif
}

}  // namespace pyscope
