// The script that a thread runs for us: the caller's code in a wrapper that claims the file, runs
// the code, and writes the answer into the file. And what the answer says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "pyscope/execute.hpp"
#include "pyscope/execution.hpp"

namespace pyscope {

/// What the code may write to stdout, to stderr, and as repr(), each. More is cut.
// Bound (bytes): what code of `exec` writes to each of stdout and stderr, and its `repr()`
inline constexpr std::size_t kMostOutput = std::size_t{16} << 20U;
/// More than an answer can have.
inline constexpr std::size_t kMostAnswer = 6 * kMostOutput;

/// The script, in ASCII. `path` is that of its own file, as the target sees it.
[[nodiscard]] std::string script_text(const SourceCode& code, std::string_view path);

enum class Answer : std::uint8_t {
  None,      // the code has yet to begin
  Begun,     // it has, and the answer isn't there yet
  Lost,      // the code has ended, and its answer could not be written
  Complete,  // put into the Execution
};

/// Reads what stands in the file now. Nothing of it is trusted.
[[nodiscard]] Answer read_answer(std::string_view file, Execution& into);

}  // namespace pyscope
