// The descriptors that a thread waits for in poll, select or epoll.
#pragma once

#include <optional>
#include <vector>

#include "process/facts.hpp"
#include "process/process.hpp"

namespace pyscope {

/// Whether this is a poll, select or epoll that has no timeout.
[[nodiscard]] bool polls_for_ever(const SystemCall& call);

/// The descriptors that such a call waits for. Nothing if there are none or too many, if the target
/// doesn't let them be seen, or if a descriptor has been closed that an epoll instance goes on
/// watching.
[[nodiscard]] std::optional<std::vector<int>> polled_descriptors(const Process& process,
                                                                 const SystemCall& call);

}  // namespace pyscope
