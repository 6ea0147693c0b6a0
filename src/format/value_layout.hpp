// Lays the repr() of a large value out over lines, as Python's pprint does.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pyscope {

/// The text with line ends and spaces put in where its brackets and commas allow it, so that lines
/// have at most `columns`, as far as can be. Nothing else of the text is changed: without those, it
/// is the repr() again. The text is escaped, and needs not be well-formed. It begins behind
/// `before` columns of its first line. Texts of megabytes stay as they are.
[[nodiscard]] std::string lay_out(std::string_view repr, std::size_t columns,
                                  std::size_t before = 0);

}  // namespace pyscope
