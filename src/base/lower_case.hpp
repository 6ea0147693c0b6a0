#pragma once

#include <string>
#include <string_view>

namespace pyscope {

/// With the letters of ASCII in lower case, whatever the locale; every other byte stays.
[[nodiscard]] inline std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace pyscope
