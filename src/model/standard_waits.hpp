// The places where Python's standard library, and some packages, wait: one table, from which it is
// known whether a thread there is idle or stuck, and which object of the program it waits for.
#pragma once

#include <cstdint>
#include <string_view>

#include "pyscope/snapshot.hpp"

namespace pyscope {

enum class WaitKind : std::uint8_t {
  Idle,     // a worker at its place of rest: its work comes by itself
  Intake,   // for the next piece of work, if the function that waits is all that its thread does;
            // or for an answer
  Event,    // for something that another thread or process has to do
  Lock,     // somebody else has what it needs
  Outside,  // for something outside of the process: a socket, a child
};

enum class WaitPlace : std::uint8_t {
  Innermost,  // blocks in C, so it can be the innermost Python frame; or is called by one that does
  Caller,     // only ever above another wait
  Alone,      // innermost, and its caller has no say: it is stuck before its own wait begins
};

/// The object of the program that a function of the library waits for in a lock of its own.
struct WaitedObject {
  enum class Role : std::uint8_t {
    Unknown,   // the library's lock has no such object
    Self,      // the function's `self`
    OfCallee,  // that of the wait that this function calls
  };
  Role role = Role::Unknown;
  std::string_view type = {};    // of `self`: "queue.Queue"
  std::string_view waiter = {};  // the variable with a lock of the thread's own, which whoever
                                 // brings the news gives back
  std::string_view owner = {};   // the attribute with the ident of the thread that holds `self`
  std::string_view name = {};    // the attribute that names `self`
};

struct StandardWait {
  std::string_view file;  // the path or its end, from a slash on
  std::string_view
      qualified_name;  // or "*" for all of the file; or "*.name" for a method of any class
  WaitPlace place;
  WaitKind kind;
  std::string_view words;  // what a thread is doing there: "waiting for a result"; empty: a
                           // function that says nothing of what its thread is doing
  WaitedObject object = {};
  std::string_view idle_words = {};  // of an Intake, for a thread that does nothing else
};

/// The entry for a function; nullptr if it isn't a known wait.
[[nodiscard]] const StandardWait* find_standard_wait(const Code& code);
/// Whether a thread that waits there has something to hand on, and can't: so it isn't at rest,
/// whatever worker it is.
[[nodiscard]] bool hands_on(const StandardWait& wait);
/// Whether code is this function of the standard library.
[[nodiscard]] bool is_function(const Code& code, std::string_view file,
                               std::string_view qualified_name);
/// Whether code is a function of the standard library that leaves the work to a function in C, so
/// that its caller tells more of a thread that is busy there: re.match, json.loads.
[[nodiscard]] bool wraps_native_code(const Code& code);
/// Whether code is a function of the standard library that only calls functions of the program, one
/// after the other: an event loop, a server's loop, a thread's or an executor's worker.
[[nodiscard]] bool is_dispatcher(const Code& code);
/// Whether code is what the standard library calls a thread's, or a child process's, own function
/// from.
[[nodiscard]] bool begins_thread(const Code& code);

}  // namespace pyscope
