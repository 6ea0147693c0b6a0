// The verb ps.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/arguments.hpp"
#include "cli/selection.hpp"

namespace pyscope::cli {

struct PsArguments {
  Selection selection;
  bool json = false;
  bool verbose = false;
  std::string color = "auto";
  ValueArguments values;  // what counts as a secret
};

CLI::App* add_ps(CLI::App& app, PsArguments& arguments);

/// Returns the exit status.
[[nodiscard]] int run_ps(const PsArguments& arguments);
[[nodiscard]] int report_usage(const PsArguments& arguments, const std::string& message);

}  // namespace pyscope::cli
