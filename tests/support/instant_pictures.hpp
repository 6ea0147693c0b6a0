// What instants.py keeps true, and whether a snapshot of it is possible.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope::test {

/// All integers of a text, in their order.
inline std::vector<long> integers_in(std::string_view text) {
  std::vector<long> numbers;
  while (!text.empty()) {
    long number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{}) numbers.push_back(number);
    text.remove_prefix(std::max<std::size_t>(1, static_cast<std::size_t>(end - text.data())));
  }
  return numbers;
}

/// Whether a variable of `change` keeps its invariant.
inline bool is_possible(const std::string& name, const std::string& repr) {
  const std::vector<long> numbers = integers_in(repr);
  if (name == "swapped")
    return numbers == std::vector<long>{1, 2} || numbers == std::vector<long>{2, 1};
  if (name == "totals") return numbers.size() == 2 && numbers[0] + numbers[1] == 100;
  if (name == "latest") {
    return numbers.size() == 3 && numbers[0] == numbers[1] && numbers[1] == numbers[2];
  }
  if (name == "growing") {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (numbers[i] != static_cast<long>(i)) return false;
    }
    return !numbers.empty() && numbers.size() <= 16;
  }
  if (name == "table") {
    for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) {
      if (numbers[i + 1] != 2 * numbers[i]) return false;
    }
    return numbers.size() % 2 == 0;
  }
  if (name == "ring") {
    for (std::size_t i = 0; i + 1 < numbers.size(); ++i) {
      if (numbers[i + 1] != (numbers[i] + 1) % 8) return false;
    }
    return numbers.size() == 8;
  }
  return true;
}

struct PictureTally {
  std::size_t snapshots = 0;
  std::size_t one_instant = 0;
  std::size_t impossible = 0;  // pictures called one instant in which two threads have the token
  std::size_t values = 0;      // called consistent
  std::size_t broken = 0;      // of these
  std::size_t doubted = 0;     // variables of a frame whose values are not called consistent
  std::string example;
};

inline void add_picture(const Snapshot& snapshot, PictureTally& tally) {
  ++tally.snapshots;
  std::size_t holders = 0;
  for (const Thread& thread : snapshot.threads) {
    for (const Frame& frame : thread.frames) {
      if (!frame.code || *frame.code >= snapshot.codes.size()) continue;
      const std::string& function = snapshot.codes[*frame.code].function;
      if (function == "holding") ++holders;
      if (function != "change" || !frame.locals) continue;
      const Locals& locals = snapshot.locals[*frame.locals];
      if (!locals.consistent) {
        ++tally.doubted;
        continue;
      }
      for (const Local& local : locals.variables) {
        if (local.truncated) continue;
        ++tally.values;
        if (is_possible(local.name, local.repr)) continue;
        ++tally.broken;
        tally.example = local.name + " = " + local.repr;
      }
    }
  }
  if (!snapshot.capture.one_instant) return;
  ++tally.one_instant;
  if (holders > 1) ++tally.impossible;
}

}  // namespace pyscope::test
