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

int exit_status(const Snapshot& snapshot) {
  return assess(snapshot).verified() ? 0 : exit_status(ErrorKind::Malformed);
}

}  // namespace pyscope
