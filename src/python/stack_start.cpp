#include "python/stack_start.hpp"

namespace pyscope {

Result<FramePointer> find_frame_pointer(const Memory& memory, const DebugOffsets& offsets,
                                        RemoteAddr thread_state) {
  if (!offsets.has(Field::ThreadCframe)) {
    return FramePointer{
        .at = thread_state + offsets[Field::ThreadCurrentFrame], .cframe = {}, .cframe_at = {}};
  }
  FramePointer pointer;
  pointer.cframe_at = thread_state + offsets[Field::ThreadCframe];
  const auto cframe = read_as<std::uint64_t>(memory, pointer.cframe_at);
  if (!cframe) return fail(cframe.error());
  pointer.cframe = RemoteAddr{*cframe};
  pointer.at = pointer.cframe + offsets[Field::CframeCurrentFrame];
  return pointer;
}

Result<RemoteAddr> read_current_frame(const Memory& memory, const DebugOffsets& offsets,
                                      RemoteAddr thread_state) {
  const auto pointer = find_frame_pointer(memory, offsets, thread_state);
  if (!pointer) return fail(pointer.error());
  const auto frame = read_as<std::uint64_t>(memory, pointer->at);
  if (!frame) return fail(frame.error());
  return RemoteAddr{*frame};
}

Result<StackStart> read_stack_start(const Reader& reader, RemoteAddr thread_state) {
  const auto pointer = find_frame_pointer(reader.memory(), reader.offsets(), thread_state);
  if (!pointer) return fail(pointer.error());
  const auto chunk = reader.field<std::uint64_t>(thread_state, Field::ThreadDatastackChunk);
  if (!chunk) return fail(chunk.error());
  StackStart start;
  start.chunk = RemoteAddr{*chunk};
  start.cframe = pointer->cframe;
  if (pointer->cframe && !pointer->cframe.is_plausible_pointer()) {
    start.unreadable = true;
    return start;
  }
  const auto frame = reader.value<std::uint64_t>(pointer->at, 0);
  if (!frame) {
    // The C stack of a thread that is gone costs no other thread.
    if (!pointer->cframe) return fail(frame.error());
    start.unreadable = true;
    return start;
  }
  start.current_frame = RemoteAddr{*frame};
  if (reader.offsets().has(Field::ThreadBaseFrame)) {
    const auto base = reader.field<std::uint64_t>(thread_state, Field::ThreadBaseFrame);
    if (!base) return fail(base.error());
    start.base_frame = RemoteAddr{*base};
  }
  return start;
}

}  // namespace pyscope
