// Looks at a process for a while, and says of each thread what it is doing.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "pyscope/diagnosis.hpp"
#include "pyscope/error.hpp"
#include "pyscope/value_limits.hpp"

namespace pyscope {

struct WhyOptions {
  /// Only these threads: decimal tids or exact Python thread names. Empty: all.
  std::vector<std::string> threads;
  std::chrono::microseconds duration = std::chrono::seconds(1);
  /// How long the call may take beyond `duration`: the bound on the sample that is read when that
  /// has passed. What was read by then is returned.
  std::chrono::milliseconds timeout{30'000};
  /// From the begin of one sample to that of the next; a sample that takes longer delays it.
  std::chrono::microseconds interval = std::chrono::milliseconds(10);
  /// For the variables of loops.
  ValueLimits values = {};
  /// Hold threads that are in native code, or wait in it, for about a quarter of a millisecond,
  /// some times, and name the functions.
  bool native = false;
  /// Asked after each sample, with how many there were: false ends it with what there is.
  std::function<bool(std::size_t)> go_on;
  /// Told each step that is tried, in one line without a line end.
  std::function<void(const std::string&)> log;
};

/// Takes at least two samples, unless it is told not to go on. The process isn't stopped,
/// but for what `native` asks for. Fails as
/// capture() does.
[[nodiscard]] Result<Diagnosis> diagnose(pid_t pid, const WhyOptions& options);

}  // namespace pyscope
