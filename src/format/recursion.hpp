// Finds recursion in a stack, so that a hundred thousand frames become a handful of lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pyscope {

/// Some frames of a stack that are printed, and how often the last of them are repeated after them.
struct Stretch {
  std::size_t begin = 0;    // the first frame that is printed
  std::size_t shown = 0;    // how many are
  std::size_t period = 0;   // the last `period` of them ...
  std::size_t repeats = 0;  // ... come so many times more, and are not printed again
};

/// Splits a stack into stretches. The stack is given as a number for each frame; frames that look
/// alike have equal numbers. As in CPython's tracebacks, up to three repetitions stay in full and
/// the rest is collapsed. Unlike those, this also finds functions that call each other in turn, up
/// to 16 of them. Takes time linear in the number of frames.
[[nodiscard]] std::vector<Stretch> collapse_recursion(std::span<const std::uint32_t> frames);

}  // namespace pyscope
