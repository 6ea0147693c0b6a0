// The verb dump.
#pragma once

#include "cli/verb.hpp"

namespace pyscope::cli {

[[nodiscard]] Verb add_dump(CLI::App& app, const Invocation& invocation);

}  // namespace pyscope::cli
