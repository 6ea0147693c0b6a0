// The words that a user types into a shell.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pyscope {

/// A word as a shell takes it for that very word.
[[nodiscard]] std::string shell_quote(std::string_view word);
/// Words as a command line.
[[nodiscard]] std::string shell_command(std::span<const std::string> words);

/// The words with `replacement` in the place of `pid`, where it is clear which word is the PID;
/// else a plain dump of `replacement`. Both PIDs may be the same.
[[nodiscard]] std::vector<std::string> command_for(const std::vector<std::string>& words, pid_t pid,
                                                   pid_t replacement);

}  // namespace pyscope
