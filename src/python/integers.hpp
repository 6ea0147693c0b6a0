// int objects (PyLongObject): the only place that knows how they are laid out.
#pragma once

#include <cstdint>
#include <vector>

#include "python/reader.hpp"

namespace pyscope {

struct Integer {
  bool negative = false;
  std::uint64_t digit_count = 0;      // 0 for zero
  std::vector<std::uint32_t> digits;  // in base 2^30, the lowest first
};

inline constexpr unsigned kBitsPerDigit = 30;

/// An int object. It has no digits here if it has more than `most_digits`. Fails with Malformed for
/// bytes that are no int.
[[nodiscard]] Result<Integer> read_integer(const Reader& reader, RemoteAddr object,
                                           std::uint64_t most_digits);

}  // namespace pyscope
