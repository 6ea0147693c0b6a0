// Which processes are meant, where they aren't named by their pids.
#pragma once

#include <CLI/CLI.hpp>

#include "pyscope/processes.hpp"

namespace pyscope::cli {

/// --match, --user, --unit and --container.
void add_selection_options(CLI::App& verb, ProcessFilter& filter);

/// Whether one of them was given.
[[nodiscard]] bool selects(const ProcessFilter& filter);

}  // namespace pyscope::cli
