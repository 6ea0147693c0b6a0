// What all verbs print with.
#pragma once

#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>

#include "pyscope/error.hpp"

namespace pyscope::cli {

/// By --color, which is auto, always or never, and by the environment.
[[nodiscard]] bool wants_color(const std::string& choice);

/// Columns of the terminal behind a descriptor; 0 if there is none or it doesn't say.
[[nodiscard]] std::size_t terminal_columns(int fd);

/// Writes all of it to stdout. A reader that has closed the pipe has seen enough: that ends the
/// program quietly. False for any other failure, which is then reported.
[[nodiscard]] bool write_out(const std::string& text);

/// While it lives, Ctrl-C and a plain kill end what is under way, and not the program.
class InterruptCatcher {
 public:
  InterruptCatcher();
  InterruptCatcher(const InterruptCatcher&) = delete;
  InterruptCatcher& operator=(const InterruptCatcher&) = delete;
  ~InterruptCatcher();
  [[nodiscard]] bool caught() const;

 private:
  struct sigaction interrupt_ {};  // as they were before
  struct sigaction terminate_ {};
};

/// A signal that is caught ends it early.
void sleep_unless_interrupted(std::chrono::microseconds time);

/// On stderr.
void print_error(const Error& error);

}  // namespace pyscope::cli
