// Numbers as Python's repr() writes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pyscope {

/// The shortest digits that mean this number among those of its width. Beyond `most_digits` before
/// the point, it has an exponent. With `always_point`, a whole number has ".0".
[[nodiscard]] std::string float_text(double value, bool always_point, int most_digits = 16);
[[nodiscard]] std::string float_text(float value, bool always_point, int most_digits);

/// Digits in base 2^30, the lowest first, as decimal text.
[[nodiscard]] std::string decimal_text(std::vector<std::uint32_t> digits);

}  // namespace pyscope
