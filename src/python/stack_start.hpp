// Where a thread's chain of frames begins: the only place that knows.
#pragma once

#include <cstddef>
#include <optional>

#include "python/reader.hpp"

namespace pyscope {

/// The first frame of a chain and what surrounds the chain.
struct StackStart {
  RemoteAddr current_frame = {};  // null: no Python frames
  RemoteAddr base_frame = {};  // 3.15: the last frame of each chain, in the thread state; else null
  /// Until 3.12: the newest _PyCFrame, on the C stack, of which each call of the evaluation loop
  /// has one; else null.
  RemoteAddr cframe = {};
  RemoteAddr chunk = {};          // newest data stack chunk, for reading ahead; may be null
  std::size_t max_frames = 0;     // of functions, entry frames not counted
  bool may_be_suspended = false;  // of a generator: the chain may end with its frame
  bool unreadable = false;        // what the thread state refers to can't be read
};

/// Of a thread, by its state. `max_frames` is left to the caller.
[[nodiscard]] Result<StackStart> read_stack_start(const Reader& reader, RemoteAddr thread_state);

/// Where a thread's pointer to its current frame lies, which is followed anew by whoever proves
/// that a stack existed.
struct FramePointer {
  RemoteAddr at;
  /// Until 3.12 the pointer lies in a _PyCFrame, to which the pointer at `cframe_at` must lead;
  /// later null.
  RemoteAddr cframe;
  RemoteAddr cframe_at;
};
[[nodiscard]] Result<FramePointer> find_frame_pointer(const Memory& memory,
                                                      const DebugOffsets& offsets,
                                                      RemoteAddr thread_state);
/// A thread's current frame now.
[[nodiscard]] Result<RemoteAddr> read_current_frame(const Memory& memory,
                                                    const DebugOffsets& offsets,
                                                    RemoteAddr thread_state);

}  // namespace pyscope
