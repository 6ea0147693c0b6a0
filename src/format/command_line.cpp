#include "format/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pyscope {
std::string shell_quote(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(word);
  }
  constexpr unsigned char kFirstPrintable = 0x20;
  constexpr unsigned char kDelete = 0x7F;
  const bool controls = std::any_of(word.begin(), word.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < kFirstPrintable || byte == kDelete;
  });
  std::string quoted = controls ? "$'" : "'";
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (!controls) {
      quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    } else if (byte < kFirstPrintable || byte == kDelete) {
      // Octal, since a shell takes at most three octal digits, but any number of digits after \x.
      quoted += fmt::format("\\{:03o}", byte);
    } else {
      if (c == '\'' || c == '\\') quoted += '\\';
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string shell_command(std::span<const std::string> words) {
  std::string command;
  for (const std::string& word : words) {
    if (!command.empty()) command += ' ';
    command += shell_quote(word);
  }
  return command;
}

std::vector<std::string> command_for(const std::vector<std::string>& words, pid_t pid,
                                     pid_t replacement) {
  const std::string wanted = std::to_string(pid);
  // The PID's digits may be an option's value as well. A word after an option counts as the PID
  // only if no other word does.
  std::vector<std::size_t> sure;
  std::vector<std::size_t> all;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] != wanted) continue;
    all.push_back(i);
    if (!words[i - 1].starts_with('-')) sure.push_back(i);
  }
  const std::vector<std::size_t>& places = sure.empty() ? all : sure;
  if (places.size() != 1) {
    // With --all and the like there is no PID to replace: the same command again covers the
    // process.
    if (pid == replacement && !words.empty()) return words;
    return {"dump", std::to_string(replacement)};
  }
  std::vector<std::string> changed = words;
  changed[places.front()] = std::to_string(replacement);
  return changed;
}

}  // namespace pyscope
