// What somebody who types commands can do next.
#pragma once

#include <string>
#include <vector>

#include "format/paint.hpp"
#include "pyscope/diagnosis.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// How to have all of a snapshot verified. Empty if all is verified, or if threads were held
/// already.
[[nodiscard]] std::string advice(const Snapshot& snapshot);

/// A command that tells more of what was found.
struct NextStep {
  std::string command;  // ready to paste
  std::string why;      // what it tells, in some words
};

/// For each state of the process that one dump doesn't tell all of. A snapshot of no living process
/// has none.
[[nodiscard]] std::vector<NextStep> next_steps(const Snapshot& snapshot);
[[nodiscard]] std::vector<NextStep> next_steps(const Diagnosis& diagnosis);

/// A line each: "Next: pyscope tasks 4711  # …", which may be pasted as a whole.
void append_next_steps(std::string& out, const std::vector<NextStep>& steps,
                       const Painter& painter);

}  // namespace pyscope
