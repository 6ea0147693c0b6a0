// Strings as Python's repr() quotes them.
#pragma once

#include <string>
#include <string_view>

#include "structures/debug_offsets.hpp"

namespace pyscope {

/// A str of these characters as repr() has it. Which ones are escaped depends on the Unicode
/// version of that Python.
[[nodiscard]] std::string quoted(std::u32string_view characters, UnicodeVersion unicode);
/// The same for UTF-8, in which surrogates are three bytes.
[[nodiscard]] std::string quoted(std::string_view utf8, UnicodeVersion unicode);

/// A bytes object of this content as repr() has it. With `escape_quotes`, a single quote is escaped
/// whatever the quotes are, as some versions do for a bytearray.
[[nodiscard]] std::string quoted_bytes(std::string_view content, bool escape_quotes = false);

}  // namespace pyscope
