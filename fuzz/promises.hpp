// What must hold of every output, whatever the input was. Judged here without any code of pyscope's
// own: that is what is on trial.
#pragma once

#include <cstdint>
#include <string_view>

namespace pyscope::fuzz {

/// Says which promise is broken and aborts.
[[noreturn]] void broken(std::string_view promise, std::string_view seen = {});

/// Valid UTF-8 without anything that steers a terminal or turns text around: control characters but
/// line ends, DEL, C1, bidirectional overrides and isolates. With `color`, pyscope's own colours
/// are allowed.
void check_text(std::string_view text, bool color = false);

/// The same, and no line end.
void check_line(std::string_view text);

/// One line or document of JSON with nothing behind it, and harmless as text.
void check_json(std::string_view json);

/// From its making to check(): processor time of this thread. More than what a dump of a small
/// process may take at the very most means that a bound is missing.
class TimeLimit {
 public:
  TimeLimit();
  void check() const;

 private:
  double begin_;
};

}  // namespace pyscope::fuzz
