// Names that are like a name that isn't there: what may have been meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pyscope {

/// The names that are most like the wanted one, the nearest first. Empty if there is none that is
/// like it.
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view wanted,
                                                     const std::vector<std::string>& names);
/// "nearest names: stock, stocks", or what there is at all; empty without names.
[[nodiscard]] std::string nearest_hint(std::string_view wanted,
                                       const std::vector<std::string>& names);

}  // namespace pyscope
