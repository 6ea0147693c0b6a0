#include "target/process_target.hpp"

#include <utility>

#include "process/rooted_open.hpp"

namespace pyscope {
Result<std::unique_ptr<Preemption>> ProcessTarget::preempt(pid_t tid) const {
  return ThreadPreemption::of(process_, tid).map([](ThreadPreemption thread) {
    return std::unique_ptr<Preemption>(std::make_unique<ThreadPreemption>(std::move(thread)));
  });
}

UniqueFd ProcessTarget::open_source(const std::string& path) const {
  return open_from_working_directory(process_.directory(), path);
}

}  // namespace pyscope
