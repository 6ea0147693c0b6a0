// The colours of the text form. Red and magenta are what Python's tracebacks use for exceptions:
// red is kept for what went wrong, and magenta isn't used.
#pragma once

#include <string>
#include <string_view>

namespace pyscope {

/// SGR parameters.
enum class Style : unsigned char { Plain, Heading, Function, File, Line, Underline, Error, Note };

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
        return "1;32";
      case Style::File:
        return "36";
      case Style::Line:
        return "33";
      case Style::Underline:
        return "1;33";
      case Style::Error:
        return "31";
      case Style::Note:
        return "2";
    }
    return "0";
  }

  bool color_;
};

}  // namespace pyscope
