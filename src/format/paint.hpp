// The colours of the text form. They give weight: red for what went wrong and deadlocks, yellow for
// waits whose end isn't in sight, green for what runs, dim for what is at rest and for code that
// isn't the program's own. Each is readable on a light and on a dark background: no colour is
// bright, and bold has no colour but red.
#pragma once

#include <string>
#include <string_view>

namespace pyscope {

/// SGR parameters.
enum class Style : unsigned char {
  Plain,
  Heading,
  Function,
  File,
  Line,
  Underline,
  Error,
  Note,
  Deadlock,  // these are for the headings of threads
  Waiting,
  Running,
};

/// Appends text in a style, and what ends the style; or just the text.
class Painter {
 public:
  explicit Painter(bool color) : color_(color) {}

  void append(std::string& out, Style style, std::string_view text) const {
    if (!color_ || style == Style::Plain) {
      out += text;
      return;
    }
    out += "\x1b[";
    out += parameters(style);
    out += 'm';
    out += text;
    out += "\x1b[0m";
  }

 private:
  static std::string_view parameters(Style style) {
    switch (style) {
      case Style::Plain:
        break;
      case Style::Heading:
        return "1";
      case Style::Function:
        return "1";
      case Style::File:
        return "36";
      case Style::Line:
        return "36";
      case Style::Underline:
        return "1";
      case Style::Error:
        return "31";
      case Style::Note:
        return "2";
      case Style::Deadlock:
        return "1;31";
      case Style::Waiting:
        return "33";
      case Style::Running:
        return "32";
    }
    return "0";
  }

  bool color_;
};

}  // namespace pyscope
