// The verb why.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_why(CLI::App& app, const Invocation& invocation);

}  // namespace pyscope::cli
