#pragma once

#include <algorithm>
#include <cstdint>

#include "base/deadline.hpp"

namespace pyscope {

/// What one process may make pyscope do for one reading of it, whatever its memory holds: time,
/// bytes that are copied, bytes of copies that are kept at a time, and looks at them. There is one
/// for each reading, which all copies of the process's memory draw from: memory without a budget
/// can't be copied (BudgetedMemory). Once some of it is spent, reads fail, and what was read until
/// then is the result.
class Budget {
 public:
  /// Copied in all: of deep stacks that change, the copies are thrown away and made anew.
  // Bound (bytes): of a process's memory: copied in one reading, in all
  static constexpr std::uint64_t kMostCopied = std::uint64_t{8} << 30U;
  // Bound (bytes): of a process's memory: copies that are kept at a time
  static constexpr std::uint64_t kMostKept = std::uint64_t{256} << 20U;
  /// Looks at copies: one for each read, and one more for each 64 bytes of it. Copies are looked at
  /// again and again at no cost to the process, so that small memory could keep us busy for hours.
  // Bound: looks at copies of memory in one reading: one for each read, and one for each 64 bytes
  static constexpr std::uint64_t kMostWork = std::uint64_t{1} << 27U;

  /// For a short look that isn't a reading of its own.
  Budget() = default;
  explicit Budget(const Deadline& deadline) : deadline_(deadline) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  /// Another reading begins. What is still kept stays so.
  void begin_anew(const Deadline& deadline) {
    deadline_ = deadline;
    copied_left_ = kMostCopied;
    work_left_ = kMostWork;
    spent_ = false;
  }
  /// For a reading of values that were asked for one by one.
  void set_most_kept(std::uint64_t bytes) { most_kept_ = bytes; }

  [[nodiscard]] const Deadline& deadline() const { return deadline_; }
  [[nodiscard]] bool has_time() const { return !deadline_.has_passed(); }

  // Each takes its part, or nothing and is false.

  [[nodiscard]] bool copy(std::uint64_t bytes) { return take(copied_left_, bytes); }
  [[nodiscard]] bool work(std::uint64_t looks) { return take(work_left_, looks); }
  [[nodiscard]] bool keep(std::uint64_t bytes) {
    if (bytes > most_kept_ || kept_ > most_kept_ - bytes) return false;
    kept_ += bytes;
    return true;
  }

  /// Whether some of it was asked for in vain: another try would cost as much, and end like this.
  [[nodiscard]] bool is_spent() const { return spent_; }
  void set_spent() { spent_ = true; }

  /// Of work that was taken and not done.
  void return_work(std::uint64_t looks) { work_left_ += looks; }
  /// Of bytes that are kept no longer.
  void drop(std::uint64_t bytes) { kept_ -= std::min(kept_, bytes); }

 private:
  static bool take(std::uint64_t& left, std::uint64_t part) {
    if (part > left) return false;
    left -= part;
    return true;
  }

  Deadline deadline_;
  std::uint64_t copied_left_ = kMostCopied;
  std::uint64_t work_left_ = kMostWork;
  std::uint64_t most_kept_ = kMostKept;
  std::uint64_t kept_ = 0;
  bool spent_ = false;
};

}  // namespace pyscope
