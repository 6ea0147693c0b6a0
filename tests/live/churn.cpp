// Targets that end and change all the time, and check their own results while they are dumped.
// PYSCOPE_CHURN=N makes each case N dumps long, for a campaign.
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

int dumps(int usual) {
  const char* wanted = std::getenv("PYSCOPE_CHURN");
  return wanted != nullptr ? std::stoi(wanted) : usual;
}

/// The ways in which a process is asked, in turn.
std::vector<std::string> question(int number, pid_t pid) {
  static const std::array<std::vector<std::string>, 6> kQuestions{
      {{"dump", "--json"},
       {"dump", "--json", "--locals"},
       {"dump", "--json", "--pause"},
       {"dump", "--json", "--pause=all"},
       {"dump", "--json", "--children"},
       {"why", "--json", "--duration", "20ms"}}};
  auto words = kQuestions[static_cast<std::size_t>(number) % kQuestions.size()];
  words.push_back(std::to_string(pid));
  return words;
}

/// Each line of the output is a document, whatever happened; each status one that is promised.
/// Throws what isn't JSON.
std::vector<json> documents_of(const Outcome& outcome, const std::set<int>& promised) {
  CAPTURE(outcome.status, outcome.out, outcome.err);
  CHECK(promised.contains(outcome.status));
  if (outcome.status == 0 || outcome.status == 6) CHECK_FALSE(outcome.out.empty());
  // One document may have many lines, several have one each.
  if (json::accept(outcome.out)) return {json::parse(outcome.out)};
  return parse_lines(outcome.out);
}

/// No thread stands and nobody traces the process, at the latest after a while.
bool goes_on(pid_t pid) {
  return eventually([&] {
    const auto tasks = task_activity(pid);
    return read_file(fmt::format("/proc/{}/status", pid)).find("TracerPid:\t0\n") !=
               std::string::npos &&
           std::none_of(tasks.begin(), tasks.end(), [](const TaskActivity& task) {
             return task.state == 't' || task.state == 'T';
           });
  });
}

void report(const std::string& what, const std::map<int, int>& statuses) {
  if (std::getenv("PYSCOPE_CHURN") != nullptr) fmt::print("{}: {}\n", what, statuses);
}

}  // namespace

TEST_CASE("churn: a process that changes all the time is dumped and its results stay right",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string what =
      GENERATE("fork", "threads", "libraries", "interpreters", "garbage", "binary");
  CAPTURE(interpreter, what);
  Workspace place(interpreter);
  TargetOptions options;
  // Its own copy, as it will be replaced.
  if (what == "binary") options.executable = place.copy_executable("python");
  Target target(std::move(place), "churn.py", {what}, options);
  REQUIRE(target.read() == "ready");
  std::map<int, int> statuses;
  for (int i = 0; i < dumps(12); ++i) {
    const Outcome outcome = run_pyscope(question(i, target.pid()));
    ++statuses[outcome.status];
    for (const json& document : documents_of(outcome, {0, 6})) {
      // With --children, one of them may have ended.
      if (document.contains("error")) {
        CHECK(document.at("pid") != target.pid());
        continue;
      }
      if (document.at("pid") != target.pid() || !document.contains("command")) continue;
      CHECK(document.at("command").back() == what);
      CHECK(document.at("python").at("version") == interpreter.version);
    }
  }
  report(fmt::format("{} {} {}", what, interpreter.version, interpreter.kind), statuses);
  REQUIRE(goes_on(target.pid()));
  const json before = target.ask();
  json after;
  // All threads make progress.
  CHECK(eventually([&] {
    after = target.ask();
    return after.at(0) > before.at(0) && after.at(1) > before.at(1) && after.at(2) > before.at(2);
  }));
  target.child().close_stdin();
  // Not 70: no result was wrong.
  CHECK(target.child().finish().status == 0);
}

