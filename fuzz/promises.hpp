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

/// From its making to check(): the processor time of this thread, and how much memory was in use
/// beyond what was in use before. More than what one process may take at the very most means that a
/// bound is missing.
class CostLimit {
 public:
  CostLimit();
  void check() const;

 private:
  double begin_;
  long in_use_;  // KiB
};

}  // namespace pyscope::fuzz
