#pragma once

#include "base/deadline.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// Memory that can be read until a deadline. Whatever follows a target's pointers reads memory
/// sooner or later, so no such work goes on for ever.
class DeadlineMemory final : public Memory {
 public:
  explicit DeadlineMemory(const Memory& source) : source_(source) {}

  void set_deadline(const Deadline& deadline) { deadline_ = deadline; }
  [[nodiscard]] const Deadline& deadline() const { return deadline_; }

  void read_many(std::span<ReadRequest> requests) const override;

 private:
  const Memory& source_;
  Deadline deadline_;
};

}  // namespace pyscope
