// The places where Python's standard library waits, so that a thread that has nothing to do can be
// told from one that is stuck.
#pragma once

#include <cstdint>
#include <string_view>

#include "pyscope/snapshot.hpp"

namespace pyscope {

enum class WaitKind : std::uint8_t {
  Idle,     // it was asked to wait until there is something to do
  Lock,     // somebody else has what it needs
  Outside,  // for something outside of the process: a socket, a child
};

enum class WaitPlace : std::uint8_t {
  Innermost,  // blocks in C, so it can be the innermost Python frame; or is called by one that does
  Caller,     // only ever above another wait
  Alone,      // innermost, and its caller has no say: it is stuck before its own wait begins
};

struct KnownWait {
  std::string_view file;  // the path or its end, from a slash on
  std::string_view
      qualified_name;  // or "*" for all of the file; or "*.name" for a method of any class
  WaitPlace place;
  WaitKind kind;
  std::string_view words;  // what a thread is doing there: "idle in Queue.get"
};

/// The entry for a function; nullptr if it isn't a known wait.
[[nodiscard]] const KnownWait* find_known_wait(const Code& code);

}  // namespace pyscope
