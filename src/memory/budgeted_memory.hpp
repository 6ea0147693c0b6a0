#pragma once

#include "base/budget.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// Memory together with the budget of the reading that it is read for. Only such memory can be
/// copied (PageCache), so that no reader of a process can do without a budget.
class BudgetedMemory : public Memory {
 public:
  [[nodiscard]] Budget& budget() const { return budget_; }

 protected:
  explicit BudgetedMemory(Budget& budget) : budget_(budget) {}

 private:
  Budget& budget_;
};

/// The memory of a target, which can be read until the deadline of the budget. Whatever follows a
/// target's pointers reads memory sooner or later, so no such work goes on for ever.
class TargetMemory final : public BudgetedMemory {
 public:
  TargetMemory(const Memory& source, Budget& budget) : BudgetedMemory(budget), source_(source) {}

  void read_many(std::span<ReadRequest> requests) const override;

 private:
  const Memory& source_;
};

}  // namespace pyscope
