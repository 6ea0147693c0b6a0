// The threads that a future's result can come from: the worker that runs its call, the workers of
// the executor in whose queue the call is, or the thread of the event loop that runs its coroutine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "locks/locks.hpp"
#include "locks/namespaces.hpp"
#include "locks/thread_frames.hpp"

namespace pyscope {

inline constexpr std::string_view kFutureType = "concurrent.futures.Future";

class Futures {
 public:
  Futures(ThreadFrames& frames, Namespaces& namespaces)
      : frames_(frames), reader_(frames.reader()), namespaces_(namespaces) {}

  /// Fills what is known of the future at `found.at`. The first call looks at all frames.
  void find_servers(FoundLock& found);

 private:
  /// A function of the standard library whose frame tells of futures.
  enum class Part : std::uint8_t { None, WorkItem, Worker, EventLoop };
  /// The threads that take calls from one queue.
  struct Pool {
    RemoteAddr queue;
    std::vector<std::size_t> workers;
    std::uint64_t most_workers = 0;  // 0: not known
    std::vector<RemoteAddr> queued;  // futures, in their order
  };
  struct EventLoop {
    RemoteAddr loop;
    std::size_t thread = 0;
  };

  void look_at_threads();
  [[nodiscard]] Part part_of(RemoteAddr code) const;
  void add_worker(std::size_t thread, const RawFrame& frame);
  void read_queue(Pool& pool) const;
  [[nodiscard]] bool is_run_by(const EventLoop& loop, RemoteAddr future);
  [[nodiscard]] bool closes_over(RemoteAddr function, RemoteAddr value) const;

  ThreadFrames& frames_;
  const Reader& reader_;
  Namespaces& namespaces_;
  bool looked_ = false;
  std::unordered_map<std::uint64_t, std::size_t> runs_;  // the thread, by future
  std::vector<Pool> pools_;
  std::vector<EventLoop> loops_;
};

}  // namespace pyscope
