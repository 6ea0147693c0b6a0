#include "passes/locks.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <unordered_map>

#include "memory/page_cache.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();
constexpr auto kInterval = std::chrono::milliseconds(10);

}  // namespace

std::vector<std::optional<FoundLock>> find_locks_again(const BudgetedMemory& memory,
                                                       const Runtime& runtime, CodeTable& codes,
                                                       const Target& target,
                                                       std::span<const GraphThread> threads) {
  std::unordered_map<pid_t, std::optional<FutexWait>> futexes;
  for (const Task& task : target.threads(ThreadDetail::SystemCalls)) {
    if (task.system_call) futexes.emplace(task.tid, futex_wait(*task.system_call));
  }
  const PageCache cache(memory);
  const Reader reader(cache, runtime.offsets);
  std::vector<StackStart> starts;
  for (const GraphThread& thread : threads) {
    StackStart start = read_stack_start(reader, thread.raw.at).value_or(StackStart{});
    start.max_frames = FrameWalker::kMaxDepth;
    starts.push_back(start);
  }
  const auto walks = walk_frames(cache, runtime.offsets, starts);
  std::vector<RemoteAddr> executables;
  for (const FrameWalk& walk : walks) {
    for (const RawFrame& frame : walk.frames) {
      if (!frame.is_entry()) executables.push_back(frame.executable);
    }
  }
  codes.load(std::move(executables));
  std::vector<LockThread> again;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const auto futex = futexes.find(threads[i].tid);
    // The marks before and after prove the stack.
    again.push_back({threads[i].interpreter, threads[i].raw.at, threads[i].raw.ident, &walks[i],
                     walks[i].error.empty(),
                     futex == futexes.end() ? std::nullopt : futex->second});
  }
  return find_locks(memory, reader, codes, again);
}

std::optional<FutexWait> futex_wait(const SystemCall& call) {
  constexpr std::uint64_t kCommand = 0x7F;  // without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
  if (call.number != SYS_futex) return std::nullopt;
  const std::uint64_t command = call.arguments[1] & kCommand;
  if (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) return std::nullopt;
  return FutexWait{RemoteAddr{call.arguments[0]}, call.arguments[3] != 0};
}

std::vector<std::vector<std::size_t>> find_cycles(std::span<const Wakers> wakers) {
  const std::size_t count = wakers.size();
  // Threads that can't go on: each is left only while all that could wake it are left, too.
  std::vector<bool> stuck(count);
  std::vector<std::vector<std::size_t>> woken(count);
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < count; ++i) {
    stuck[i] = !wakers[i].empty() && std::all_of(wakers[i].begin(), wakers[i].end(),
                                                 [&](std::size_t w) { return w < count; });
    if (!stuck[i]) {
      free.push_back(i);
      continue;
    }
    for (const std::size_t waker : wakers[i])
      woken[waker].push_back(i);
  }
  while (!free.empty()) {
    const std::size_t goes_on = free.back();
    free.pop_back();
    for (const std::size_t thread : woken[goes_on]) {
      if (!stuck[thread]) continue;
      stuck[thread] = false;
      free.push_back(thread);
    }
  }
  // Among these a cycle is a set of threads each of which leads to each other: Tarjan's strongly
  // connected components, with a stack of its own, as chains can be long.
  struct Visit {
    std::size_t node;
    std::size_t next;  // of its wakers
  };
  std::vector<std::size_t> order(count, kNowhere);
  std::vector<std::size_t> low(count);
  std::vector<bool> open(count);
  std::vector<std::size_t> path;
  std::vector<std::vector<std::size_t>> cycles;
  std::size_t visited = 0;
  for (std::size_t start = 0; start < count; ++start) {
    if (!stuck[start] || order[start] != kNowhere) continue;
    std::vector<Visit> visits;
    const auto enter = [&](std::size_t node) {
      order[node] = low[node] = visited++;
      open[node] = true;
      path.push_back(node);
      visits.push_back({node, 0});
    };
    enter(start);
    while (!visits.empty()) {
      const std::size_t node = visits.back().node;
      if (visits.back().next < wakers[node].size()) {
        const std::size_t waker = wakers[node][visits.back().next++];
        if (order[waker] == kNowhere) {
          enter(waker);
        } else if (open[waker]) {
          low[node] = std::min(low[node], order[waker]);
        }
        continue;
      }
      visits.pop_back();
      if (!visits.empty()) low[visits.back().node] = std::min(low[visits.back().node], low[node]);
      if (low[node] != order[node]) continue;
      std::vector<std::size_t> cycle;
      do {
        cycle.push_back(path.back());
        open[path.back()] = false;
        path.pop_back();
      } while (cycle.back() != node);
      const bool waits_for_itself =
          std::find(wakers[node].begin(), wakers[node].end(), node) != wakers[node].end();
      if (cycle.size() > 1 || waits_for_itself) cycles.push_back(std::move(cycle));
    }
  }
  for (auto& cycle : cycles) {
    std::sort(cycle.begin(), cycle.end());
    // Where each thread waits for one other, the next one is that other.
    std::vector<std::size_t> ordered;
    for (std::size_t at = cycle.front(); ordered.size() < cycle.size(); at = wakers[at].front()) {
      if (wakers[at].size() != 1) break;
      ordered.push_back(at);
    }
    if (ordered.size() == cycle.size()) cycle = std::move(ordered);
  }
  std::sort(cycles.begin(), cycles.end());
  return cycles;
}

