#include "frames/generator.hpp"

namespace pyscope {

Result<Generator> read_generator(const Reader& reader, RemoteAddr object) {
  const auto state = reader.field<std::int8_t>(object, Field::GenGiFrameState);
  if (!state) return fail("generator", state.error());
  const GeneratorStates& states = reader.layout().generator;
  Generator generator;
  if (*state >= states.completed) return generator;
  generator.state = *state >= states.executing   ? GeneratorState::Running
                    : *state >= states.suspended ? GeneratorState::Suspended
                                                 : GeneratorState::NotStarted;
  generator.stack.current_frame = object + reader.offsets()[Field::GenGiIframe];
  generator.delegates = generator.state == GeneratorState::Suspended && *state >= states.delegating;
  generator.stack.may_be_suspended = generator.state != GeneratorState::Running;
  return generator;
}

Result<RemoteAddr> read_awaited(const Reader& reader, const Generator& generator) {
  constexpr std::uint64_t kSlot = sizeof(std::uint64_t);
  const RemoteAddr frame = generator.stack.current_frame;
  const DebugOffsets& offsets = reader.offsets();
  RemoteAddr top;  // one slot above the stack
  if (offsets.has(Field::FrameStackpointer)) {
    const auto pointer = reader.pointer(frame, Field::FrameStackpointer);
    if (!pointer) return fail(pointer.error());
    top = *pointer;
  } else {
    const auto depth = reader.field<std::int32_t>(frame, Field::FrameStacktop);
    if (!depth) return fail(depth.error());
    if (*depth < 0) return RemoteAddr{};
    top = frame + (offsets[Field::FrameLocalsplus] + kSlot * static_cast<std::uint64_t>(*depth));
  }
  const std::uint64_t below = kSlot * reader.layout().awaited_slot;
  if (top < frame + (offsets[Field::FrameLocalsplus] + below)) return RemoteAddr{};
  const auto slot = reader.value<std::uint64_t>(RemoteAddr{top.raw() - below}, 0);
  if (!slot) return fail(slot.error());
  const RemoteAddr object{reader.layout().untagged(*slot)};
  return object.is_plausible_pointer() ? object : RemoteAddr{};
}

}  // namespace pyscope
