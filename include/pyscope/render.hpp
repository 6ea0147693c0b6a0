// A snapshot to text for people, or to JSON for scripts. Renderers see the model and nothing else.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

enum class Grouping : std::uint8_t {
  Automatic,  // group when there are more than 16 threads
  Always,
  Never,
};

struct TextOptions {
  bool color = false;
  Grouping grouping = Grouping::Automatic;
};

/// The text form: a one-line summary, a heading, and each thread with its frames, innermost first.
/// Ends with a line end.
[[nodiscard]] std::string render_text(const Snapshot& snapshot, const TextOptions& options);

enum class JsonStyle : std::uint8_t {
  Pretty,   // indented, for one document
  Compact,  // one line, for JSON Lines
};

/// The contract's object, schema pyscope.dump/1. Ends with a line end.
[[nodiscard]] std::string render_json(const Snapshot& snapshot, JsonStyle style);

/// The contract's error object for a process that could not be read. Ends with a line end.
[[nodiscard]] std::string render_json(pid_t pid, const Error& error, JsonStyle style);

}  // namespace pyscope
