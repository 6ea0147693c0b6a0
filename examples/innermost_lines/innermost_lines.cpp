// Prints, for each thread of a Python process, the line that it executes: THREAD FUNCTION
// FILE:LINE. Names come from the other process and are printed as they are: don't send them to a
// terminal that you care for.
#include <cstdio>
#include <cstdlib>
#include <pyscope/capture.hpp>
#include <pyscope/render.hpp>

namespace {

/// Frames of C code between Python functions have no code of their own.
const pyscope::Frame* innermost(const pyscope::Thread& thread) {
  for (const pyscope::Frame& frame : thread.frames) {
    if (frame.code) return &frame;
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: innermost_lines PID\n");
    return 2;
  }
  pyscope::CaptureOptions options;
  options.max_frames = 3;
  options.source = false;
  const auto snapshot = pyscope::capture(std::atoi(argv[1]), options);
  if (!snapshot) {
    const pyscope::Error& error = snapshot.error();
    std::fprintf(stderr, "innermost_lines: %s\n  %s\n", error.message.c_str(),
                 pyscope::render_hint(error).c_str());
    return pyscope::exit_status(error.kind);
  }
  for (const pyscope::Thread& thread : snapshot->threads) {
    const pyscope::Frame* frame = innermost(thread);
    if (frame == nullptr) continue;
    const pyscope::Code& code = snapshot->codes[*frame->code];
    std::printf("%s %s %s:%d%s\n", thread.name.value_or("?").c_str(), code.qualified_name.c_str(),
                code.file.c_str(), frame->position.line.value_or(0),
                thread.consistent ? "" : " (not verified)");
  }
  return pyscope::exit_status(*snapshot);
}
