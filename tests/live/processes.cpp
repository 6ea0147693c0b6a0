// Processes that are stopped, busy, ending, or changing under the reader's hands.

#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

constexpr int kPartial = 6;

Target start(const Interpreter& interpreter, const std::string& name) {
  Target target(interpreter, "processes.py", {name});
  REQUIRE(target.read() == "ready");
  return target;
}

bool all_have_state(const json& dump, const std::string& state) {
  const json& threads = dump.at("threads");
  return !threads.empty() && std::all_of(threads.begin(), threads.end(), [&](const json& thread) {
    return thread.at("os_state") == state;
  });
}

std::vector<std::string> functions(const json& thread) {
  std::vector<std::string> names;
  for (const json& frame : python_frames(thread))
    names.push_back(frame.at("qualified_name"));
  return names;
}

}  // namespace

TEST_CASE("a process that is stopped is dumped and stays stopped", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "sleep");
  const auto is = [&](char state) {
    return eventually([&] { return task_activity(target.pid()).at(0).state == state; });
  };
  REQUIRE(is('S'));
  const json before = dump(target.pid()).json;
  REQUIRE(::kill(target.pid(), SIGSTOP) == 0);
  REQUIRE(is('T'));

  const Dump stopped = dump(target.pid());
  CHECK(stopped.status == 0);
  CHECK(all_have_state(stopped.json, "T"));
  CHECK(stopped.json.at("threads").at(0).at("frames") == before.at("threads").at(0).at("frames"));
  CHECK(run_pyscope({"dump", std::to_string(target.pid())}).out.find("stopped by a signal") !=
        std::string::npos);
  CHECK(task_activity(target.pid()).at(0).state == 'T');
  REQUIRE(::kill(target.pid(), SIGCONT) == 0);
}

TEST_CASE("a process that another tracer holds is dumped", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "sleep");
  REQUIRE(all_sleep(target.pid()));
  REQUIRE(::ptrace(PTRACE_SEIZE, target.pid(), nullptr, nullptr) == 0);
  CHECK(dump(target.pid()).status == 0);
  REQUIRE(::ptrace(PTRACE_INTERRUPT, target.pid(), nullptr, nullptr) == 0);
  int status = 0;
  REQUIRE(::waitpid(target.pid(), &status, __WALL) == target.pid());
  const Dump held = dump(target.pid());
  CHECK(held.status == 0);
  CHECK(all_have_state(held.json, "t"));
  CHECK(functions(held.json.at("threads").at(0)).front() == "sleep");
  REQUIRE(::ptrace(PTRACE_DETACH, target.pid(), nullptr, nullptr) == 0);
}

TEST_CASE("a tight loop is verified and its line lies within the loop", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "spin");
  const std::string source = read_file(target.workspace().outside("processes.py"));
  const auto line_of = [&](const std::string& text) {
    return 1 + std::count(source.begin(),
                          source.begin() + static_cast<std::ptrdiff_t>(source.find(text)), '\n');
  };
  const auto first = line_of("    say()\n    while True:\n        count += 1\n        if");
  // It says that it is ready from another line.
  REQUIRE(eventually(
      [&] { return functions(dump(target.pid()).json.at("threads").at(0)).front() == "spin"; }));
  int unverified = 0;
  for (int i = 0; i < 50; ++i) {
    const Dump dumped = dump(target.pid());
    if (dumped.status == 6) {
      // Where others want the processors, too, there isn't always one for both in time.
      ++unverified;
      continue;
    }
    REQUIRE(dumped.status == 0);
    const json& thread = dumped.json.at("threads").at(0);
    CHECK(thread.at("consistent") == true);
    const json frame = python_frames(thread).front();
    CHECK(frame.at("qualified_name") == "spin");
    CHECK(frame.at("line") >= first);
    CHECK(frame.at("line") <= first + 3);
  }
  CHECK(unverified <= 5);
}

TEST_CASE("of threads that fight for the GIL at most one holds it and the others wait", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "spin_together");
  // The main thread needs the GIL once more before it blocks.
  REQUIRE(eventually([&] {
    const json dumped = dump(target.pid()).json;
    const json& main = thread_of(dumped, target.pid());
    return main.at("state") == "blocked" &&
           python_frames(main).front().value("source", "") == "os.read(0, 1)";
  }));
  std::size_t waits = 0;
  std::size_t holds = 0;
  for (int i = 0; i < 30; ++i) {
    const Dump dumped = dump(target.pid());
    CHECK((dumped.status == 0 || dumped.status == kPartial));
    std::size_t holders = 0;
    for (const json& thread : dumped.json.at("threads")) {
      const bool holds_gil = thread.at("holds_gil");
      const bool waits_for_gil = thread.at("waits_for_gil");
      CHECK_FALSE((holds_gil && waits_for_gil));
      CHECK((thread.at("state") == "waiting_for_gil") == waits_for_gil);
      if (thread.at("name") == "MainThread") CHECK_FALSE((holds_gil || waits_for_gil));
      if (holds_gil)
        CHECK(dumped.json.at("interpreters").at(0).at("gil_held_by") == thread.at("tid"));
      holders += holds_gil ? 1 : 0;
      waits += waits_for_gil ? 1 : 0;
    }
    CHECK(holders <= 1);
    holds += holders;
  }
  CHECK(holds > 15);
  CHECK(waits > 30);
}

