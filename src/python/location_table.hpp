#pragma once

#include <cstdint>
#include <span>

#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// The position of one code unit by a code object's co_linetable (Objects/locations.md in CPython's
/// sources; the same in all supported versions). An empty position for a unit that has none;
/// Malformed for bytes that are no such table, or for a unit beyond its end.
[[nodiscard]] Result<Position> find_location(std::span<const std::byte> table,
                                             std::int32_t first_line, std::uint64_t unit);

}  // namespace pyscope