TEST_CASE("churn: a process that becomes another version's again and again is never mixed up",
          "[live]") {
  std::vector<Workspace> workspaces;
  json places = json::array();
  for (const Interpreter& interpreter : interpreters()) {
    if (interpreter.kind != "release" || interpreter.root == "/") continue;
    const Workspace& place = workspaces.emplace_back(interpreter);
    places.push_back({interpreter.root, interpreter.executable, place.inside("churn.py")});
  }
  REQUIRE(places.size() >= 2);
  Program program;
  program.command = {"/bin/sh", "-c", "exec 9</; exec chroot \"$@\"", "sh"};
  for (const json& word : places.at(0))
    program.command.push_back(word);
  program.command.insert(program.command.end(), {"exec", places.dump()});
  program.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  Child child(program);
  // The shell that it begins with is no part of it.
  REQUIRE(eventually([&] {
    std::error_code none;
    const auto exe = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", child.pid()), none);
    return exe.filename().string().starts_with("python");
  }));
  std::map<int, int> statuses;
  std::set<std::string> versions;
  const auto look = [&](int number) {
    const Outcome outcome = run_pyscope(question(number, child.pid()));
    ++statuses[outcome.status];
    for (const json& document : documents_of(outcome, {0, 3, 5, 6})) {
      // What isn't Python is what was in between; or it hasn't started yet.
      if (outcome.status == 5) {
        const std::string message = document.at("error").at("message");
        CAPTURE(message);
        CHECK((message.find("it runs /usr/sbin/chroot") != std::string::npos ||
               message.find("no interpreter is running in it") != std::string::npos));
      }
      if (!document.contains("python") || !document.contains("threads")) continue;
      const std::string version = document.at("python").at("version");
      const std::string minor = version.substr(2, 2);
      versions.insert(version);
      CAPTURE(document.dump());
      CHECK(document.at("command").at(0) == "/usr/bin/python3." + minor);
      for (const json& thread : document.at("threads")) {
        if (!thread.value("consistent", false)) continue;
        for (const json& frame : python_frames(thread)) {
          // While the interpreter starts, what it runs may be none of its code objects yet.
          if (frame.at("qualified_name").is_null()) {
            CHECK(frame.contains("error"));
            continue;
          }
          const std::string name = frame.at("qualified_name");
          if (name.starts_with("exec_")) CHECK(name == "exec_" + minor);
        }
      }
    }
  };
  for (int i = 0; i < dumps(60); ++i)
    look(i);
  // Else nothing was tried.
  int more = 0;
  CHECK(eventually([&] {
    look(more++);
    return versions.size() >= 2;
  }));
  report("exec", statuses);
  CHECK(::kill(child.pid(), 0) == 0);
  child.kill();
}

TEST_CASE("churn: a PID that is used again is never taken for the old process", "[live]") {
  const Interpreter interpreter = any_interpreter();
  const std::string file = "/proc/sys/kernel/ns_last_pid";
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to choose the next PID");
    return;
  }
  std::map<int, int> statuses;
  int used_again = 0;
  const auto once = [&](int i) {
    Target old(interpreter, "processes.py", {"spin"});
    REQUIRE(old.read() == "ready");
    const pid_t pid = old.pid();
    Child reader(pyscope_program({"dump", "--json", std::to_string(pid)}));
    std::this_thread::sleep_for(std::chrono::microseconds(200) * (i % 20));  // at any moment of it
    old.child().kill();
    write_file(file, std::to_string(pid - 1));
    Target next(interpreter, "processes.py", {"sleep"});
    if (next.pid() == pid) ++used_again;  // else somebody else was faster
    const Outcome outcome = reader.finish();
    ++statuses[outcome.status];
    for (const json& document : documents_of(outcome, {0, 3, 5, 6})) {
      if (!document.contains("threads")) continue;
      const std::string command = document.at("command").back();
      CAPTURE(document.dump());
      for (const json& thread : document.at("threads")) {
        for (const json& frame : python_frames(thread)) {
          if (frame.at("qualified_name").is_null()) continue;
          const std::string name = frame.at("qualified_name");
          if (name == "spin" || name == "sleep") CHECK(name == command);
        }
      }
    }
  };
  for (int i = 0; i < dumps(20); ++i)
    once(i);
  int more = 0;
  CHECK(eventually([&] {
    if (used_again == 0) once(more++);
    return used_again > 0;
  }));
  report(fmt::format("PID used again ({} times)", used_again), statuses);
}