TEST_CASE("a process that ends while it is read ends the dump cleanly", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  for (int i = 0; i < 15; ++i) {
    Target target = start(interpreter, "end_at_once");
    for (int again = 0; again < 5; ++again) {
      const Dump dumped = dump(target.pid());
      CAPTURE(dumped.err, dumped.json.dump());
      CHECK(std::set<int>{0, 3, 5, kPartial}.contains(dumped.status));
    }
  }
}

TEST_CASE("a process that replaces its program while it is read is never mixed up", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "replace_itself");
  for (int i = 0; i < 40; ++i) {
    const Dump dumped = dump(target.pid());
    CAPTURE(dumped.err, dumped.json.dump());
    CHECK(std::set<int>{0, 3, 5, kPartial}.contains(dumped.status));
    if (dumped.json.contains("python")) {
      CHECK(dumped.json.at("python").at("version") == interpreter.version);
    }
  }
}

TEST_CASE("a process that forks all the time is dumped", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "fork_all_the_time");
  for (int i = 0; i < 40; ++i) {
    const Dump dumped = dump(target.pid());
    CHECK((dumped.status == 0 || dumped.status == kPartial));
    REQUIRE(dumped.json.at("threads").size() == 1);
    const json& thread = dumped.json.at("threads").at(0);
    CHECK(thread.at("tid") == target.pid());
    if (thread.at("consistent") == true) CHECK(functions(thread).back() == "<module>");
  }
}

TEST_CASE("the child of a fork has only the thread that forked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "processes.py", {"fork_once"});
  const pid_t child = std::stoi(target.read().get<std::string>());
  REQUIRE(all_sleep(child));
  const Dump dumped = dump(child);
  CHECK(dumped.status == 0);
  REQUIRE(dumped.json.at("threads").size() == 1);
  const json& thread = dumped.json.at("threads").at(0);
  CHECK(thread.at("tid") == child);
  CHECK(thread.at("name") == "forker");
  CHECK(functions(thread).front() == "fork_once.<locals>.forker");
  CHECK(::kill(child, SIGKILL) == 0);
}

TEST_CASE("threads that come and go do not disturb those that stay", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, "churn");
  const std::string task_folder = "/proc/" + std::to_string(target.pid()) + "/task";
  for (int i = 0; i < 100; ++i) {
    const Dump dumped = dump(target.pid());
    CAPTURE(dumped.json.dump());
    CHECK((dumped.status == 0 || dumped.status == kPartial));
    const json& thread = thread_of(dumped.json, "steady");
    const auto names = functions(thread);
    REQUIRE(names.size() > 2);
    CHECK(names[0] == "churn.<locals>.innermost");
    CHECK(names[1] == "churn.<locals>.steady");
    CHECK(names.back() == "Thread._bootstrap");
    CHECK(thread.at("consistent") == true);
    const json& main = thread_of(dumped.json, target.pid());
    if (main.at("consistent") == true) CHECK(functions(main).back() == "<module>");
  }
}

TEST_CASE("an interpreter that ends is shown as far as it has come", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  {
    Target target = start(interpreter, "block_at_exit");
    REQUIRE(all_sleep(target.pid()));
    const Dump dumped = dump(target.pid());
    CHECK(dumped.status == 0);
    CHECK(functions(dumped.json.at("threads").at(0)).front() == "block_at_exit.<locals>.at_exit");
  }
  {
    Target target = start(interpreter, "wait_for_threads_at_exit");
    REQUIRE(all_sleep(target.pid()));
    const Dump dumped = dump(target.pid());
    CHECK(dumped.status == 0);
    const auto names = functions(thread_of(dumped.json, target.pid()));
    CHECK(names.back() == "_shutdown");
  }
  {
    Target target = start(interpreter, "block_in_teardown");
    REQUIRE(all_sleep(target.pid()));
    const Dump dumped = dump(target.pid());
    CAPTURE(dumped.json.dump());
    CHECK(dumped.status == 0);
    CHECK(dumped.json.at("finalizing") == true);
    CHECK(functions(dumped.json.at("threads").at(0)).front() == "Last.__del__");
    CHECK(run_pyscope({"dump", std::to_string(target.pid())}).out.find("shutting down") !=
          std::string::npos);
  }
}
