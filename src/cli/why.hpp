// The verb why.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/arguments.hpp"

namespace pyscope::cli {

/// What the command line said, not yet checked.
struct WhyArguments {
  std::string pid;
  std::vector<std::string> threads;
  std::string duration;
  std::string rate;
  bool native = false;
  bool json = false;
  bool verbose = false;
  std::string color = "auto";
  ValueArguments values;
};

CLI::App* add_why(CLI::App& app, WhyArguments& arguments);

/// Returns the exit status.
[[nodiscard]] int run_why(const WhyArguments& arguments);
[[nodiscard]] int report_usage(const WhyArguments& arguments, const std::string& message);

}  // namespace pyscope::cli
