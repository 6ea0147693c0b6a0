#include "memory/deadline_memory.hpp"

namespace pyscope {

void DeadlineMemory::read_many(std::span<ReadRequest> requests) const {
  if (deadline_.has_passed()) {
    for (ReadRequest& request : requests)
      request.status = ReadStatus::TimedOut;
    return;
  }
  source_.read_many(requests);
}

}  // namespace pyscope
