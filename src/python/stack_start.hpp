// Where a thread's chain of frames begins: the only place that knows.
#pragma once

#include <cstddef>

#include "python/reader.hpp"

namespace pyscope {

/// The first frame of a chain and what surrounds the chain.
struct StackStart {
  RemoteAddr current_frame = {};  // null: no Python frames
  RemoteAddr base_frame = {};  // 3.15: the last frame of each chain, in the thread state; else null
  RemoteAddr chunk = {};       // newest data stack chunk, for reading ahead; may be null
  std::size_t max_frames = 0;  // of functions, entry frames not counted
  bool may_be_suspended = false;  // of a generator: the chain may end with its frame
};

/// Of a thread, by its state. `max_frames` is left to the caller.
[[nodiscard]] Result<StackStart> read_stack_start(const Reader& reader, RemoteAddr thread_state);

/// The address of a thread's pointer to its current frame, which is followed anew by whoever proves
/// that a stack existed.
[[nodiscard]] RemoteAddr current_frame_pointer(const DebugOffsets& offsets,
                                               RemoteAddr thread_state);

}  // namespace pyscope
