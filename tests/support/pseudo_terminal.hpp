// A program on a terminal of its own, as at somebody's desk.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "support/child.hpp"

namespace pyscope::test {

/// The terminal that the program sees, and where a person would sit.
struct PseudoTerminal {
  explicit PseudoTerminal(int columns);

  UniqueFd user;
  UniqueFd program;
};

/// A program that leads a session on a pseudo-terminal: its stdin, stdout and stderr are the
/// terminal, signals of keys go to it and its children.
class TerminalProgram {
 public:
  explicit TerminalProgram(const Program& program, int columns = 80);

  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  /// Keys; "\x03" is Ctrl-C.
  void type(std::string_view keys);
  /// Reads until `text` has been shown. Throws if the program ends without, or after kPatience.
  void wait_for(std::string_view text);
  void resize(int columns);
  /// The window is closed, or the connection.
  void hang_up();
  /// Reads what else is shown, until its end. `out` of the outcome has everything.
  [[nodiscard]] Outcome finish();

 private:
  TerminalProgram(const Program& program, PseudoTerminal terminal);
  bool read_some();

  PseudoTerminal terminal_;
  Child child_;
  std::string shown_;
};

inline constexpr std::string_view kCtrlC = "\x03";

}  // namespace pyscope::test
