// Shows a source line with its executing piece underlined, as CPython's own tracebacks do.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// Generated code has lines of megabytes. Nobody reads beyond so many columns, and a terminal would
/// be flooded.
inline constexpr std::size_t kMostSourceColumns = 500;
inline constexpr std::size_t kLeastSourceColumns = 10;

/// Two lines to print one below the other, without line ends.
struct UnderlinedLine {
  std::string text;  // the source line, escaped, without the white space around it, tabs as spaces;
                     // "..." in place of what was cut off
  std::string marks;  // spaces, then `~` and `^`; empty if there is nothing (sure) to underline
};

/// `line` is the source line at `position.line`, as it stands in the file. The position comes from
/// the target and is checked: columns that make no sense for this line give no marks. A line wider
/// than `columns` (at least 10; 500 at most are shown) is cut on the right, and also on the left if
/// the marks would be invisible otherwise.
[[nodiscard]] UnderlinedLine underline(std::string_view line, const Position& position,
                                       std::size_t columns = kMostSourceColumns);

}  // namespace pyscope
