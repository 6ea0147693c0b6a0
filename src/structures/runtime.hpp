#pragma once

#include "pyscope/address.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// Where a target's _PyRuntime is, and what it says of its own structures.
struct Runtime {
  RemoteAddr at;
  DebugOffsets offsets;
  /// Py_FinalizeEx() has ended: there is no interpreter, and no thread can run Python any more.
  bool shut_down = false;
};

/// Where the number is that the next interpreter gets (int64), from the head of the list of
/// interpreters (struct pyinterpreters: head, main, next_id). Before the first one is made it is
/// -1; it isn't set back when they are gone.
constexpr std::uint64_t kNextInterpreterId = 16;

}  // namespace pyscope
