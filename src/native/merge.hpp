// Puts the frames of a thread's Python stack and those of its native stack into one order, without
// any symbols.
//
// Each call of the interpreter's evaluation loop from C has an entry frame (struct
// _PyInterpreterFrame) as a variable. The entry frame ends the run of Python frames that this call
// executes. So the loop's native frame is the one whose part of the stack holds the entry frame,
// however the loop was compiled.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "native/unwinder.hpp"

namespace pyscope {

/// A frame of the Python chain, as far as the merge needs it.
struct ChainLink {
  RemoteAddr at;
  bool entry = false;
};

struct MergedFrame {
  enum class From : std::uint8_t {
    Chain,
    Native,
    EvaluationLoop,  // a native frame that executes the Python frames before it
  };
  From from = From::Native;
  std::size_t index = 0;  // in its own stack
};

struct MergedStack {
  /// Innermost first. All of both stacks, or nothing if they don't fit together.
  std::vector<MergedFrame> frames;
  std::string note;  // why they don't fit
  /// How many of the chain's last entries lie beyond the end of the native stack. The frames of
  /// their runs come behind the native stack.
  std::size_t beyond = 0;
};

/// Both stacks innermost first, and of one moment.
[[nodiscard]] MergedStack merge_stacks(std::span<const ChainLink> chain, const NativeWalk& native);

}  // namespace pyscope
