#include "memory/budgeted_memory.hpp"

namespace pyscope {

void TargetMemory::read_many(std::span<ReadRequest> requests) const {
  if (!budget().has_time()) {
    for (ReadRequest& request : requests)
      request.status = ReadStatus::TimedOut;
    return;
  }
  source_.read_many(requests);
}

}  // namespace pyscope
