// Makes text from the target safe to print. A process can put anything into a name, a path or a
// source line: terminal control sequences, text that runs backwards, invisible characters, bytes
// that are no text at all. Everything that isn't plainly visible is shown as an escape in Python's
// notation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pyscope {

enum class Tabs : std::uint8_t { Escape, Keep };

/// Appends `text` as valid UTF-8 without invisible or active characters. `text` is UTF-8 in which
/// lone surrogates may be encoded as three bytes (as in the model), and may be malformed. Unsafe
/// characters become \x1b, \u202e, \U000e0001 or \udc80, and each byte that isn't UTF-8 becomes
/// \xff. A backslash of the text stays as it is, so that source lines and paths stay readable. So
/// the result is for showing, and can't be turned back.
void append_escaped(std::string& out, std::string_view text, Tabs tabs = Tabs::Escape);

[[nodiscard]] std::string escape(std::string_view text, Tabs tabs = Tabs::Escape);

/// One character at the front of a text.
struct Character {
  static constexpr std::int32_t kInvalid = -1;
  std::int32_t code_point = kInvalid;  // lone surrogates included; kInvalid: the byte isn't UTF-8
  std::size_t size = 1;                // in bytes
};

/// The first character of `text`, which must not be empty.
[[nodiscard]] Character first_character(std::string_view text);

/// The columns that escaped text takes on a terminal: 2 for each wide character, 0 for a combining
/// one.
[[nodiscard]] std::size_t display_width(std::string_view escaped);

/// Cuts escaped text to at most `columns` (at least 3), with "..." in place of the part that is cut
/// off.
[[nodiscard]] std::string clip(std::string_view escaped, std::size_t columns);

/// The same with the part in the middle cut off: the beginning and the end of a command or a path
/// tell most.
[[nodiscard]] std::string clip_middle(std::string_view escaped, std::size_t columns);

}  // namespace pyscope
