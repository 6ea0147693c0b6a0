#include "frames/generator.hpp"

#include <algorithm>

namespace pyscope {
namespace {

/// Whether a suspended generator goes on at the RESUME that follows an `await` or `yield from`. Its
/// frame names the unit before.
bool resumes_delegating(const Reader& reader, RemoteAddr frame) {
  constexpr std::uint64_t kUnitSize = 2;
  constexpr unsigned kPlaceBits = 3;  // 1: after a `yield`, 2: a `yield from`, 3: an `await`
  constexpr unsigned kYieldFrom = 2;
  const auto& resumes = reader.layout().resumes;
  const auto last = reader.field<std::uint64_t>(frame, Field::FrameInstrPtr);
  if (resumes.empty() || !last) return false;
  const RemoteAddr next = RemoteAddr{*last} + kUnitSize;
  const auto opcode = read_as<std::uint8_t>(reader.memory(), next);
  const auto argument = read_as<std::uint8_t>(reader.memory(), next + 1);
  return opcode && argument &&
         std::find(resumes.begin(), resumes.end(), *opcode) != resumes.end() &&
         (*argument & kPlaceBits) >= kYieldFrom;
}

}  // namespace

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
  generator.delegates =
      generator.state == GeneratorState::Suspended &&
      (*state >= states.delegating || resumes_delegating(reader, generator.stack.current_frame));
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
