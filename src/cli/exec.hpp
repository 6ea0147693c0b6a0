// The verb exec.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_exec(CLI::App& app, const Invocation& invocation);

}  // namespace pyscope::cli
