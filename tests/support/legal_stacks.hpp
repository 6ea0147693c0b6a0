// The rule that the stacks of tests/live/programs/torn.py keep.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope::test {

/// What the rule needs to know of a frame, whoever read it.
struct CalledFrame {
  std::string_view function;  // the qualified name
  std::string_view file;
  std::int32_t line = 0;
};

class LegalStacks {
 public:
  /// `callers` as the program prints them: for each function the [caller, line] pairs that it may
  /// have.
  explicit LegalStacks(const nlohmann::json& callers);

  /// Says what is impossible about a thread's stack; empty if nothing is.
  [[nodiscard]] std::string find_fault(const Snapshot& snapshot, const Thread& thread) const;

  /// The same of the calls alone, innermost first: a stack may end anywhere.
  [[nodiscard]] std::string find_fault(const std::vector<CalledFrame>& stack) const;

  /// Where the stack of a whole thread ends.
  [[nodiscard]] static std::string_view outermost(bool main_thread);

 private:
  struct Callers {
    bool any = false;  // where a thread begins
    std::set<std::pair<std::string, std::int32_t>> calls;
  };
  std::unordered_map<std::string, Callers> callers_;
};

}  // namespace pyscope::test
