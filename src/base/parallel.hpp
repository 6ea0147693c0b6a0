// The same work on many things, by several threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace pyscope {

/// Calls work(i) for 0 to count - 1 on so many threads, and take(i, result) for each result, one at
/// a time: in their order, or as each comes. Never more than a few results for each thread wait to
/// be taken. Once take() returns false no further work begins. What is thrown in it is thrown here.
template <class Work, class Take>
void run_parallel(std::size_t count, std::size_t threads, bool in_order, const Work& work,
                  const Take& take) {
  using Outcome = decltype(work(std::size_t{}));
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t next = 0;
  std::size_t taken = 0;
  bool stopped = false;
  std::map<std::size_t, Outcome> ready;
  std::exception_ptr thrown;
  const std::size_t window = threads * 4;

  const auto run = [&] {
    std::unique_lock lock(mutex);
    try {
      while (true) {
        changed.wait(
            lock, [&] { return stopped || next == count || !in_order || next < taken + window; });
        if (stopped || next == count) return;
        const std::size_t mine = next++;
        lock.unlock();
        Outcome value = work(mine);
        lock.lock();
        if (stopped) return;
        if (!in_order) {
          stopped = !take(mine, std::move(value));
          continue;
        }
        ready.emplace(mine, std::move(value));
        while (!stopped && !ready.empty() && ready.begin()->first == taken) {
          auto first = ready.extract(ready.begin());
          ++taken;
          stopped = !take(first.key(), std::move(first.mapped()));
        }
        changed.notify_all();
      }
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      thrown = std::current_exception();
      stopped = true;
      changed.notify_all();
    }
  };
  std::vector<std::thread> others;
  others.reserve(threads);
  for (std::size_t i = 1; i < threads && i < count; ++i) {
    try {
      others.emplace_back(run);
    } catch (const std::system_error&) {
      break;  // no memory or no more threads are to be had: fewer will do
    }
  }
  run();
  for (std::thread& other : others)
    other.join();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace pyscope
