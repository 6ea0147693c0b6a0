// Processes that wait for each other for ever.
#include <fmt/format.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Until each of these has stood in the same system call, without having run, between two looks.
bool all_stand(const std::vector<pid_t>& pids) {
  const auto look = [&] {
    std::string text;
    for (const pid_t pid : pids) {
      text += read_file(fmt::format("/proc/{}/syscall", pid));
      text += read_file(fmt::format("/proc/{}/status", pid));
    }
    return text;
  };
  for (int i = 0; i < 2000; ++i) {
    const std::string before = look();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (before.find("running") == std::string::npos && look() == before) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("processes that wait for each other are called deadlocked, by whichever is asked",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string kind = GENERATE("full_pipe", "not_python", "conversation", "semaphores");
  CAPTURE(interpreter, kind);
  Target target(interpreter, "stuck_processes.py", {kind});
  const json truth = target.read();
  const auto pids = truth.at("pids").get<std::vector<pid_t>>();
  REQUIRE(all_stand(pids));
  for (const pid_t pid : pids) {
    const Dump dumped = dump(pid);
    CAPTURE(pid, dumped.err);
    if (kind == "not_python" && pid == pids.back()) {
      CHECK(dumped.status == 5);
      continue;
    }
    CHECK(dumped.status == 0);
    REQUIRE(dumped.json.at("deadlocks").size() == 1);
    const json& cycle = dumped.json.at("deadlocks").at(0).at("cycle");
    // It begins with who was asked, if that is one of them.
    std::vector<pid_t> members;
    for (const json& member : cycle) {
      members.push_back(member.at("pid"));
      CAPTURE(member.dump());
      const auto words = truth.at("words").find(std::to_string(members.back()));
      if (words != truth.at("words").end()) {
        CHECK(member.at("waits").get<std::string>().starts_with(words->get<std::string>()));
      }
    }
    CHECK_THAT(members,
               Catch::Matchers::UnorderedEquals(truth.at("cycle").get<std::vector<pid_t>>()));
    const std::string text = run_pyscope({"dump", std::to_string(pid)}).out;
    CAPTURE(text);
    CHECK(text.starts_with("Found a deadlock of 2 processes:\n"));
    if (pid == members.front()) {
      CHECK(text.find("1 thread: deadlocked in ") != std::string::npos);
      // What the program itself calls is told, as far as the library's functions are known.
      if (kind == "full_pipe" && pid == target.pid()) {
        CHECK(text.find(", waits in full_pipe (") != std::string::npos);
      }
      const json why = json::parse(
          run_pyscope({"why", std::to_string(pid), "--json", "--duration", "100ms"}).out);
      CHECK(why.at("threads").at(0).at("verdict") == "deadlocked");
    }
  }
}

TEST_CASE("processes that something else may wake are not called deadlocked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string kind = GENERATE("working", "signalled", "other_thread", "third", "alone");
  CAPTURE(interpreter, kind);
  Target target(interpreter, "stuck_processes.py", {kind});
  const json truth = target.read();
  REQUIRE(all_stand(truth.at("pids").get<std::vector<pid_t>>()));
  for (const json& pid : truth.at("pids")) {
    const Dump dumped = dump(pid.get<pid_t>());
    CAPTURE(dumped.err);
    CHECK(dumped.json.at("deadlocks").empty());
  }
}
