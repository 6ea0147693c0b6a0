// Deep stacks: complete in JSON, short in text.

#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "support/catch.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

TEST_CASE("a deep recursion is complete in JSON", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const int depth = GENERATE(10, 5'000, 100'000);
  CAPTURE(interpreter, depth);
  Target target(interpreter, "stacks.py", {"recursion", std::to_string(depth)});
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  const json& frames = thread_of(dump, target.pid()).at("frames");
  CHECK(std::count_if(frames.begin(), frames.end(), [](const json& frame) {
          return frame.value("function", "") == "down";
        }) == depth);
}

TEST_CASE("a recursion through two functions or through C is complete in JSON", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string program = GENERATE("mutual_recursion", "recursion_through_c");
  CAPTURE(interpreter, program);
  Target target(interpreter, "stacks.py", {program, "150"});
  REQUIRE(target.read().at("ready") == true);
  check_against_truth(target);
}

TEST_CASE("a deep recursion is short in text", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string program = GENERATE("recursion", "mutual_recursion", "recursion_through_c");
  const int depth = program == "recursion_through_c" ? 150 : GENERATE(5'000, 100'000);
  CAPTURE(interpreter, program, depth);
  Target target(interpreter, "stacks.py", {program, std::to_string(depth)});
  REQUIRE(target.read().at("ready") == true);

  const Outcome text =
      run_pyscope({"dump", std::to_string(target.pid()), "--thread", "MainThread"});

  CAPTURE(text.out);
  CHECK(text.status == 0);
  CHECK(text.out.find("more times") != std::string::npos);
  CHECK(std::count(text.out.begin(), text.out.end(), '\n') < 60);
  // What begins the recursion and what ends it is there.
  CHECK(text.out.find("in block\n") != std::string::npos);
  CHECK(text.out.find(fmt::format("in {}\n", program)) != std::string::npos);
}

TEST_CASE("only the innermost frames are shown where a number is given", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string depth = GENERATE("10", "100000");
  const std::size_t wanted = GENERATE(1U, 5U, 12U);
  CAPTURE(interpreter, depth, wanted);
  Target target(interpreter, "stacks.py", {"recursion", depth});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));

  const Dump limited = dump(target.pid(), {"--frames", std::to_string(wanted)});

  CHECK(limited.status == 0);
  CHECK(limited.json.at("capture").at("consistent") == true);
  const json& thread = thread_of(limited.json, target.pid());
  CHECK(thread.at("truncated") == true);
  const auto frames = python_frames(thread);
  REQUIRE(frames.size() == wanted);
  CHECK(frames[0].at("function") == "block");
  for (std::size_t i = 1; i < std::min<std::size_t>(wanted, 11); ++i) {
    CHECK(frames[i].at("function") == "down");
  }
  if (depth == "10") {
    const Dump all = dump(target.pid(), {"--frames", "100"});
    CHECK(thread_of(all.json, target.pid()).at("truncated") == false);
  }
}
