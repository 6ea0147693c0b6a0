#include <algorithm>

#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {
namespace {

bool all_read(const std::vector<Frame>& frames) {
  return std::all_of(frames.begin(), frames.end(),
                     [](const Frame& frame) { return frame.error.empty(); });
}

}  // namespace

Assessment assess(const Snapshot& snapshot) {
  Assessment result;
  result.complete = snapshot.capture.complete;
  for (const Thread& thread : snapshot.threads) {
    result.consistent = result.consistent && thread.consistent;
    result.complete = result.complete && thread.error.empty() && thread.native_error.empty() &&
                      all_read(thread.frames) && all_read(thread.native_frames);
  }
  for (const SuspendedStack& stack : snapshot.stacks) {
    result.consistent = result.consistent && stack.consistent;
    result.complete = result.complete && stack.error.empty() && all_read(stack.frames);
  }
  for (const Locals& locals : snapshot.locals) {
    result.consistent = result.consistent && locals.consistent;
    result.complete = result.complete && locals.complete && locals.error.empty();
  }
  return result;
}

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

int exit_status(const Snapshot& snapshot) {
  return assess(snapshot).verified() ? 0 : exit_status(ErrorKind::Malformed);
}

}  // namespace pyscope
