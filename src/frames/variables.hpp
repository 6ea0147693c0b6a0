// Which variables a frame has, where they lie, and the objects that they are bound to.
#pragma once

#include "frames/raw_frame.hpp"
#include "pyscope/snapshot.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// One variable of a frame, and the object that it is bound to.
struct FrameVariable {
  std::string name;
  LocalKind kind = LocalKind::Local;
  Parameter parameter = Parameter::None;
  RemoteAddr value;
};

struct FrameVariables {
  std::vector<FrameVariable> variables;
  bool is_namespace = false;  // of a module or a class body, and not the slots of a function
  bool complete = true;       // no name was unreadable; it is kUnreadableName then
  RemoteAddr globals;         // the dict in which the frame looks up what is none of these
};

/// The variables of a frame, whose executable must be a code object; unbound ones are left out. Of
/// a module or a class body, its namespace without the names that Python itself puts there.
[[nodiscard]] Result<FrameVariables> read_variables(const Reader& reader, const RawFrame& frame);

/// Objects that the frame's instruction may be changing: those on its evaluation stack, if it is an
/// instruction that changes objects. How deep the stack is at the moment isn't always known of a
/// frame that runs: objects that were there before may be among them. What can't be read is left
/// out.
[[nodiscard]] std::vector<RemoteAddr> objects_being_changed(const Reader& reader,
                                                            const RawFrame& frame);

}  // namespace pyscope
