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
  generator.stack.may_be_suspended = generator.state != GeneratorState::Running;
  return generator;
}

}  // namespace pyscope
