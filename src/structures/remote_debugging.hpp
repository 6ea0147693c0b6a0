// The part of PyThreadState by which CPython is asked to run a script (PEP 768). The target's table
// publishes these offsets, too. What is written goes by offsets, so these are built in, and a
// target whose table says otherwise is not written to. Read in Include/cpython/pystate.h
// (_PyRemoteDebuggerSupport), and checked on live interpreters.
#pragma once

#include <array>
#include <cstdint>

#include "structures/debug_offsets.hpp"

namespace pyscope {

/// In PyThreadState.eval_breaker: asks the thread to look at its pending requests
/// (_PY_EVAL_PLEASE_STOP_BIT in Include/internal/pycore_ceval.h).
inline constexpr std::uint64_t kPleaseStop = 1U << 5U;

/// Whether the table's fields of remote debugging are those of this version in all builds.
[[nodiscard]] inline bool has_known_remote_debugging(const DebugOffsets& offsets) {
  struct Known {
    std::uint8_t minor;
    std::uint64_t support;
  };
  constexpr std::array kKnown{Known{14, 304}, Known{15, 344}};
  constexpr std::uint64_t kBreaker = 24;
  constexpr std::uint64_t kPending = 0;
  constexpr std::uint64_t kPath = 4;
  constexpr std::uint64_t kPathSize = 512;
  for (const Known& known : kKnown) {
    if (known.minor != offsets.version().minor) continue;
    return offsets[Field::ThreadSize] >= known.support + kPath + kPathSize &&
           offsets[Field::DebuggerEvalBreaker] == kBreaker &&
           offsets[Field::DebuggerRemoteDebuggerSupport] == known.support &&
           offsets[Field::DebuggerPendingCall] == kPending &&
           offsets[Field::DebuggerScriptPath] == kPath &&
           offsets[Field::DebuggerScriptPathSize] == kPathSize;
  }
  return false;
}

}  // namespace pyscope
