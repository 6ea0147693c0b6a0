#include "cli/command_words.hpp"

#include <cstddef>
#include <string_view>

namespace pyscope::cli {
namespace {

bool takes_next_word(const CLI::App& verb, const std::string& word) {
  if (word.size() < 2 || word.front() != '-' || word.find('=') != std::string::npos) return false;
  const CLI::Option* option = verb.get_option_no_throw(word);
  return option != nullptr && option->get_items_expected_min() > 0;
}

/// The PID of `-p 4711`, `-p4711`, `--pid 4711` or `--pid=4711` at words[at], and by how many words
/// it is given; 0 words: it isn't there.
std::size_t pid_at(const std::vector<std::string>& words, std::size_t at, std::string& pid) {
  const std::string& word = words[at];
  if (word == "-p" || word == "--pid") {
    if (at + 1 == words.size()) return 0;
    pid = words[at + 1];
    return 2;
  }
  for (const std::string_view start : {"--pid=", "-p"}) {
    if (!word.starts_with(start) || word.starts_with("--p") != start.starts_with("--")) continue;
    pid = word.substr(start.size());
    return 1;
  }
  return 0;
}

std::vector<const CLI::App*> verbs_named(const CLI::App& app, const std::string& name) {
  return app.get_subcommands([&](const CLI::App* verb) { return verb->get_name() == name; });
}

}  // namespace

std::vector<std::string> plain_words(const CLI::App& app, const std::vector<std::string>& words) {
  if (words.empty()) return words;
  if (words.front() == "version" && words.size() == 1) return {"--version"};
  if (words.front() == "help") {
    if (words.size() == 1) return {"--help"};
    const bool known = words.size() == 2 && !verbs_named(app, words[1]).empty();
    if (known) return {words[1], "--help"};
    return {words.begin() + 1, words.end()};
  }
  const auto verbs = verbs_named(app, words.front());
  if (verbs.empty() || verbs.front()->get_option_no_throw("--pid") == nullptr) return words;
  const CLI::App* verb = verbs.front();
  std::vector<std::string> pids;
  std::vector<std::string> others;
  for (std::size_t at = 1; at < words.size();) {
    if (words[at] == "--") {
      others.insert(others.end(), words.begin() + static_cast<std::ptrdiff_t>(at), words.end());
      break;
    }
    std::string pid;
    const std::size_t count = pid_at(words, at, pid);
    if (count > 0) {
      pids.push_back(pid);
    } else {
      others.push_back(words[at]);
      if (takes_next_word(*verb, words[at]) && at + 1 < words.size()) others.push_back(words[++at]);
    }
    at += count > 0 ? count : 1;
  }
  std::vector<std::string> plain{words.front()};
  plain.insert(plain.end(), pids.begin(), pids.end());
  plain.insert(plain.end(), others.begin(), others.end());
  return plain;
}

}  // namespace pyscope::cli
