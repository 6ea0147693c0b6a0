#include "python/stack_start.hpp"

namespace pyscope {

RemoteAddr current_frame_pointer(const DebugOffsets& offsets, RemoteAddr thread_state) {
  return thread_state + offsets[Field::ThreadCurrentFrame];
}

Result<StackStart> read_stack_start(const Reader& reader, RemoteAddr thread_state) {
  const auto frame =
      reader.value<std::uint64_t>(current_frame_pointer(reader.offsets(), thread_state), 0);
  if (!frame) return fail(frame.error());
  const auto chunk = reader.field<std::uint64_t>(thread_state, Field::ThreadDatastackChunk);
  if (!chunk) return fail(chunk.error());
  StackStart start;
  start.current_frame = RemoteAddr{*frame};
  start.chunk = RemoteAddr{*chunk};
  if (reader.offsets().has(Field::ThreadBaseFrame)) {
    const auto base = reader.field<std::uint64_t>(thread_state, Field::ThreadBaseFrame);
    if (!base) return fail(base.error());
    start.base_frame = RemoteAddr{*base};
  }
  return start;
}

}  // namespace pyscope
