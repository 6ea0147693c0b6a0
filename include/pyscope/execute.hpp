// Runs code in a live process, by the interface that CPython has for that since 3.14 (PEP 768). The
// only thing in this library that changes a process. Nothing else includes this.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/execution.hpp"

namespace pyscope {

/// Python source that is to run in a process.
struct SourceCode {
  std::string source;
  std::string name;         // the file's, for tracebacks: "<pyscope -c>"
  bool expression = false;  // its value's repr() is wanted

  // Bound (bytes): code of `exec`
  static constexpr std::size_t kLongest = std::size_t{1} << 20U;
};

struct ExecuteOptions {
  /// Decimal tids or exact Python thread names. Empty: the main thread.
  std::vector<std::string> threads;
  /// All threads that run Python, one after the other.
  bool all_threads = false;
  /// How long to wait for each thread, from the request to the end of the code.
  std::chrono::milliseconds timeout{10'000};
  /// Asked again and again while a thread is waited for; false ends the wait as a timeout does.
  std::function<bool()> go_on;
  /// Told in a sentence what a thread is doing that doesn't come.
  std::function<void(const std::string&)> tell;
  /// Told each step that is tried, in one line without a line end.
  std::function<void(const std::string&)> log;
};

/// Runs the code in the threads, and calls `done` after each one; false from `done` ends it. Fails
/// as a whole, with nothing written, if the process can't be asked at all. Forks: not to be called
/// while other threads of the caller hold locks that the C library needs.
[[nodiscard]] Result<void> execute(pid_t pid, const SourceCode& code, const ExecuteOptions& options,
                                   const std::function<bool(const Execution&)>& done);

}  // namespace pyscope
