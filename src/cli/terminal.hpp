// Output to the terminal, and interrupts, for all verbs.
#pragma once

#include <fmt/core.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "pyscope/error.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {

/// To be called before anything is opened. A standard stream that the caller has closed (`>&-`)
/// would else be the next file that is opened, and the output would go there.
void occupy_standard_streams();

/// By --color, which is auto, always or never, and by the environment.
[[nodiscard]] bool wants_color(const std::string& choice);

/// Columns of the terminal behind a descriptor; 0 if there is none or it doesn't say.
[[nodiscard]] std::size_t terminal_columns(int fd);

/// Writes all of it to stdout. Renderers escape what the target says; if a control character should
/// be left that is neither of a line's end nor of a colour, an escape is written for it. A reader
/// that has closed the pipe has seen enough: that ends the program quietly. False for any other
/// failure, which is reported once; nothing is written from then on.
[[nodiscard]] bool write_out(std::string_view text);

/// Whether write_out() has failed: the exit status is 1 then, whatever else happened.
[[nodiscard]] bool output_lost();

/// An argument of a message as it may be shown: a text in escaped form.
template <class T>
[[nodiscard]] auto shown(const T& argument) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return render_line(argument);
  } else {
    return argument;
  }
}
template <class T>
using Shown = decltype(shown(std::declval<const T&>()));

/// The only way to stderr. The words stand in the program, which the compiler checks; each text
/// among the arguments is escaped, be it the target's or from our own command line. A closed stderr
/// is no failure.
class Message {
 public:
  template <class... T>
  static void print(fmt::format_string<Shown<T>...> words, const T&... arguments) {
    write(fmt::format(words, shown(arguments)...));
  }

 private:
  static void write(std::string_view text);
};

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
