// The verb dump.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/selection.hpp"

namespace pyscope::cli {

struct DumpOptions {
  std::vector<std::string> pids;
  Selection selection;
  bool all = false;
  bool children = false;
  std::string jobs;
  bool json = false;
  std::vector<std::string> threads;
  std::string frames;
  bool no_source = false;
  std::string pause;   // as given: "true" for a plain --pause
  std::string native;  // likewise
  bool locals = false;
  ValueArguments values;
  bool group = false;
  bool no_group = false;
  std::string color = "auto";
  std::string watch;
  bool verbose = false;
  std::string record;
  std::string replay;
};

CLI::App* add_dump(CLI::App& app, DumpOptions& options);

/// Dumps what the options name to stdout; returns the exit status.
int run_dump(const DumpOptions& options);

/// Says that the command line can't be understood, on stderr and, with --json, on stdout too.
int report_usage(const DumpOptions& options, const std::string& message);

}  // namespace pyscope::cli
