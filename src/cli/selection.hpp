// Options that select processes by other things than their PIDs.
#pragma once

#include <CLI/CLI.hpp>

#include "pyscope/processes.hpp"

namespace pyscope::cli {

/// Adds --match, --user, --unit and --container.
void add_selection_options(CLI::App& verb, ProcessFilter& filter);

/// Whether one of these options was given.
[[nodiscard]] bool selects(const ProcessFilter& filter);

}  // namespace pyscope::cli
