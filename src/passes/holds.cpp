#include "passes/holds.hpp"

#include <algorithm>
#include <chrono>
#include <unordered_map>

namespace pyscope {

void ThreadHolds::hold(std::span<const pid_t> tids, const Log& log) {
  if (tids.empty()) return;
  if (living_ == nullptr) {
    failure_ = "there is no process to hold";
    return;
  }
  // About 20 us a thread; several times that on a busy machine.
  HoldLimits limits;
  limits.until_stopped += std::chrono::microseconds(100) * tids.size();
  limits.until_released += std::chrono::microseconds(500) * tids.size();
  auto hold = living_->hold(tids, limits);
  if (!hold) {
    failure_ = hold.error().message;
    log("{}", failure_);
    return;
  }
  for (const pid_t tid : tids) {
    if (hold->holds(tid)) {
      ++held_;
    } else {
      log("thread {} can't be held: {}", tid, hold->refusal(tid));
    }
  }
  holds_.push_back(*std::move(hold));
}

void ThreadHolds::hold_all(const std::function<std::vector<pid_t>()>& list, const Log& log) {
  // After the first round, the threads stand that could start others. Only late ones may still run:
  // on a busy machine a thread may not get a processor in time to stop.
  constexpr int kMaxRounds = 8;
  constexpr int kMaxTries = 4;
  std::unordered_map<pid_t, int> tries;
  std::vector<pid_t> all;
  bool settled = false;
  for (int round = 0; round < kMaxRounds && !settled; ++round) {
    all = list();
    std::vector<pid_t> more;
    for (const pid_t tid : all) {
      int& asked = tries[tid];
      if (asked > 0 && (asked == kMaxTries || !is_late(tid))) continue;
      ++asked;
      more.push_back(tid);
    }
    settled = more.empty();
    hold(more, log);
  }
  all_ = settled && std::all_of(all.begin(), all.end(), [&](pid_t tid) { return holds(tid); });
}

bool ThreadHolds::holds(pid_t tid) const {
  return std::any_of(holds_.begin() + static_cast<std::ptrdiff_t>(released_), holds_.end(),
                     [&](const ThreadHold& hold) { return hold.holds(tid); });
}

const Registers* ThreadHolds::registers(pid_t tid) const {
  for (const ThreadHold& hold : holds_) {
    if (const Registers* registers = hold.registers(tid)) return registers;
  }
  return nullptr;
}

std::string ThreadHolds::refusal(pid_t tid) const {
  for (auto hold = holds_.rbegin(); hold != holds_.rend(); ++hold) {
    if (auto why = hold->refusal(tid); !why.empty()) return why;
  }
  return failure_;
}

bool ThreadHolds::is_late(pid_t tid) const {
  const auto any = [&](const auto& of_hold) {
    return std::any_of(holds_.begin(), holds_.end(), of_hold);
  };
  return any([&](const ThreadHold& hold) { return hold.is_late(tid); }) &&
         !any([&](const ThreadHold& hold) { return hold.holds(tid); });
}

bool ThreadHolds::release() {
  bool in_time = true;
  // The first one has stood longest, and goes last.
  for (std::size_t i = holds_.size(); i-- > released_;) {
    const auto release = holds_[i].release();
    in_time = in_time && release.in_time;
    microseconds_ = std::max<std::int64_t>(microseconds_, release.held.count());
  }
  released_ = holds_.size();
  all_ = false;
  return in_time;
}

}  // namespace pyscope
