// The verb ps.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_ps(CLI::App& app, const Invocation& invocation);

}  // namespace pyscope::cli
