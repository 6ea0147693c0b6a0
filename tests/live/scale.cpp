// Much of everything, and that the cost of a dump grows with what is read and not with the number
// of its parts.
#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// The system calls that a dump made to read the target's memory, as -v tells. The least of a few,
/// as a switch of the GIL makes more of them.
int memory_reads(pid_t pid) {
  int least = 1'000'000;
  for (int i = 0; i < 5; ++i) {
    const Outcome outcome = run_pyscope({"dump", "-v", "--no-source", std::to_string(pid)});
    REQUIRE(outcome.status == 0);
    const std::string after = " system calls to read memory";
    const std::size_t end = outcome.err.find(after);
    REQUIRE(end != std::string::npos);
    const std::size_t begin = outcome.err.rfind(' ', end - 1) + 1;
    least = std::min(least, std::stoi(outcome.err.substr(begin, end - begin)));
  }
  return least;
}

}  // namespace

TEST_CASE("the number of reads does not grow with the number of threads and frames", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  const auto reads = [&](const std::string& threads, const std::string& depth) {
    Target target(interpreter, "scale.py", {"threads", threads, depth});
    REQUIRE(target.read().at("ready") == true);
    REQUIRE(all_sleep(target.pid()));
    return memory_reads(target.pid());
  };
  // docs/performance.md has the exact numbers; these leave room for the layout of the heap.
  const int one = reads("1", "5");
  const int twenty = reads("20", "30");
  const int thousand = reads("1000", "50");
  CAPTURE(one, twenty, thousand);
  // Half of them look for the name of the lock that these threads wait for.
  CHECK(one <= 140);
  CHECK(twenty <= 160);
  CHECK(thousand <= 220);
}

TEST_CASE("why says that its time was up", "[live]") {
  // More than can be read in a millisecond.
  Target target(any_interpreter(), "scale.py", {"threads", "1000", "50"});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const std::string pid = std::to_string(target.pid());
  const Outcome whole = run_pyscope({"why", pid, "--json", "--duration", "200ms"});
  CAPTURE(whole.err);
  CHECK(whole.status == 0);
  CHECK(json::parse(whole.out).at("complete") == true);
  CHECK(json::parse(whole.out).at("warnings").empty());

  const Outcome cut = run_pyscope({"why", pid, "--json", "--duration", "2s", "--timeout", "1ms"});
  CAPTURE(cut.err);
  CHECK(cut.status == 6);
  const json answer = json::parse(cut.out);
  REQUIRE(answer.contains("complete"));
  CHECK(answer.at("complete") == false);
  const std::string warnings = answer.at("warnings").dump();
  CHECK(warnings.find("the time limit was reached") != std::string::npos);
  const Outcome text = run_pyscope({"why", pid, "--duration", "2s", "--timeout", "1ms"});
  CHECK(text.status == 6);
  CHECK(text.out.find("\nWarning: the time limit was reached") != std::string::npos);
}

TEST_CASE("a thousand threads are dumped whole", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  constexpr int kThreads = 1000;
  Target target(interpreter, "scale.py", {"threads", std::to_string(kThreads), "50"});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid(), {"--no-source"});
  CHECK(dumped.status == 0);
  const json& threads = dumped.json.at("threads");
  REQUIRE(threads.size() == kThreads + 1);
  const auto right = std::count_if(threads.begin() + 1, threads.end(), [](const json& thread) {
    const auto frames = python_frames(thread);
    // 50, and Thread.run, _bootstrap_inner and _bootstrap.
    return frames.size() == 53 && frames[49].at("function") == "descend" &&
           thread.at("name").get<std::string>().starts_with("worker-") &&
           thread.at("os_state") == "S" && thread.at("proof") != nullptr;
  });
  CHECK(right == kThreads);
}

TEST_CASE("thousands of functions on one stack are all named", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  constexpr int kFunctions = 5000;
  Target target(interpreter, "scale.py", {"code", std::to_string(kFunctions)});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CHECK(dumped.status == 0);
  const auto frames = python_frames(dumped.json.at("threads").at(0));
  REQUIRE(frames.size() > kFunctions);
  int wrong = 0;
  for (int i = 0; i < kFunctions; ++i) {
    // The innermost is the lambda that waits.
    const json& frame = frames[static_cast<std::size_t>(i) + 1];
    if (frame.at("function") != fmt::format("function_{}", i) || frame.at("line") != i + 1) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(memory_reads(target.pid()) <= 160);
}

TEST_CASE("two hundred interpreters are dumped with their threads", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "scale.py", {"interpreters", "200"});
  const std::size_t made = target.read().at("made").get<std::size_t>();
  REQUIRE(made > 50);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  CHECK(dumped.json.at("interpreters").size() == made + 1);
  std::size_t inside = 0;
  for (const json& thread : dumped.json.at("threads")) {
    if (thread.at("interpreter") != 0 && !python_frames(thread).empty()) ++inside;
  }
  CHECK(inside == made);
}
