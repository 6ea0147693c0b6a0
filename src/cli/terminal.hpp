// Output to the terminal, and interrupts, for all verbs.
#pragma once

#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>
#include <string_view>

#include "pyscope/error.hpp"

namespace pyscope::cli {

/// To be called before anything is opened. A standard stream that the caller has closed (`>&-`)
/// would else be the next file that is opened, and the output would go there.
void occupy_standard_streams();

/// By --color, which is auto, always or never, and by the environment.
[[nodiscard]] bool wants_color(const std::string& choice);

/// Columns of the terminal behind a descriptor; 0 if there is none or it doesn't say.
[[nodiscard]] std::size_t terminal_columns(int fd);

/// Writes all of it to stdout. A reader that has closed the pipe has seen enough: that ends the
/// program quietly. False for any other failure, which is reported once; nothing is written from
/// then on.
[[nodiscard]] bool write_out(const std::string& text);

/// Whether write_out() has failed: the exit status is 1 then, whatever else happened.
[[nodiscard]] bool output_lost();

/// Prints to stderr, unchanged. A closed stderr is no failure.
void print_message(std::string_view text);

/// Ends the program quietly, as a write would, once nobody can read its stdout any more: the
/// reader of a pipe has gone, or the connection of an SSH session is closed. For work that goes on
/// for long without a write.
void end_if_unread();

/// While the catcher lives, Ctrl-C and a plain kill end the work that is under way, and not the
/// program. A second one, a moment later, ends the program. A signal that is ignored (by nohup, or
/// in the background of a script) stays ignored.
class InterruptCatcher {
 public:
  InterruptCatcher();
  InterruptCatcher(const InterruptCatcher&) = delete;
  InterruptCatcher& operator=(const InterruptCatcher&) = delete;
  ~InterruptCatcher();
  [[nodiscard]] bool caught() const;
  /// Returns early if an interrupt is caught, or was before; ends the program if nobody can read
  /// its stdout any more.
  void sleep(std::chrono::microseconds time) const;

 private:
  struct sigaction interrupt_ {};  // as they were before
  struct sigaction terminate_ {};
};

/// Prints the error and its hint to stderr.
void print_error(const Error& error);

/// Prints a step that is tried to stderr (-v).
void print_step(const std::string& step);

}  // namespace pyscope::cli
