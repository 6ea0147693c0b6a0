// The words of the command line in the one form that the parser takes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace pyscope::cli {

/// `help VERB` becomes `VERB --help`, `version` becomes `--version`, and `-p PID` the argument PID
/// in its place behind the verb. All else stays.
[[nodiscard]] std::vector<std::string> plain_words(const CLI::App& app,
                                                   const std::vector<std::string>& words);

}  // namespace pyscope::cli
