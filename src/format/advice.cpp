#include "format/advice.hpp"

#include <algorithm>

namespace pyscope {

std::string advice(const Snapshot& snapshot) {
  if (snapshot.capture.paused_threads > 0) return {};
  const bool stack_moves =
      std::any_of(snapshot.threads.begin(), snapshot.threads.end(), [](const Thread& thread) {
        return !thread.consistent && thread.error.empty() && thread.python;
      });
  if (stack_moves) {
    return "--pause holds what is not verified for some tenths of a millisecond, and reads it "
           "exactly";
  }
  const bool variable_moves =
      std::any_of(snapshot.locals.begin(), snapshot.locals.end(),
                  [](const Locals& locals) { return !locals.consistent && locals.error.empty(); });
  if (variable_moves) {
    return "--pause=all holds all threads while their variables are read, which takes some "
           "milliseconds";
  }
  return {};
}

}  // namespace pyscope
