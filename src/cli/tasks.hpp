// The verb tasks.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_tasks(CLI::App& app, const Invocation& invocation);

}  // namespace pyscope::cli
