// How many stacks of threads that never hold still can be verified, and whether those that are are
// possible.
//
//   torn_stacks SNAPSHOTS [KIND...]
//   torn_stacks --judge
//
// The first runs tests/live/programs/torn.py on each release build of the manifest that
// PYSCOPE_TEST_INTERPRETERS names, attaches once, takes the snapshots, and prints a Markdown table.
// With PYTHON_JIT=1 in its environment CPython's own compiler is on. Exit status 1 if a verified
// stack was impossible.
//
// The second tells torn_peers.py whether the stacks that others read are possible. The first line
// of its input is what torn.py says, each other line a list of stacks: [[is it the main thread's,
// [[function, file, line], ...]], ...], innermost frame first. A line of output answers it, with
// what is impossible about each stack, or "", and the outermost function if it isn't where such a
// thread begins, or "": [["", ""], ...].
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/short_turns.hpp"
#include "session/attach.hpp"
#include "session/session.hpp"
#include "support/legal_stacks.hpp"
#include "support/target.hpp"

using namespace pyscope;

namespace {

/// What became of the stacks of one kind of thread that were not proven by the GIL alone.
struct Tally {
  std::size_t by_gil = 0;
  std::size_t at_once = 0;
  std::size_t retried = 0;
  std::size_t preempted = 0;
  std::size_t at_rest = 0;
  std::size_t unverified = 0;
  std::size_t impossible = 0;
};

double microseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

bool run(const test::Interpreter& interpreter, std::size_t snapshots,
         const std::vector<std::string>& kinds) {
  test::TargetOptions options_of_target;
  if (const char* jit = std::getenv("PYTHON_JIT"))
    options_of_target.environment = {std::string("PYTHON_JIT=") + jit};
  test::Target target(interpreter, "torn.py", kinds, options_of_target);
  const test::LegalStacks legal(target.read().at("callers"));
  const Log log;
  const auto attached = attach(target.pid(), log);
  if (!attached) {
    fmt::print(stderr, "torn_stacks: {}\n", attached.error().message);
    return false;
  }
  CaptureOptions options;
  options.source = false;
  std::map<std::string, Tally> tallies;
  std::vector<double> times;
  int shown = 0;
  for (std::size_t i = 0; i < snapshots; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto snapshot = read_snapshot(*attached->target, attached->runtime, options, log);
    times.push_back(microseconds(std::chrono::steady_clock::now() - begin));
    if (!snapshot) continue;
    for (const Thread& thread : snapshot->threads) {
      std::string kind = thread.name.value_or("?");
      if (kind.starts_with("Thread-")) kind = "(started by churn)";
      Tally& tally = tallies[kind];
      switch (thread.proof) {
        case Proof::None:
          ++tally.unverified;
          continue;
        case Proof::Gil:
          ++tally.by_gil;
          break;
        case Proof::Preempted:
          ++tally.preempted;
          break;
        case Proof::TwoCopies:
          ++(thread.attempts == 1 ? tally.at_once : tally.retried);
          break;
        case Proof::AtRest:
        case Proof::Paused:
          ++tally.at_rest;
          break;
      }
      const std::string fault = legal.find_fault(*snapshot, thread);
      if (fault.empty()) continue;
      ++tally.impossible;
      if (++shown <= 20)
        fmt::print(stderr, "{} {}: {} (attempt {}, innermost is {})\n", interpreter.version, kind,
                   fault, thread.attempts,
                   snapshot->codes.at(*thread.frames.front().code).qualified_name);
    }
  }
  std::sort(times.begin(), times.end());
  fmt::print("\n{} snapshots of CPython {}, {:.0f} us each (median)\n\n", snapshots,
             interpreter.version, times[times.size() / 2]);
  fmt::print(
      "| thread | by the GIL | preempted | at once | retried | at rest | not verified | impossible "
      "|\n"
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  std::size_t impossible = 0;
  for (const auto& [kind, t] : tallies) {
    fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} |\n", kind, t.by_gil, t.preempted,
               t.at_once, t.retried, t.at_rest, t.unverified, t.impossible);
    impossible += t.impossible;
  }
  return impossible == 0;
}

void judge(std::istream& in) {
  using nlohmann::json;
  std::string line;
  std::getline(in, line);
  const test::LegalStacks legal(json::parse(line).at("callers"));
  while (std::getline(in, line)) {
    const json stacks = json::parse(line);
    json answer = json::array();
    for (const json& stack : stacks) {
      std::vector<test::CalledFrame> frames;
      for (const json& frame : stack.at(1)) {
        frames.push_back({frame.at(0).get_ref<const std::string&>(),
                          frame.at(1).get_ref<const std::string&>(),
                          frame.at(2).get<std::int32_t>()});
      }
      const std::string_view end = frames.empty() ? std::string_view{} : frames.back().function;
      const bool whole = end == test::LegalStacks::outermost(stack.at(0).get<bool>());
      answer.push_back(
          json::array({legal.find_fault(frames), whole ? std::string{} : std::string(end)}));
    }
    // Names that were read from memory that had other uses by then need not be UTF-8.
    fmt::print("{}\n", answer.dump(-1, ' ', true, json::error_handler_t::replace));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: torn_stacks SNAPSHOTS [KIND...] | --judge\n");
    return 2;
  }
  if (std::string_view(argv[1]) == "--judge") {
    judge(std::cin);
    return 0;
  }
  const std::size_t snapshots = std::strtoul(argv[1], nullptr, 10);
  ask_for_short_turns();  // as the program does
  const std::vector<std::string> kinds(argv + 2, argv + argc);
  bool good = true;
  for (const test::Interpreter& interpreter : test::interpreters()) {
    if (interpreter.kind == "release") good = run(interpreter, snapshots, kinds) && good;
  }
  return good ? 0 : 1;
}
