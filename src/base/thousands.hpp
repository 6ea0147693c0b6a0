#pragma once

#include <concepts>
#include <cstddef>
#include <string>

namespace pyscope {

/// The number in decimal, its thousands separated: "-1,234,567".
[[nodiscard]] std::string with_separators(std::integral auto number) {
  std::string digits = std::to_string(number);
  const std::size_t first = digits.starts_with('-') ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

}  // namespace pyscope
