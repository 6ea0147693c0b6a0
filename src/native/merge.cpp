#include "native/merge.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace pyscope {
namespace {

using From = MergedFrame::From;

/// Finds the frame whose part of the stack holds an address. The parts of one stack follow each
/// other; where a signal handler has its own stack, there are two such rows.
std::optional<std::size_t> frame_that_holds(std::span<const UnwoundFrame> frames, RemoteAddr at) {
  const auto found = std::find_if(frames.begin(), frames.end(), [&](const UnwoundFrame& frame) {
    return frame.stack.contains(at);
  });
  if (found == frames.end()) return std::nullopt;
  return static_cast<std::size_t>(found - frames.begin());
}

}  // namespace

MergedStack merge_stacks(std::span<const ChainLink> chain, const NativeWalk& native) {
  MergedStack merged;
  const std::span<const UnwoundFrame> frames(native.frames);
  // What the runs before it have used up.
  std::size_t next_native = 0;
  std::size_t next_link = 0;
  bool ended = false;  // the native stack wasn't unwound to where the run is
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (!chain[i].entry) continue;
    const auto loop = frame_that_holds(frames.subspan(next_native), chain[i].at);
    if (!loop) {
      // 3.15 ends each chain with a frame in the thread's own state, behind the last entry frame.
      if (i + 1 == chain.size() && i == next_link && i > 0) break;
      if (!native.error.empty()) {
        ended = true;
        break;
      }
      return {{},
              fmt::format(
                  "no native frame holds the {} of {} entries from C code",
                  std::count_if(chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                [](const ChainLink& link) { return link.entry; }),
                  std::count_if(chain.begin(), chain.end(),
                                [](const ChainLink& link) { return link.entry; }))};
    }
    for (std::size_t n = 0; n < *loop; ++n)
      merged.frames.push_back({From::Native, next_native++});
    while (next_link <= i)
      merged.frames.push_back({From::Chain, next_link++});
    merged.frames.push_back({From::EvaluationLoop, next_native++});
  }
  if (ended || native.error.empty() || next_link == chain.size()) {
    while (next_native < frames.size())
      merged.frames.push_back({From::Native, next_native++});
  }
  while (next_link < chain.size())
    merged.frames.push_back({From::Chain, next_link++});
  return merged;
}

}  // namespace pyscope
