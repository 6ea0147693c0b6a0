// The model of what became of code that was handed to a thread of a process, as plain data. Text
// from the target is kept as it was read; renderers escape it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "pyscope/error.hpp"

namespace pyscope {

/// An exception that left the code.
struct RaisedException {
  std::string type;       // "KeyError", "shop.StockError"
  std::string message;    // str() of it
  std::string traceback;  // as Python prints it, with a line end
};

/// The code in one thread.
struct Execution {
  pid_t pid = 0;
  pid_t tid = 0;
  std::optional<std::string> name;  // of the thread, as Python knows it
  /// True: to its end. False: it didn't run, and will not. Empty: it has begun, and isn't known to
  /// have ended.
  std::optional<bool> ran = false;
  std::string out;  // what the code wrote to sys.stdout and sys.stderr
  std::string err;
  bool truncated = false;           // it wrote more than is kept
  std::optional<std::string> repr;  // of an expression's value
  std::optional<RaisedException> exception;
  std::optional<Error> error;  // why `ran` isn't true
  std::int64_t paused_us = 0;  // how long the process stood still while it was written to
};

/// 0 if the code ran to its end everywhere, without an exception. Else the status of the first
/// failure, or 7 (kRaised) where there were only exceptions.
[[nodiscard]] int exit_status(std::span<const Execution> executions);
inline constexpr int kRaised = 7;

}  // namespace pyscope
