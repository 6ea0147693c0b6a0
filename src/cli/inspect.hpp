// The verb inspect.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_inspect(CLI::App& app, const Invocation& invocation);

}  // namespace pyscope::cli
