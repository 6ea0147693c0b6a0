// Which processes are meant, where they aren't named by their pids.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "pyscope/error.hpp"
#include "pyscope/processes.hpp"

namespace pyscope::cli {

struct Selection {
  std::string match;
  std::string user;
  std::string unit;
  std::string container;

  [[nodiscard]] bool empty() const {
    return match.empty() && user.empty() && unit.empty() && container.empty();
  }
};

void add_selection_options(CLI::App& verb, Selection& selection);

/// As the library wants it.
[[nodiscard]] ProcessFilter to_filter(const Selection& selection, const ValueArguments& values);

}  // namespace pyscope::cli
