#include "values/number_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

namespace pyscope {
namespace {

template <class Float>
std::string shortest_text(Float value, bool always_point, int most_digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // fmt finds the same digits as std::to_chars, whose tables would be a twentieth of the binary.
  const std::string shortest = fmt::format("{}", value);  // 1500, 0.015, 1.5e-07
  std::string_view text = shortest;
  std::string out;
  if (text.starts_with('-')) {
    out = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = std::min(text.find('e'), text.size());
  int exponent = 0;
  std::string_view exponent_text = text.substr(std::min(e + 1, text.size()));
  if (exponent_text.starts_with('+')) exponent_text.remove_prefix(1);
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  std::string digits{text.substr(0, e)};
  // As one digit before the point, and no zeros around.
  exponent += static_cast<int>(std::min(digits.find('.'), digits.size())) - 1;
  std::erase(digits, '.');
  const std::size_t zeros = std::min(digits.find_first_not_of('0'), digits.size());
  digits.erase(0, zeros);
  exponent -= static_cast<int>(zeros);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.empty()) {
    digits = "0";
    exponent = 0;
  }
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= most_digits) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    out += digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0');
    return always_point ? out + ".0" : out;
  }
  return out + digits.substr(0, static_cast<std::size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<std::size_t>(exponent) + 1);
}

}  // namespace

std::string float_text(double value, bool always_point, int most_digits) {
  return shortest_text(value, always_point, most_digits);
}

std::string float_text(float value, bool always_point, int most_digits) {
  return shortest_text(value, always_point, most_digits);
}

std::string decimal_text(std::vector<std::uint32_t> digits) {
  constexpr std::uint64_t kGroup = 1'000'000'000;
  std::vector<std::uint32_t> groups;
  while (!digits.empty()) {
    std::uint64_t rest = 0;
    for (std::size_t i = digits.size(); i-- > 0;) {
      const std::uint64_t value = rest << 30U | digits[i];
      digits[i] = static_cast<std::uint32_t>(value / kGroup);
      rest = value % kGroup;
    }
    groups.push_back(static_cast<std::uint32_t>(rest));
    while (!digits.empty() && digits.back() == 0)
      digits.pop_back();
  }
  if (groups.empty()) return "0";
  std::string text = std::to_string(groups.back());
  for (std::size_t i = groups.size() - 1; i-- > 0;)
    text += fmt::format("{:09}", groups[i]);
  return text;
}

}  // namespace pyscope
