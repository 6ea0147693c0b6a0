#include "pyscope/execution.hpp"

namespace pyscope {

int exit_status(std::span<const Execution> executions) {
  int status = 0;
  for (const Execution& execution : executions) {
    if (execution.error) return exit_status(execution.error->kind);
    if (execution.exception) status = kRaised;
  }
  return status;
}

}  // namespace pyscope
