// A source line with the piece that is being executed underlined, as CPython's own tracebacks do.
#pragma once

#include <string>
#include <string_view>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// Two lines to print one below the other, without line ends.
struct UnderlinedLine {
  std::string text;   // the source line, escaped, without the white space around it, tabs as spaces
  std::string marks;  // spaces, then `~` and `^`; empty if there is nothing (sure) to underline
};

/// `line` is the source line at `position.line`, as it stands in the file. The position comes from
/// the target and is checked: with columns that make no sense for this line there are no marks.
[[nodiscard]] UnderlinedLine underline(std::string_view line, const Position& position);

}  // namespace pyscope
