#pragma once

#include <chrono>
#include <string>

namespace pyscope {

/// RFC 3339 in UTC with microseconds: "2026-01-02T03:04:05.678901Z".
[[nodiscard]] std::string format_utc(std::chrono::system_clock::time_point time);

}  // namespace pyscope
