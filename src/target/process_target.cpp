#include "target/process_target.hpp"

#include <cerrno>
#include <utility>

#include "process/rooted_open.hpp"

namespace pyscope {
Result<std::unique_ptr<Preemption>> ProcessTarget::preempt(pid_t tid) const {
  return ThreadPreemption::of(process_, tid).map([](ThreadPreemption thread) {
    return std::unique_ptr<Preemption>(std::make_unique<ThreadPreemption>(std::move(thread)));
  });
}

UniqueFd ProcessTarget::open_source(const std::string& path) const {
  const auto credentials = credentials_of(process_);
  if (!credentials) {
    errno = EACCES;
    return {};
  }
  return open_from_working_directory(process_.directory(), path, *credentials);
}

}  // namespace pyscope
