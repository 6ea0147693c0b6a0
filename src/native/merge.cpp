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

std::size_t count_entries(std::span<const ChainLink> chain) {
  return static_cast<std::size_t>(
      std::count_if(chain.begin(), chain.end(), [](const ChainLink& link) { return link.entry; }));
}

}  // namespace

MergedStack merge_stacks(std::span<const ChainLink> chain, const NativeWalk& native) {
  MergedStack merged;
  const std::span<const UnwoundFrame> frames(native.frames);
  // The frames that the runs before this one have used up.
  std::size_t next_native = 0;
  std::size_t next_link = 0;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (!chain[i].entry) continue;
    const auto loop = frame_that_holds(frames.subspan(next_native), chain[i].at);
    if (!loop) {
      // 3.15 ends each chain with a frame in the thread's own state, behind the last entry frame.
      if (i + 1 == chain.size() && i == next_link) break;
      if (frame_that_holds(frames, chain[i].at)) {
        merged.frames.clear();
        merged.note =
            fmt::format("the native frame of entry {} of {} from C code has been passed already",
                        count_entries(chain.first(i + 1)), count_entries(chain));
        return merged;
      }
      // The native stack wasn't unwound that far, or ends before: a program that switches stacks by
      // hand leaves no way back.
      merged.beyond = count_entries(chain.subspan(i));
      break;
    }
    for (std::size_t n = 0; n < *loop; ++n)
      merged.frames.push_back({From::Native, next_native++});
    while (next_link <= i)
      merged.frames.push_back({From::Chain, next_link++});
    merged.frames.push_back({From::EvaluationLoop, next_native++});
  }
  while (next_native < frames.size())
    merged.frames.push_back({From::Native, next_native++});
  while (next_link < chain.size())
    merged.frames.push_back({From::Chain, next_link++});
  return merged;
}

}  // namespace pyscope
