// Makes a Snapshot of the process with a PID, or of a recording of one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"
#include "pyscope/value_limits.hpp"

namespace pyscope {

enum class Pause : std::uint8_t {
  Never,
  Unverified,  // hold the threads whose stacks couldn't be verified while the threads ran
  All,         // hold all Python threads, for a picture of one moment
};

/// Which native frames are shown.
enum class Native : std::uint8_t {
  Off,
  Folded,  // without the frames of the interpreter that a Python frame stands for
  Full,    // all frames
  All,     // as Folded, and of the threads that run no Python, too
};

struct CaptureOptions {
  /// Only these threads: decimal tids or exact Python thread names. Empty: all.
  std::vector<std::string> threads;
  /// At most so many frames of each thread, the innermost. Empty: all.
  std::optional<std::size_t> max_frames;
  /// Read the variables of the frames, too.
  bool locals = false;
  ValueLimits values = {};
  /// Read the tasks of asyncio, too.
  bool tasks = false;
  /// Read source lines of the frames through the target's root.
  bool source = true;
  /// Threads are held by ptrace for about a millisecond, by a child process that lets them go
  /// whatever happens to this one. Never writes to the target either.
  Pause pause = Pause::Never;
  /// The threads whose native frames are to be shown are held like that, too.
  Native native = Native::Off;
  /// How long reading may take. What was read by then is the result, and says that it isn't all.
  std::chrono::milliseconds timeout{30'000};
  /// Told each step that is tried, in one line without a line end.
  std::function<void(const std::string&)> log;
  /// A descriptor that a recording of all memory that was read is written to; negative: none. The
  /// recording holds parts of the target's memory, and so whatever secrets lie there.
  int record_to = -1;
};

/// Reads the process. It is not stopped, unless `pause` asks for it, and never written to. Fails as
/// a whole only if nothing could be read; a thread or frame that can't be read carries its own
/// error in the snapshot.
[[nodiscard]] Result<Snapshot> capture(pid_t pid, const CaptureOptions& options);

/// One process, captured as often as one likes. What doesn't change (the runtime's place, code
/// objects, lines of source) is read once, so that a further snapshot costs less than the first.
class CaptureSession {
 public:
  /// Pins the process and finds its runtime. Fails as capture() does.
  [[nodiscard]] static Result<CaptureSession> attach(pid_t pid, const CaptureOptions& options);
  CaptureSession(CaptureSession&&) noexcept;
  CaptureSession& operator=(CaptureSession&&) noexcept;
  CaptureSession(const CaptureSession&) = delete;
  CaptureSession& operator=(const CaptureSession&) = delete;
  ~CaptureSession();

  /// As pyscope::capture(). Attaches anew where an execve has put another program into the process.
  [[nodiscard]] Result<Snapshot> capture();

 private:
  struct State;
  explicit CaptureSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The same from a recording. Source lines are not part of a recording, and so not of the result.
[[nodiscard]] Result<Snapshot> replay(const std::string& path, const CaptureOptions& options);

}  // namespace pyscope
