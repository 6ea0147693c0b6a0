#pragma once

#include <cstdint>
#include <string>

namespace pyscope {

/// Microseconds in the two largest units that say something: "0.8 ms", "51.2 s", "3 d 3 h".
[[nodiscard]] std::string format_duration(std::uint64_t us);

}  // namespace pyscope
