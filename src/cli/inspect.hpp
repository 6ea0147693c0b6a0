// The verb inspect.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/arguments.hpp"

namespace pyscope::cli {

/// What the command line said, not yet checked.
struct InspectArguments {
  std::string pid;
  std::vector<std::string> paths;
  bool json = false;
  std::string thread;
  std::string frame;
  bool list = false;
  std::string watch;
  bool pause = false;
  bool verbose = false;
  std::string color = "auto";
  ValueArguments values;
};

CLI::App* add_inspect(CLI::App& app, InspectArguments& arguments);

/// Returns the exit status.
[[nodiscard]] int run_inspect(const InspectArguments& arguments);
[[nodiscard]] int report_usage(const InspectArguments& arguments, const std::string& message);

}  // namespace pyscope::cli
