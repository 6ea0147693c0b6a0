// Threads that stand still for pyscope, while the passes run that need it. What is read of them
// meanwhile was all true at one moment. But a thread can be made to go on, so nothing of it is
// believed unless release() says that all stood until then.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "target/target.hpp"

namespace pyscope {

class ThreadHolds {
 public:
  /// `living` is null where there is no process to hold.
  explicit ThreadHolds(const LivingProcess* living) : living_(living) {}

  /// Holds these threads too.
  void hold(std::span<const pid_t> tids, const Log& log);
  /// Holds all threads that `list` gives, and lists and holds again until no new one turns up: a
  /// thread that runs on may start others, which can't be held before they are seen. Threads that
  /// don't stop in time are asked a few times more.
  void hold_all(const std::function<std::vector<pid_t>()>& list, const Log& log);

  /// Whether the thread stands for pyscope.
  [[nodiscard]] bool holds(pid_t tid) const;
  /// Null if it doesn't stand.
  [[nodiscard]] const Registers* registers(pid_t tid) const;
  /// Why a thread that was to be held isn't. Empty for all other threads.
  [[nodiscard]] std::string refusal(pid_t tid) const;
  /// Whether the thread was asked to stop and didn't in time. Another try may succeed.
  [[nodiscard]] bool is_late(pid_t tid) const;
  /// Whether any thread may stand at the moment.
  [[nodiscard]] bool holds_any() const { return released_ < holds_.size(); }
  /// Whether hold_all() has been called, and every thread that it knows of stands.
  [[nodiscard]] bool holds_all() const { return all_; }

  /// Lets all threads go on. True if all that weren't let go before have stood until now.
  bool release();

  /// How long the thread stood that stood longest.
  [[nodiscard]] std::int64_t microseconds() const { return microseconds_; }
  /// How many threads were held.
  [[nodiscard]] std::size_t threads() const { return held_; }

 private:
  const LivingProcess* living_;
  std::vector<ThreadHold> holds_;
  std::size_t released_ = 0;  // so many of them don't hold any more
  bool all_ = false;
  std::string failure_;
  std::int64_t microseconds_ = 0;
  std::size_t held_ = 0;
};

}  // namespace pyscope
