// How the program was called, so that an error can say what to type next: the same verb with the
// same arguments, and more rights, or another PID.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pyscope {

/// As typed, without the program's name: {"why", "4711", "--thread", "worker 1"}. Set once, before
/// anything else of this library is called and before there are threads. A program that uses the
/// library for itself doesn't set it, and is told of the verb dump.
void set_invocation(std::vector<std::string> words);
[[nodiscard]] const std::vector<std::string>& invocation();

/// A word as a shell takes it for that very word.
[[nodiscard]] std::string shell_quote(std::string_view word);
/// Words as a command line.
[[nodiscard]] std::string shell_command(std::span<const std::string> words);

/// The words with `replacement` in the place of `pid`, where it is clear which word that is; else a
/// plain dump of it. Both may be the same.
[[nodiscard]] std::vector<std::string> invocation_for(const std::vector<std::string>& words,
                                                      pid_t pid, pid_t replacement);

}  // namespace pyscope
