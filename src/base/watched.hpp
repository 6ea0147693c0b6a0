// Work on many things whose calls into the kernel may never come back, as of a page that lies on a
// file system that doesn't answer.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace pyscope {

/// Threads that were left behind. A program that has any ends by _Exit: such a thread may come back
/// at any time, and must not find the program's objects half destroyed.
inline std::atomic<std::size_t> threads_left_behind = 0;

/// Calls work(i) for 0 to count - 1 on so many threads, and take(i, result) on the calling thread
/// for each as it comes. Work that takes longer than `patience` is left behind with its thread, and
/// take() gets nothing for it; another thread goes on with the rest. `work` is copied, and must own
/// all that it uses, as it may outlive this call. What is thrown in it is thrown here.
template <class Work, class Take>
void run_watched(std::size_t count, std::size_t threads,
                 std::chrono::steady_clock::duration patience, Work work, const Take& take) {
  using SteadyClock = std::chrono::steady_clock;
  using Outcome = decltype(work(std::size_t{}));
  struct Slot {  // of one thread
    std::size_t item = 0;
    bool busy = false;
    bool left_behind = false;
    SteadyClock::time_point since;
  };
  struct State {
    explicit State(Work all) : work(std::move(all)) {}
    Work work;
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t next = 0;
    std::deque<Slot> slots;  // its elements stay where they are
    std::deque<std::pair<std::size_t, Outcome>> ready;
    std::exception_ptr thrown;
  };
  const auto state = std::make_shared<State>(std::move(work));
  const auto run = [count](State& all, Slot& slot) {
    std::unique_lock lock(all.mutex);
    while (!slot.left_behind && all.next < count) {
      slot.item = all.next++;
      slot.since = SteadyClock::now();
      slot.busy = true;
      lock.unlock();
      try {
        Outcome outcome = all.work(slot.item);
        lock.lock();
        if (slot.left_behind) break;
        all.ready.emplace_back(slot.item, std::move(outcome));
      } catch (...) {
        if (!lock.owns_lock()) lock.lock();
        if (slot.left_behind) break;
        all.thrown = std::current_exception();
        all.next = count;
      }
      slot.busy = false;
      all.changed.notify_all();
    }
    if (slot.left_behind) --threads_left_behind;
  };
  std::unique_lock lock(state->mutex);
  const auto start_thread = [&] {
    Slot& slot = state->slots.emplace_back();
    try {
      std::thread([state, run, &slot] { run(*state, slot); }).detach();
      return true;
    } catch (const std::system_error&) {
      state->slots.pop_back();
      return false;  // no memory or no more threads are to be had: fewer will do
    }
  };
  std::size_t running = 0;
  while (running < std::min(threads, count) && start_thread())
    ++running;
  for (std::size_t taken = 0; taken < count;) {
    if (running == 0 && state->ready.empty()) {
      if (state->next == count) return;
      if (start_thread()) {
        ++running;
      } else {
        // Without a thread there is nobody who could watch.
        const std::size_t item = state->next++;
        lock.unlock();
        std::optional<Outcome> outcome(std::in_place, state->work(item));
        take(item, std::move(outcome));
        lock.lock();
        ++taken;
        continue;
      }
    }
    if (state->thrown) std::rethrow_exception(state->thrown);
    while (!state->ready.empty()) {
      auto [item, outcome] = std::move(state->ready.front());
      state->ready.pop_front();
      ++taken;
      take(item, std::optional<Outcome>(std::in_place, std::move(outcome)));
    }
    if (taken == count) return;
    auto latest = SteadyClock::time_point::max();
    const auto now = SteadyClock::now();
    for (Slot& slot : state->slots) {
      if (!slot.busy || slot.left_behind) continue;
      if (slot.since + patience > now) {
        latest = std::min(latest, slot.since + patience);
        continue;
      }
      slot.left_behind = true;
      ++threads_left_behind;
      --running;
      ++taken;
      take(slot.item, std::optional<Outcome>());
    }
    if (taken == count) return;
    while (running < threads && state->next < count && start_thread())
      ++running;
    if (!state->ready.empty() || state->thrown || running == 0) continue;
    if (latest == SteadyClock::time_point::max()) latest = now + patience;
    state->changed.wait_until(lock, latest);
  }
}

}  // namespace pyscope
