// Breaks long lines between words, as a terminal doesn't.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pyscope {

/// The escaped text in lines of at most `columns`, but for words that are longer. All lines but the
/// first are indented by two columns. 0 columns: the text as it is. No line end behind the last.
[[nodiscard]] std::string wrap(std::string_view escaped, std::size_t columns);

[[nodiscard]] std::size_t count_lines(std::string_view text);

}  // namespace pyscope
