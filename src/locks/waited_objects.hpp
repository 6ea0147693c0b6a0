// How things stand with an object that threads wait for: how full a queue is, how many have come to
// a barrier.
#pragma once

#include <string>

#include "locks/locks.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// LockWait::detail of an object of the standard library or of a pool of connections; empty for any
/// other.
[[nodiscard]] std::string describe_object(const Reader& reader, const FoundLock& found);

/// The items of a deque, at most `most`; fewer if one can't be read.
[[nodiscard]] std::vector<RemoteAddr> read_deque(const Reader& reader, RemoteAddr deque,
                                                 std::size_t most);

}  // namespace pyscope
