// Splits the files of /proc into words between spaces, and parses numbers.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace pyscope {

/// Takes the next word off the front; empty at the end.
inline std::string_view next_word(std::string_view& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin);
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

/// Parses a word that is a number from its begin to its end, and fits into the type.
template <class T>
[[nodiscard]] std::optional<T> to_number(std::string_view word, int base = 10) {
  T number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number, base);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return number;
}

}  // namespace pyscope
