// How things stand with an object that threads wait for: how full a queue is, how many have come to
// a barrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "locks/locks.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// LockWait::detail of an object of the standard library or of a pool of connections; empty for any
/// other.
[[nodiscard]] std::string describe_object(const Reader& reader, const FoundLock& found);

/// "1 item", "3 items"
[[nodiscard]] std::string counted(std::int64_t number, std::string_view one);

/// An int that is an attribute of an instance; nothing if there is none that fits.
[[nodiscard]] std::optional<std::int64_t> integer_attribute(const Reader& reader, RemoteAddr object,
                                                            std::string_view name);
/// The number of items of a deque or list that is an attribute of an instance.
[[nodiscard]] std::optional<std::int64_t> item_count_of(const Reader& reader, RemoteAddr object,
                                                        std::string_view name);

/// The items of a deque, at most `most`; fewer if one can't be read.
[[nodiscard]] std::vector<RemoteAddr> read_deque(const Reader& reader, RemoteAddr deque,
                                                 std::size_t most);

}  // namespace pyscope
