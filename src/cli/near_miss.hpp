// Names what a mistyped word may have meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace pyscope::cli {

/// The one of `known` that takes the fewest letters more, less, other or swapped; empty if none is
/// near, or several are equally near.
[[nodiscard]] std::string near_miss(std::string_view typed, std::span<const std::string> known);

}  // namespace pyscope::cli
