// The interface of a verb to main(): options, a function that runs the verb, and one way to report
// errors.
#pragma once

#include <sys/types.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "pyscope/error.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {

/// Reports errors on stderr, and also on stdout if the command line has --json.
class ErrorReport {
 public:
  /// `invocation` outlives this. `schema` is that of the verb's documents; `style` is their style
  /// where nothing else is said.
  ErrorReport(const CLI::App& verb, const Invocation& invocation, std::string_view schema,
              JsonStyle style)
      : verb_(verb), invocation_(invocation), schema_(schema), style_(style) {}

  /// Returns the exit status.
  [[nodiscard]] int operator()(pid_t pid, const Error& error) const {
    return (*this)(pid, error, style_);
  }
  [[nodiscard]] int operator()(pid_t pid, const Error& error, JsonStyle style) const;
  /// Reports that the command line can't be understood; returns the exit status.
  [[nodiscard]] int usage(const std::string& message) const;
  /// The error with its hint in words that fit this command line.
  [[nodiscard]] Error in_words(Error error) const;

 private:
  const CLI::App& verb_;
  const Invocation& invocation_;
  std::string_view schema_;
  JsonStyle style_;
};

struct Verb {
  const CLI::App* command;
  ErrorReport report;
  std::function<int()> run;  // once the command line was parsed; returns the exit status
};

/// Runs the work of a verb on one process and returns its status. Work that stands still, because
/// memory or a file of the process never answers, begins anew without what doesn't answer; it is
/// told how much of the time is left. If there is nothing left, the process is given up.
[[nodiscard]] int run_on(pid_t pid, std::chrono::milliseconds timeout, const ErrorReport& report,
                         std::function<int(std::chrono::milliseconds left)> work);

}  // namespace pyscope::cli
