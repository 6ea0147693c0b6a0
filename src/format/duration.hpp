#pragma once

#include <cstdint>
#include <string>

namespace pyscope {

/// Formats microseconds in the one or two largest units that matter: "0.8 ms", "51.2 s", "3 d 3 h".
[[nodiscard]] std::string format_duration(std::uint64_t us);

}  // namespace pyscope
