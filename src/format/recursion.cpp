#include "format/recursion.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxPeriod = 16;
constexpr std::size_t kCutoff = 3;    // _RECURSIVE_CUTOFF of CPython's traceback.py
constexpr std::size_t kMinShown = 3;  // frames of a collapsed recursion that are printed at least

struct Repetition {
  std::size_t period = 0;
  std::size_t copies = 0;
  [[nodiscard]] std::size_t length() const { return period * copies; }
};

/// The repetition that begins at `begin` and covers the most frames; among equals, the one with the
/// shortest period.
Repetition find_repetition(std::span<const std::uint32_t> frames, std::size_t begin) {
  Repetition best;
  for (std::size_t period = 1; period <= kMaxPeriod && begin + period < frames.size(); ++period) {
    std::size_t end = begin;
    while (end + period < frames.size() && frames[end] == frames[end + period]) {
      ++end;
    }
    const Repetition found{period, (end - begin) / period + 1};
    if (found.copies > kCutoff && found.length() > best.length()) best = found;
  }
  return best;
}

}  // namespace

std::vector<Stretch> collapse_recursion(std::span<const std::uint32_t> frames) {
  std::vector<Stretch> stretches;
  std::size_t begin = 0;  // the first frame that isn't in a stretch yet
  std::size_t at = 0;
  while (at < frames.size()) {
    // Each frame costs at most some hundred comparisons if nothing is collapsed. If something is,
    // the frames that are skipped pay for the comparisons.
    const Repetition repetition = find_repetition(frames, at);
    if (repetition.copies == 0) {
      ++at;
      continue;
    }
    const std::size_t shown_copies = (kMinShown + repetition.period - 1) / repetition.period;
    stretches.push_back({begin, at - begin + shown_copies * repetition.period, repetition.period,
                         repetition.copies - shown_copies});
    at += repetition.length();
    begin = at;
  }
  if (begin < at) stretches.push_back({begin, at - begin, 0, 0});
  return stretches;
}

}  // namespace pyscope
