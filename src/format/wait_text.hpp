// What a blocked thread waits for, behind the words for that it does.
#pragma once

#include <string>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// " on fd 12: tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established, for at most 2.0 s", to be put
/// behind "blocked in recvfrom"; empty if there is nothing to tell.
[[nodiscard]] std::string wait_details(const Wait& wait);

}  // namespace pyscope
