// The rule that the stacks of tests/live/programs/torn.py keep.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "pyscope/snapshot.hpp"

namespace pyscope::test {

class LegalStacks {
 public:
  /// `callers` as the program prints them: for each function the [caller, line] pairs that it may
  /// have.
  explicit LegalStacks(const nlohmann::json& callers);

  /// Says what is impossible about a thread's stack; empty if nothing is.
  [[nodiscard]] std::string find_fault(const Snapshot& snapshot, const Thread& thread) const;

 private:
  struct Callers {
    bool any = false;  // where a thread begins
    std::set<std::pair<std::string, std::int32_t>> calls;
  };
  std::unordered_map<std::string, Callers> callers_;
};

}  // namespace pyscope::test
