// How the stacks of many threads are read so that each is proven to have existed at one moment.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "passes/draft.hpp"

namespace pyscope {

struct StackOptions {
  /// At most so many functions of each thread, the innermost. Empty: all.
  std::optional<std::size_t> max_frames = {};
  Pause pause = Pause::Never;
  /// Whether Draft::native is filled, too.
  bool native = false;
};

/// Reads the stack of each of these threads into its `stack`, and the code that it runs into the
/// draft's table of code objects.
void prove_stacks(Draft& draft, std::span<ThreadDraft> threads, const StackOptions& options);

}  // namespace pyscope
