#pragma once

#include <algorithm>
#include <chrono>

namespace pyscope {

/// When a call has to end, whatever its target makes it do.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// Never.
  Deadline() = default;
  explicit Deadline(Clock::time_point at) : at_(at) {}
  [[nodiscard]] static Deadline after(Clock::duration time) {
    return Deadline(Clock::now() + time);
  }

  [[nodiscard]] bool has_passed() const {
    return at_ != Clock::time_point::max() && Clock::now() >= at_;
  }
  /// How much time there is until then; none once it has passed.
  [[nodiscard]] std::chrono::milliseconds left() const {
    if (at_ == Clock::time_point::max()) return std::chrono::hours(24);
    return std::max(std::chrono::milliseconds(0),
                    std::chrono::ceil<std::chrono::milliseconds>(at_ - Clock::now()));
  }
  /// This one or another time, whichever comes first.
  [[nodiscard]] Clock::time_point or_earlier(Clock::time_point other) const {
    return other < at_ ? other : at_;
  }

 private:
  Clock::time_point at_ = Clock::time_point::max();
};

}  // namespace pyscope
