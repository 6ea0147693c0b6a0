// Holds threads of a process still for a moment, by ptrace. Nothing is written to the target, no
// signal is sent, and no register is touched: a held thread goes on where it was.
//
// The threads are held by a process of our own that does nothing else (the holder). The holder lets
// the threads go when it is told to, when its time is up, and when the process that started it
// ends, however that ends. If the holder itself is killed, the kernel lets the threads go. So
// nothing that happens to the reader, not even a read of the target's memory that never returns,
// can leave the target standing.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/unique_fd.hpp"
#include "process/registers.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

struct HoldLimits {
  /// How long to wait until all threads stand. A thread that doesn't stand by then, such as one in
  /// an uninterruptible sleep, is given up.
  std::chrono::microseconds until_stopped{20'000};
  /// How long any thread may stand.
  std::chrono::microseconds until_released{250'000};
};

class ThreadHold {
 public:
  /// Holds as many of these threads (tids as we see them) as can be held, and returns when they
  /// stand. Fails only if there can be no holder (no memory, no more processes).
  [[nodiscard]] static Result<ThreadHold> stop(std::span<const pid_t> tids,
                                               const HoldLimits& limits);

  ThreadHold(ThreadHold&& other) noexcept;
  ThreadHold& operator=(ThreadHold&&) = delete;
  ThreadHold(const ThreadHold&) = delete;
  ThreadHold& operator=(const ThreadHold&) = delete;
  ~ThreadHold();

  /// Whether the thread stands. It stands until release(), provided that release() says that it was
  /// in time.
  [[nodiscard]] bool holds(pid_t tid) const;
  /// Why the thread doesn't stand: "it is traced by process 4711"; empty if it stands or was never
  /// asked for.
  [[nodiscard]] std::string refusal(pid_t tid) const;
  /// Whether the thread was asked to stand and didn't in time.
  [[nodiscard]] bool is_late(pid_t tid) const;

  /// The thread's registers if the thread stands, else null; null also for a 32-bit program.
  [[nodiscard]] const Registers* registers(pid_t tid) const;

  struct Release {
    /// From the first request to stand to the moment when the last thread went on.
    std::chrono::microseconds held{0};
    /// False if the time was up and they had been let go before this call.
    bool in_time = false;
  };
  /// Lets all threads go on. Called again, it returns the same.
  Release release();

 private:
  struct Board;
  ThreadHold() = default;

  // Shared with the holder. The deleter unmaps.
  std::unique_ptr<Board, void (*)(Board*)> board_{nullptr, nullptr};
  pid_t holder_ = 0;  // 0 once it has been reaped
  UniqueFd line_;     // the holder sees its end as an order to let go
  Release release_;
};

}  // namespace pyscope
