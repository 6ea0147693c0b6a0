// Finds recursion in a stack, so that a hundred thousand frames become a handful of lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pyscope {

/// Some frames of a stack that are printed, and how often their end comes again after them.
struct Stretch {
  std::size_t begin = 0;    // the first frame that is printed
  std::size_t shown = 0;    // how many are
  std::size_t period = 0;   // the last `period` of them ...
  std::size_t repeats = 0;  // ... come so many times more, and are not printed again
};

/// Splits a stack, given as one number per frame that is equal for frames that look alike. Like
/// CPython's tracebacks, it prints up to three repetitions in full and collapses what goes beyond;
/// unlike those it also finds functions that call each other in turn, up to 16 of them. Takes time
/// linear in the number of frames.
[[nodiscard]] std::vector<Stretch> collapse_recursion(std::span<const std::uint32_t> frames);

}  // namespace pyscope
