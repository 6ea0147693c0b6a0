#include "frames/generator.hpp"

#include <array>

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
  generator.stack.may_be_suspended = generator.state != GeneratorState::Running;
  return generator;
}

Result<RawFrame> read_first_frame(const Reader& reader, const StackStart& start) {
  if (!start.current_frame) return fail(ErrorKind::Malformed, "there is no frame");
  std::array<std::byte, kMaxFrameHeader> buffer{};
  const auto header = std::span{buffer}.first(frame_header_size(reader.offsets()));
  if (auto ok = reader.memory().read(start.current_frame, header); !ok) {
    return fail("frame", ok.error());
  }
  return decode_frame(reader.offsets(), start.current_frame, header);
}

}  // namespace pyscope
