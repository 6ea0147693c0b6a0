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

/// What these threads wait for now. Their stacks are read anew.
std::vector<std::optional<FoundLock>> find_again(const Memory& memory, const Runtime& runtime,
                                                 CodeTable& codes, const Target& target,
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

}  // namespace

std::optional<FutexWait> futex_wait(const SystemCall& call) {
  constexpr std::uint64_t kCommand = 0x7F;  // without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
  if (call.number != SYS_futex) return std::nullopt;
  const std::uint64_t command = call.arguments[1] & kCommand;
  if (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) return std::nullopt;
  return FutexWait{RemoteAddr{call.arguments[0]}, call.arguments[3] != 0};
}

std::vector<std::vector<std::size_t>> find_cycles(
    std::span<const std::optional<std::size_t>> edges) {
  std::vector<std::vector<std::size_t>> cycles;
  std::vector<std::size_t> visited_from(edges.size(), kNowhere);
  for (std::size_t start = 0; start < edges.size(); ++start) {
    std::size_t at = start;
    while (at < edges.size() && visited_from[at] == kNowhere) {
      visited_from[at] = start;
      at = edges[at].value_or(kNowhere);
    }
    // The path has closed a cycle if it has come back to one of its own nodes, and not if it ended
    // or met an earlier path.
    if (at >= edges.size() || visited_from[at] != start) continue;
    std::vector<std::size_t> cycle;
    for (std::size_t node = at; cycle.empty() || node != at; node = *edges[node])
      cycle.push_back(node);
    std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
    cycles.push_back(std::move(cycle));
  }
  std::sort(cycles.begin(), cycles.end());
  return cycles;
}

WaitCycles find_deadlocks(const Memory& memory, const Runtime& runtime, CodeTable& codes,
                          const Target& target, std::span<const GraphThread> threads,
                          std::span<const std::optional<FoundLock>> found, const Log& log) {
  std::vector<std::optional<std::size_t>> edges;
  for (const auto& lock : found) {
    edges.push_back(lock && lock->binding ? lock->holder : std::nullopt);
  }
  const auto cycles = find_cycles(edges);
  if (cycles.empty()) return {};
  const LivingProcess* living = target.living();
  if (living == nullptr) {
    log("{} cycles of threads that wait for each other can't be verified without the process",
        cycles.size());
    return {};
  }
  std::vector<std::size_t> members;
  std::vector<GraphThread> waiting;
  for (const auto& cycle : cycles) {
    for (const std::size_t index : cycle) {
      members.push_back(index);
      waiting.push_back(threads[index]);
    }
  }
  // A thread that doesn't run between its two marks waits for the same lock, and holds the same
  // ones, all the time. So all that is read between the marks was true at one moment.
  std::this_thread::sleep_for(kInterval);
  std::unordered_map<std::size_t, std::optional<std::uint64_t>> before;
  for (const std::size_t index : members) {
    before[index] =
        threads[index].tid == 0 ? std::nullopt : living->switches_at_rest(threads[index].tid);
  }
  const auto again = find_again(memory, runtime, codes, target, waiting);
  WaitCycles result;
  std::size_t first = 0;  // where the cycle begins in `waiting`
  for (const auto& cycle : cycles) {
    bool same = true;
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      const auto& now = again[first + i];
      const auto& mark = before[cycle[i]];
      same = same && now && now->binding && now->lock == found[cycle[i]]->lock &&
             now->holder == first + (i + 1) % cycle.size() && mark &&
             living->switches_at_rest(threads[cycle[i]].tid) == mark;
    }
    if (!same) log("threads that seemed to wait for each other have gone on");
    (same ? result.deadlocks : result.dissolved).push_back(cycle);
    first += cycle.size();
  }
  return result;
}

}  // namespace pyscope
