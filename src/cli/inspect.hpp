// The verb inspect.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_inspect(CLI::App& app);

}  // namespace pyscope::cli
