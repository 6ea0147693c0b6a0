// The stack of a task: its coroutine, what that awaits, and so on to the innermost one.
#pragma once

#include <string>
#include <vector>

#include "frames/raw_frame.hpp"
#include "python/reader.hpp"

namespace pyscope {

struct AwaitChain {
  std::vector<RawFrame> frames;  // of generators and coroutines, the outermost first
  /// Its innermost coroutine runs: the rest of the stack is that of a thread, above the last of
  /// `frames`.
  bool runs = false;
  bool not_started = false;
  std::string error;  // why it ends before its end
};

/// One chain for each coroutine. Coroutines that are alike in length are read together, so that
/// many cost few reads.
[[nodiscard]] std::vector<AwaitChain> follow_awaits(const Reader& reader,
                                                    const std::vector<RemoteAddr>& coroutines);

}  // namespace pyscope
