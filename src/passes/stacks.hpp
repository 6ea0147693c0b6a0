// The stacks of many threads, each with what proves it. The proofs, in the order in which they are
// tried, which is that of their cost:
//
//   the GIL         the thread can't have run Python code while all stacks were copied
//   two copies      the stack was the same before and after one moment (walk_verified)
//   rest            the kernel says that the thread was off the CPU while its stack was copied
//   a hold          the thread stood still for us; only if that was asked for
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

#include "native/unwinder.hpp"
#include "pyscope/memory.hpp"
#include "pyscope/snapshot.hpp"
#include "python/runtime_state.hpp"
#include "session/snapshot.hpp"

namespace pyscope {

using Gils = std::unordered_map<std::uint64_t, GilMoment>;

struct StackRequest {
  RemoteAddr gil;
  RawThread thread;
  pid_t tid = 0;         // as we see it; 0 if the kernel knows no such thread
  bool blocked = false;  // it was off the CPU when it was last looked at
};

struct StackReading {
  FrameWalk walk;
  Proof proof = Proof::None;
  bool code_proven = false;  // with the stack: its code was read before the proof was complete
  std::string doubt;         // why there is none
  std::size_t moving = 0;    // if there is none: so many of the innermost frames changed meanwhile
  int attempts = 0;          // of walk_verified
};

/// Threads that stand still for us, and for how long they did.
class PausedThreads {
 public:
  explicit PausedThreads(const ThreadSource& threads) : threads_(threads) {}

  /// Holds these threads too, and takes their registers if that is asked for.
  void hold(std::span<const pid_t> tids, bool registers, const Log& log);
  [[nodiscard]] bool holds(pid_t tid) const;
  /// Null if they weren't asked for, or it doesn't stand.
  [[nodiscard]] const Registers* registers(pid_t tid) const;
  /// Why a thread that was to be held isn't.
  [[nodiscard]] std::string refusal(pid_t tid) const;
  /// Whether it was asked to stand and didn't in time: another try may do.
  [[nodiscard]] bool is_late(pid_t tid) const;
  /// Lets all of them go on. True if those that hadn't been let go before stood until now.
  bool release();

  [[nodiscard]] std::int64_t microseconds() const { return microseconds_; }
  [[nodiscard]] std::size_t threads() const { return held_; }

 private:
  const ThreadSource& threads_;
  std::vector<ThreadHold> holds_;
  std::size_t released_ = 0;  // so many of them don't hold any more
  std::string failure_;
  std::int64_t microseconds_ = 0;
  std::size_t held_ = 0;
};

/// What is taken of threads for their native stacks while they stand still.
struct NativeStates {
  std::span<const Mapping> maps;
  std::vector<pid_t> others;  // threads that run no Python, but are wanted, too
  std::unordered_map<pid_t, NativeState> states;
  std::unordered_map<pid_t, std::string> refusals;  // why there is none
};

/// One reading for each request; the code that they run is loaded into `codes`. `gils_before` is
/// what the GILs were before the requests' threads were read.
[[nodiscard]] std::vector<StackReading> read_stacks(const Memory& memory, const Runtime& runtime,
                                                    const RawRuntime& raw, const Gils& gils_before,
                                                    const std::vector<StackRequest>& requests,
                                                    CodeTable& codes, const ThreadSource& threads,
                                                    const CaptureOptions& options,
                                                    PausedThreads& paused, const Log& log,
                                                    NativeStates* native = nullptr);

}  // namespace pyscope
