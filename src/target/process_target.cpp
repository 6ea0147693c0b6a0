#include "target/process_target.hpp"

#include "process/rooted_open.hpp"

namespace pyscope {

UniqueFd ProcessTarget::open_source(const std::string& path) const {
  return open_from_working_directory(process_.directory(), path);
}

}  // namespace pyscope
