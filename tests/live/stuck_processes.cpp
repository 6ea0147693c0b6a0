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
  const std::string kind =
      GENERATE("full_pipe", "not_python", "conversation", "semaphores", "signalled", "communicate",
               "connections", "selected", "process_pool");
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
    const bool handled = text.find("unless the handler of a signal ends it: ") != std::string::npos;
    CHECK(handled == (kind == "signalled"));
    if (handled) CHECK(text.find(" handles SIGTERM") != std::string::npos);
    if (pid == members.front()) {
      CHECK(text.find(kind == "process_pool" && pid == target.pid()
                          ? ": 1 deadlocked in "
                          : "1 thread: deadlocked in ") != std::string::npos);
      // What the program itself calls is told, as far as the library's functions are known.
      if (kind == "full_pipe" && pid == target.pid()) {
        CHECK(text.find(", waits in full_pipe (") != std::string::npos);
      }
      const json why = json::parse(
          run_pyscope({"why", std::to_string(pid), "--json", "--duration", "100ms"}).out);
      const json& threads = why.at("threads");
      CHECK(std::any_of(threads.begin(), threads.end(),
                        [](const json& thread) { return thread.at("verdict") == "deadlocked"; }));
    }
  }
}

TEST_CASE("processes that something else may wake are not called deadlocked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string kind =
      GENERATE("working", "alarmed", "other_thread", "third", "alone", "polled_network",
               "polled_for_a_time", "pool_at_rest", "executor_at_rest");
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

TEST_CASE("the processes of a cycle are those that hold, not those that wait beside", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "stuck_processes.py", {"full_queues"});
  const auto pids = target.read().at("pids").get<std::vector<pid_t>>();
  REQUIRE(all_stand(pids));
  for (const pid_t pid : pids) {
    const Dump dumped = dump(pid);
    CAPTURE(pid, dumped.err, dumped.json.at("deadlocks").dump(1));
    REQUIRE(dumped.json.at("deadlocks").size() == 1);
    const json& cycle = dumped.json.at("deadlocks").at(0).at("cycle");
    // The parent, and the one worker that writes to the full pipe of the results.
    REQUIRE(cycle.size() == 2);
    bool has_parent = false;
    for (const json& member : cycle) {
      has_parent = has_parent || member.at("pid") == pids.front();
      CHECK(member.at("waits").get<std::string>().starts_with("to write to the full pipe on fd "));
    }
    CHECK(has_parent);
    if (pid != pids.front()) continue;
    const std::string text = run_pyscope({"dump", std::to_string(pid)}).out;
    CAPTURE(text);
    CHECK(text.find("1 thread: deadlocked in full_queues (") != std::string::npos);
  }
}

TEST_CASE("a child that was forked while a thread had a lock can never go on", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "stuck_processes.py", {"forked_with_lock"});
  const pid_t child = target.read().at("pids").at(1);
  REQUIRE(all_stand({child}));
  const Outcome text = run_pyscope({"dump", std::to_string(child)});
  CAPTURE(text.out, text.err);
  CHECK(text.out.starts_with("1 thread: deadlocked in take ("));
  CHECK(text.out.find(", which nobody is left to give back: held when this process was forked, or "
                      "taken by this thread itself") != std::string::npos);
  const json why =
      json::parse(run_pyscope({"why", std::to_string(child), "--json", "--duration", "100ms"}).out);
  CHECK(why.at("threads").at(0).at("verdict") == "deadlocked");
}

TEST_CASE("a lock that was held at the fork is told in a child with several threads", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  struct Case {
    const char* program;
    const char* says;
    bool certain;
  };
  const auto tried = GENERATE(
      Case{"forked_all_wait", ": held when this process was forked, or taken by a thread that",
           true},
      Case{"forked_beside_sleeper", ": most likely held when this process was forked, by ", false},
      // Where the thread beside has got the ident of the one that had the lock, either may have it.
      Case{"forked_with_rlock", ": held when this process was forked, or ", false},
      Case{"forked_with_mutex", ": held when this process was forked, by thread ", true},
      Case{"forked_in_c_with_lock", ": held when this process was forked, by a thread", true});
  CAPTURE(interpreter, tried.program);
  Target target(interpreter, "stuck_processes.py", {tried.program}, {.flags = {"-Wignore"}});
  const pid_t child = target.read().at("pids").at(1);
  REQUIRE(all_stand({child}));
  const Outcome text = run_pyscope({"dump", std::to_string(child), "--no-source", "--full"});
  CAPTURE(text.out, text.err);
  const std::size_t heading = text.out.find(fmt::format("\nThread {} ", child));
  REQUIRE(heading != std::string::npos);
  const std::string line =
      text.out.substr(heading + 1, text.out.find('\n', heading + 1) - heading - 1);
  CHECK(line.find(tried.says) != std::string::npos);
  CHECK(line.find("held by") == std::string::npos);
  const bool certain = line.find("which nobody is left to give back") != std::string::npos;
  if (tried.certain) CHECK(certain);
  const json why =
      json::parse(run_pyscope({"why", std::to_string(child), "--json", "--duration", "100ms"}).out);
  for (const json& thread : why.at("threads")) {
    if (thread.at("tid") == child)
      CHECK(thread.at("verdict") == (certain ? "deadlocked" : "waiting_for_lock"));
  }
}

TEST_CASE("a lock that another thread of a forked child has acquired is not called lost",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "stuck_processes.py", {"forked_and_acquired"},
                {.flags = {"-Wignore"}});
  const pid_t child = target.read().at("pids").at(1);
  REQUIRE(all_stand({child}));
  const std::string text =
      run_pyscope({"dump", std::to_string(child), "--no-source", "--full"}).out;
  CAPTURE(text);
  CHECK(text.find("waiting for threading.Lock") != std::string::npos);
  CHECK(text.find("held when this process was forked") == std::string::npos);
  CHECK(text.find("deadlock") == std::string::npos);
}

TEST_CASE("the first thread of a child that C code forked is known", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "stuck_processes.py", {"forked_in_c"});
  const pid_t child = target.read().at("pids").at(1);
  REQUIRE(all_sleep(child));
  const Dump dumped = dump(child);
  CAPTURE(dumped.err, dumped.json.dump(1));
  CHECK(dumped.status == 0);
  REQUIRE(dumped.json.at("threads").size() == 2);
  for (const json& thread : dumped.json.at("threads"))
    CHECK(thread.at("state") == "blocked");
  CHECK(thread_of(dumped.json, child).at("main") == true);
  REQUIRE(dumped.json.at("deadlocks").size() == 1);
  CHECK(dumped.json.at("deadlocks").at(0).at("cycle").size() == 2);
}