namespace {

/// The threads of these cycles, and those that they lead to.
std::vector<std::size_t> reached_from(const std::vector<std::vector<std::size_t>>& cycles,
                                      std::span<const Wakers> wakers) {
  std::vector<bool> seen(wakers.size());
  std::vector<std::size_t> reached;
  const auto add = [&](std::size_t thread) {
    if (seen[thread]) return;
    seen[thread] = true;
    reached.push_back(thread);
  };
  for (const auto& cycle : cycles)
    std::for_each(cycle.begin(), cycle.end(), add);
  for (std::size_t i = 0; i < reached.size(); ++i) {
    const Wakers& next = wakers[reached[i]];
    std::for_each(next.begin(), next.end(), add);
  }
  return reached;
}

}  // namespace

WaitCycles find_deadlocks(const BudgetedMemory& memory, const Runtime& runtime, CodeTable& codes,
                          const Target& target, std::span<const GraphThread> threads,
                          std::span<const std::optional<FoundLock>> found, const Log& log) {
  std::vector<Wakers> wakers;
  for (const auto& lock : found)
    wakers.push_back(lock ? lock->wakers() : Wakers{});
  const auto cycles = find_cycles(wakers);
  if (cycles.empty()) return {};
  const LivingProcess* living = target.living();
  if (living == nullptr) {
    log("{} cycles of threads that wait for each other can't be verified without the process",
        cycles.size());
    return {};
  }
  const std::vector<std::size_t> members = reached_from(cycles, wakers);
  std::vector<GraphThread> waiting;
  for (const std::size_t index : members)
    waiting.push_back(threads[index]);
  // A thread that doesn't run between its two marks waits for the same lock, and holds the same
  // ones, all the time. So all that is read between the marks was true at one moment.
  std::this_thread::sleep_for(kInterval);
  std::vector<std::optional<std::uint64_t>> before;
  for (const GraphThread& thread : waiting)
    before.push_back(thread.tid == 0 ? std::nullopt : living->switches_at_rest(thread.tid));
  const auto again = find_locks_again(memory, runtime, codes, target, waiting);
  std::vector<Wakers> confirmed(wakers.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto& now = again[i];
    if (!now || now->lock != found[members[i]]->lock || !before[i]) continue;
    Wakers same = now->wakers();
    for (std::size_t& waker : same)
      waker = members[waker];
    std::sort(same.begin(), same.end());
    if (same == wakers[members[i]] && living->switches_at_rest(waiting[i].tid) == before[i]) {
      confirmed[members[i]] = std::move(same);
    }
  }
  WaitCycles result;
  result.deadlocks = find_cycles(confirmed);
  for (const auto& cycle : cycles) {
    if (std::find(result.deadlocks.begin(), result.deadlocks.end(), cycle) !=
        result.deadlocks.end()) {
      continue;
    }
    log("threads that seemed to wait for each other have gone on");
    result.dissolved.push_back(cycle);
  }
  return result;
}

}  // namespace pyscope
