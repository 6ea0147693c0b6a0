// Parses the command line, runs the verb, and returns its exit status.
#include <fmt/core.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <exception>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/short_turns.hpp"
#include "base/watched.hpp"
#include "cli/command_words.hpp"
#include "cli/dump.hpp"
#include "cli/exec.hpp"
#include "cli/inspect.hpp"
#include "cli/near_miss.hpp"
#include "cli/ps.hpp"
#include "cli/tasks.hpp"
#include "cli/terminal.hpp"
#include "cli/why.hpp"
#include "pyscope/error.hpp"
#include "pyscope/render.hpp"

namespace {

using pyscope::ErrorKind;
using pyscope::exit_status;
using pyscope::cli::Message;
using pyscope::cli::near_miss;
using pyscope::cli::write_out;

constexpr const char* kDescription =
    "Shows what a running Python process is doing, without stopping or changing it.";

constexpr const char* kFooter = R"(Examples:
  pyscope dump 4711                      every thread's stack, innermost frame first
  pyscope dump 4711 --thread worker-3    one thread, by name or tid
  pyscope dump 4711 --json | jq .        the same for scripts
  pyscope why 4711                       what each thread waits for, or loops in
  pyscope tasks 4711                     the tasks of asyncio, and what they wait for
  pyscope inspect 4711 shop.orders       the value of a variable of a module
  pyscope ps                             the Python processes of this machine
  pyscope exec 4711 -e 'len(app.orders)' runs code in the process; all other verbs only read
  pyscope dump --match gunicorn          all of those with this in their command line

Exit status: 0 all was read and verified, 1 failure, 2 bad usage, 3 no such process,
4 not permitted, 5 not a supported Python (CPython 3.11 to 3.15), 6 dumped, but some
part could not be read or verified, 7 the code of exec raised an exception.)";

/// What is wrong with words that a verb doesn't know.
std::string explain_unexpected(const CLI::App& verb) {
  const std::vector<std::string> words = verb.remaining();
  const auto option = std::find_if(words.begin(), words.end(), [](const std::string& word) {
    return word.size() > 1 && word.front() == '-';
  });
  if (option == words.end()) {
    return fmt::format("{}: {} takes no such argument", words.empty() ? "" : words.front(),
                       verb.get_name());
  }
  const std::string typed = option->substr(0, option->find('='));
  std::vector<std::string> known;
  for (const CLI::Option* one : verb.get_options()) {
    for (const std::string& name : one->get_lnames())
      if (!one->get_group().empty()) known.push_back("--" + name);
  }
  const std::string near = typed.starts_with("--") ? near_miss(typed, known) : std::string{};
  return near.empty() ? fmt::format("{}: {} has no such option", typed, verb.get_name())
                      : fmt::format("{}: did you mean {}?", typed, near);
}

int explain_usage(const std::string& first_word, const std::string& message,
                  std::span<const std::string> verbs) {
  const bool number =
      !first_word.empty() && first_word.find_first_not_of("0123456789") == std::string::npos;
  if (number) {
    Message::print("pyscope: what is to be done with process {0}?\n         pyscope dump {0}\n",
                   first_word);
  } else if (!first_word.empty() && first_word.front() != '-') {
    const std::string near = near_miss(first_word, verbs);
    if (near.empty()) {
      Message::print("pyscope: there is no verb '{}'\n         see: pyscope --help\n", first_word);
    } else {
      Message::print("pyscope: {}: did you mean {}?\n         see: pyscope --help\n", first_word,
                     near);
    }
  } else {
    Message::print("pyscope: {}\n         see: pyscope --help\n",
                   first_word.empty() ? std::string("say what to do, for example: pyscope dump PID")
                                      : message);
  }
  return exit_status(ErrorKind::Usage);
}

pyscope::Invocation invocation_of(int argc, char** argv) {
  pyscope::Invocation invocation;
  std::array<char, PATH_MAX> path;
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  if (n > 0) invocation.program.assign(path.data(), static_cast<std::size_t>(n));
  invocation.words.assign(argv + std::min(argc, 1), argv + argc);
  return invocation;
}

int run(int argc, char** argv) {
  CLI::App app{kDescription, "pyscope"};
  app.footer(kFooter);
  app.set_version_flag("-V,--version", std::string("pyscope ") + PYSCOPE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);

  using namespace pyscope::cli;
  const pyscope::Invocation invocation = invocation_of(argc, argv);
  const std::array verbs = {add_dump(app, invocation), add_inspect(app, invocation),
                            add_why(app, invocation),  add_tasks(app, invocation),
                            add_ps(app, invocation),   add_exec(app, invocation)};
  const auto typed = [&] {
    return std::find_if(verbs.begin(), verbs.end(),
                        [](const Verb& verb) { return verb.command->parsed(); });
  };
  std::vector<std::string> words = plain_words(app, invocation.words);
  const std::string first = words.empty() ? std::string{} : words.front();
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help and --version
      std::ostringstream text;
      app.exit(error, text, text);
      return write_out(text.str()) ? 0 : exit_status(ErrorKind::Failed);
    }
    // CLI11's own statuses are above 100.
    if (typed() != verbs.end()) {
      const bool extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
      return typed()->report.usage(extra ? explain_unexpected(*typed()->command) : error.what());
    }
    std::vector<std::string> names{"help", "version"};
    for (const Verb& verb : verbs)
      names.push_back(verb.command->get_name());
    return explain_usage(first, error.what(), names);
  }
  return typed()->run();
}

}  // namespace

int main(int argc, char** argv) {
  // A dump allocates in many small steps and ends soon: memory is taken from the kernel in few
  // large ones, and given back by the end of the process.
  constexpr int kStep = 1 << 20;
  ::mallopt(M_TOP_PAD, kStep);
  ::mallopt(M_TRIM_THRESHOLD, INT_MAX);
  ::mallopt(M_MMAP_THRESHOLD, INT_MAX);
  pyscope::cli::occupy_standard_streams();
  pyscope::ask_for_short_turns();
  try {
    const int status = run(argc, argv);
    const int all = pyscope::cli::output_lost() ? exit_status(ErrorKind::Failed) : status;
    if (pyscope::threads_left_behind != 0) std::_Exit(all);
    return all;
  } catch (const std::exception& error) {
    pyscope::cli::Message::print("pyscope: unexpected failure: {}\n", error.what());
    return 1;
  }
}
