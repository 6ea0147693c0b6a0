#include "support/dump.hpp"

#include <fmt/core.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "support/catch.hpp"
#include "support/target.hpp"

namespace pyscope::test {
namespace {

using nlohmann::json;

// Where the check against the schema finds it after all tests. The name says which test saw it. The
// stacks of 100,000 frames are left out: to check one takes a quarter of a minute.
void keep(const std::string& text) {
  constexpr std::size_t kMaxSize = std::size_t{8} << 20U;
  if (text.size() > kMaxSize) return;
  static int number = 0;
  std::string name;
  for (const char c : Catch::getResultCapture().getCurrentTestName()) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  }
  std::filesystem::create_directories(PYSCOPE_SEEN_JSON);
  constexpr std::size_t kMaxName = 100;
  write_file(fmt::format("{}/{}-{}.json", PYSCOPE_SEEN_JSON, name.substr(0, kMaxName), ++number),
             text);
}

template <class Matches>
const json& only_thread(const json& dump, const std::string& wanted, const Matches& matches) {
  const json* found = nullptr;
  for (const json& thread : dump.at("threads")) {
    if (!matches(thread)) continue;
    if (found != nullptr) throw std::runtime_error("more than one thread " + wanted);
    found = &thread;
  }
  if (found == nullptr) {
    throw std::runtime_error(fmt::format("no thread {} in {}", wanted, dump.dump()));
  }
  return *found;
}

}  // namespace

std::string pyscope_binary() {
  const char* other = std::getenv("PYSCOPE_TEST_BINARY");
  return other != nullptr ? other : PYSCOPE_BINARY;
}

bool pyscope_is_sanitized() {
#ifdef PYSCOPE_SANITIZE
  return true;
#else
  return std::getenv("PYSCOPE_TEST_SANITIZED") != nullptr;
#endif
}

Program pyscope_program(const std::vector<std::string>& arguments, const PyscopeOptions& options) {
  Program program;
  program.command = {pyscope_binary()};
  program.command.insert(program.command.end(), arguments.begin(), arguments.end());
  program.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TERM=xterm-256color"};
  program.environment.insert(program.environment.end(), options.environment.begin(),
                             options.environment.end());
  program.before_exec = options.before_exec;
  return program;
}

Outcome run_pyscope(const std::vector<std::string>& arguments, const PyscopeOptions& options) {
  Outcome outcome = run(pyscope_program(arguments, options));
  if (outcome.out.starts_with('{')) keep(outcome.out);
  return outcome;
}

Dump dump(pid_t pid, const std::vector<std::string>& arguments, const PyscopeOptions& options) {
  std::vector<std::string> all{"dump", "--json", std::to_string(pid)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const Outcome outcome = run_pyscope(all, options);
  try {
    return {outcome.status, json::parse(outcome.out), outcome.err};
  } catch (const json::exception& error) {
    throw std::runtime_error(
        fmt::format("pyscope ended with {}, and its output is not JSON: {}\n{}\n{}", outcome.status,
                    error.what(), outcome.out, outcome.err));
  }
}

std::vector<json> parse_lines(const std::string& text) {
  std::vector<json> documents;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    documents.push_back(json::parse(line));
  }
  return documents;
}

const json& thread_of(const json& dump, pid_t tid) {
  return only_thread(dump, std::to_string(tid),
                     [&](const json& thread) { return thread.at("tid") == tid; });
}

const json& thread_of(const json& dump, const std::string& name) {
  return only_thread(dump, name, [&](const json& thread) { return thread.at("name") == name; });
}

std::vector<json> python_frames(const json& thread) {
  std::vector<json> frames;
  for (const json& frame : thread.at("frames")) {
    if (frame.at("kind") == "python") frames.push_back(frame);
  }
  return frames;
}

}  // namespace pyscope::test
