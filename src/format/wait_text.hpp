// The wait of a blocked thread in words, to follow the words for its state.
#pragma once

#include <string>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// " on fd 12: tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established, for at most 2.0 s", to follow
/// "blocked in recvfrom"; empty if nothing more is known.
[[nodiscard]] std::string wait_details(const Wait& wait);

}  // namespace pyscope
