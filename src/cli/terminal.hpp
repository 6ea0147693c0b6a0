// What all verbs print with.
#pragma once

#include <string>

#include "pyscope/error.hpp"

namespace pyscope::cli {

/// By --color, which is auto, always or never, and by the environment.
[[nodiscard]] bool wants_color(const std::string& choice);

/// Writes all of it to stdout. A reader that has closed the pipe has seen enough: that ends the
/// program quietly. False for any other failure, which is then reported.
[[nodiscard]] bool write_out(const std::string& text);

/// On stderr.
void print_error(const Error& error);

}  // namespace pyscope::cli
