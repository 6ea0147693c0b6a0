#include "format/wrap.hpp"

#include <algorithm>

#include "format/escape.hpp"

namespace pyscope {

std::string wrap(std::string_view escaped, std::size_t columns) {
  if (columns == 0 || display_width(escaped) <= columns) return std::string(escaped);
  constexpr std::string_view kBelow = "  ";
  std::string text;
  std::size_t used = 0;  // columns of the line
  while (!escaped.empty()) {
    const std::size_t end = std::min(escaped.find(' '), escaped.size());
    const std::string_view word = escaped.substr(0, end);
    const std::size_t width = display_width(word);
    if (!text.empty()) {
      if (used + 1 + width > columns) {
        text += '\n';
        text += kBelow;
        used = kBelow.size();
      } else {
        text += ' ';
        ++used;
      }
    }
    text += word;
    used += width;
    escaped.remove_prefix(std::min(end + 1, escaped.size()));
  }
  return text;
}

std::size_t count_lines(std::string_view text) {
  return 1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace pyscope
