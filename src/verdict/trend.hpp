// Whether a number that was looked at again and again goes up or down.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace pyscope {

/// A number at a moment.
struct NumberSeen {
  double seconds = 0;  // since the first one
  std::int64_t value = 0;
};

/// A number that goes up or down all the time. Where a loop makes millions of numbers a second,
/// what was read may have been another number's memory by then: such ones lie beside the line that
/// most of them make, and are left out. Nothing if there is no such line.
struct Trend {
  std::int64_t first = 0;
  std::int64_t last = 0;
  double per_second = 0;
};

[[nodiscard]] std::optional<Trend> trend_of(const std::vector<NumberSeen>& seen);

}  // namespace pyscope
