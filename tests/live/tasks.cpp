// Tasks of asyncio: what the coroutines say of themselves is what pyscope tasks must say.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

struct Tasks {
  json document;
  std::map<std::string, json> by_name;
  std::map<std::string, std::string> names;  // by id

  [[nodiscard]] std::set<std::string> named(const json& ids) const {
    std::set<std::string> result;
    for (const json& id : ids)
      result.insert(names.at(id));
    return result;
  }
  [[nodiscard]] const json& wait(const std::string& name) const {
    return by_name.at(name).at("waits_for");
  }
};

Tasks tasks_of(pid_t pid, int status = 0, const std::vector<std::string>& options = {}) {
  std::vector<std::string> words{"tasks", std::to_string(pid), "--json"};
  words.insert(words.end(), options.begin(), options.end());
  const Outcome outcome = run_pyscope(words);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.status == status);
  Tasks tasks{json::parse(outcome.out), {}, {}};
  for (const json& loop : tasks.document.at("loops")) {
    for (const json& task : loop.at("tasks")) {
      REQUIRE(tasks.by_name.emplace(task.at("name"), task).second);
      tasks.names.emplace(task.at("id"), task.at("name"));
    }
  }
  return tasks;
}

/// (qualified name, line) of each frame, the outermost first, as the programs print them.
json chain_of(const json& task) {
  json chain = json::array();
  for (const json& frame : task.at("frames"))
    chain.insert(chain.begin(), json{frame.at("qualified_name"), frame.at("line")});
  return chain;
}

json without_variables(json chain) {
  for (json& frame : chain)
    frame.erase(2);
  return chain;
}

std::string text_of(pid_t pid, const std::vector<std::string>& options = {}) {
  std::vector<std::string> words{"tasks", std::to_string(pid)};
  words.insert(words.end(), options.begin(), options.end());
  const Outcome outcome = run_pyscope(words);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return outcome.out;
}

/// What is found, as sets of names.
std::multiset<std::set<std::string>> found(const Tasks& tasks, const std::string& kind) {
  std::multiset<std::set<std::string>> result;
  for (const json& finding : tasks.document.at("findings")) {
    if (finding.at("kind") == kind) result.insert(tasks.named(finding.at("tasks")));
  }
  return result;
}

}  // namespace

TEST_CASE("tasks have the stacks that their coroutines tell, and wait for what they wait for",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tasks.py", {"waits"});
  const json truth = target.read();
  REQUIRE(all_sleep(target.pid()));
  const Tasks tasks = tasks_of(target.pid());
  REQUIRE(tasks.document.at("loops").size() == 1);
  CHECK(tasks.document.at("capture").at("one_instant") == true);
  const json& loop = tasks.document.at("loops").at(0);
  CHECK(loop.at("tid") == truth.at("tid"));
  CHECK(loop.at("running_task").is_null());
  CHECK(loop.at("busy_us").is_null());
  CHECK(loop.at("type") == "asyncio.unix_events._UnixSelectorEventLoop");
  for (const auto& [name, told] : truth.at("tasks").items()) {
    CAPTURE(name);
    const json& task = tasks.by_name.at(name);
    CHECK(task.at("consistent") == true);
    CHECK(task.at("state") == "waiting");
    CHECK(std::stoull(task.at("id").get<std::string>(), nullptr, 16) == told.at("id"));
    CHECK(chain_of(task) == without_variables(told.at("frames")));
    CHECK(task.at("coroutine") == told.at("frames").at(0).at(0));
  }
  // And the main one, which the program leaves out.
  CHECK(tasks.by_name.size() == truth.at("tasks").size() + 1);

  const auto check = [&](const std::string& name, const std::string& kind, const char* what,
                         const char* called) {
    CAPTURE(name);
    const json& wait = tasks.wait(name);
    CHECK(wait.at("kind") == kind);
    CHECK(wait.at("what") == (what == nullptr ? json() : json(what)));
    CHECK(wait.at("name") == (called == nullptr ? json() : json(called)));
  };
  const auto check_tasks = [&](const std::string& name, const std::string& kind,
                               const std::set<std::string>& awaited, bool any = false) {
    CAPTURE(name);
    CHECK(tasks.wait(name).at("kind") == kind);
    CHECK(tasks.named(tasks.wait(name).at("tasks")) == awaited);
    CHECK(tasks.wait(name).at("any") == any);
    for (const std::string& one : awaited)
      CHECK(tasks.named(tasks.by_name.at(one).at("awaited_by")).contains(name));
  };
  const auto held_by = [&](const std::string& name) {
    return tasks.named(tasks.wait(name).at("held_by"));
  };
  using Names = std::set<std::string>;
  check("sleeper", "timer", nullptr, nullptr);
  const std::int64_t left = tasks.wait("sleeper").at("left_us");
  CHECK(left > 90'000'000'000);
  CHECK(left <= 100'000'000'000);
  check("user", "lock", "asyncio.Lock", "STORE.lock");
  CHECK(held_by("user") == Names{"holder"});
  check("managed user", "lock", "asyncio.Lock", "guard");
  CHECK(held_by("managed user") == Names{"manager"});
  check("semaphore user", "semaphore", "asyncio.Semaphore", "guard");
  CHECK(held_by("semaphore user") == Names{"semaphore holder"});
  check("filler", "queue", "asyncio.Queue", "STORE.full");
  CHECK(tasks.wait("filler").at("detail") == "2 of 2 items");
  check("taker", "queue", "asyncio.Queue", "JOBS");
  CHECK(tasks.wait("taker").at("detail") == "empty");
  check("joiner", "queue", "asyncio.Queue", "STORE.full");
  CHECK(tasks.wait("joiner").at("detail") == "2 items not done yet");
  check("with timeout", "event", "asyncio.Event", "event");
  check("wait for", "event", "asyncio.Event", "event");
  for (const char* name : {"with timeout", "wait for"}) {
    const std::int64_t until = tasks.by_name.at(name).at("deadline_left_us");
    CHECK(until > 40'000'000'000);
    CHECK(until <= 50'000'000'000);
  }
  CHECK(tasks.by_name.at("sleeper").at("deadline_left_us").is_null());
  check("notified", "condition", "asyncio.Condition", "condition");
  check("meeter", "barrier", "asyncio.Barrier", "barrier");
  CHECK(tasks.wait("meeter").at("detail") == "1 of 3 there");
  check("server", "server", nullptr, nullptr);
  check("in thread", "executor", nullptr, nullptr);
  CHECK(tasks.wait("in thread").at("detail") == "it runs");
  check("nothing known", "future", "asyncio.Future", nullptr);
  check("reader", "socket", nullptr, nullptr);
  const std::string peer = "127.0.0.1:" + truth.at("port").dump() + " established";
  CHECK(tasks.wait("reader").at("target").get<std::string>().find(peer) != std::string::npos);
  check("child", "process", nullptr, nullptr);
  CHECK(tasks.wait("child").at("process") == truth.at("child"));
  check_tasks("group", "tasks", {"of the group"});
  check_tasks("first of", "tasks", {"one", "two"}, true);
  check_tasks("all of", "tasks", {"one", "two"});
  check_tasks("as completed", "tasks", {"one", "two"}, true);
  check_tasks("shielded", "task", {"one"});
  check_tasks("plain", "task", {"two"});
  CHECK(tasks.wait("gatherer").at("tasks").size() == 2);
  CHECK(tasks.by_name.at("stubborn").at("cancel_requests") == 2);
  CHECK(tasks.by_name.at("sleeper").at("cancel_requests") == 0);
  CHECK(tasks.document.at("findings").empty());

  // The text says the same.
  const std::string text = text_of(target.pid());
  CHECK(text.find("Task user (use_store): waiting for asyncio.Lock STORE.lock") !=
        std::string::npos);
  CHECK(text.find("held by holder\n") != std::string::npos);
  const std::string flat = text_of(target.pid(), {"--flat"});
  CHECK(flat.find("\nplain  plain  waiting for two  in plain (") != std::string::npos);
  const std::string one = text_of(target.pid(), {"--flat", "--task", "taker"});
  CHECK(one.find("\ntaker  ") != std::string::npos);
  CHECK(one.find("\nplain  ") == std::string::npos);
  CHECK(one.substr(0, one.find('\n')) == flat.substr(0, flat.find('\n')));
}

TEST_CASE("variables of tasks are those that their frames have", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tasks.py", {"waits"});
  const json truth = target.read();
  REQUIRE(all_sleep(target.pid()));
  const Tasks tasks = tasks_of(target.pid(), 0, {"--locals"});
  std::size_t compared = 0;
  for (const auto& [name, told] : truth.at("tasks").items()) {
    const json& frames = tasks.by_name.at(name).at("frames");
    REQUIRE(frames.size() == told.at("frames").size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const json& frame = frames[frames.size() - 1 - i];
      CAPTURE(name, frame);
      CHECK_FALSE(frame.contains("locals_changed"));
      std::map<std::string, std::string> read;
      for (const json& variable : frame.at("locals"))
        read.emplace(variable.at("name"), variable.at("repr"));
      for (const auto& [variable, repr] : told.at("frames")[i][2].items()) {
        CAPTURE(variable);
        REQUIRE(read.contains(variable));
        CHECK(read[variable] == repr);
        ++compared;
      }
    }
  }
  CHECK(compared > 20);
}

TEST_CASE("tasks that wait for each other are found, with who holds what", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tasks.py", {"deadlocks"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const Tasks tasks = tasks_of(target.pid());
  using Names = std::set<std::string>;
  CHECK(found(tasks, "deadlock") == std::multiset<Names>{{"a then b", "b then a"},
                                                         {"own"},
                                                         {"twin 0", "twin 1"},
                                                         {"parent", "inner"},
                                                         {"in time", "waits in time"}});
  for (const json& finding : tasks.document.at("findings")) {
    CAPTURE(finding);
    CHECK(finding.at("proven") == true);
    const bool in_time = tasks.named(finding.at("tasks")).contains("in time");
    CHECK(finding.at("ends_in_us").is_null() != in_time);
  }
  const std::string text = text_of(target.pid());
  CHECK(text.starts_with("Deadlock: "));
  CHECK(text.find("10 tasks: 9 deadlocked, 1 sleeping\n") != std::string::npos);
  // The dump has the same, and the threads.
  const Outcome dumped = run_pyscope({"dump", std::to_string(target.pid()), "--tasks"});
  CAPTURE(dumped.out);
  CHECK(dumped.status == 0);
  CHECK(dumped.out.starts_with("Deadlock: "));
  CHECK(dumped.out.find("\n10 tasks: 9 deadlocked, 1 sleeping\n") != std::string::npos);
  CHECK(dumped.out.find("\"MainThread\"") < dumped.out.find("\nTask own"));
  const Dump document = dump(target.pid(), {"--tasks"});
  CHECK(document.json.at("loops").at(0).at("tasks").size() == 10);
  CHECK(document.json.at("findings").size() == tasks.document.at("findings").size());
}

TEST_CASE("tasks that can go on are not called deadlocked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tasks.py", {"healthy"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const Tasks tasks = tasks_of(target.pid());
  CHECK(tasks.document.at("findings").empty());
  CHECK(tasks.named(tasks.wait("a then b").at("held_by")) == std::set<std::string>{"released"});
}

TEST_CASE("a task that doesn't let the event loop go on is named, with its thread's frames",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tasks.py", {"blocked"});
  const json truth = target.read();
  std::optional<Tasks> tasks;
  REQUIRE(eventually([&] {
    tasks = tasks_of(target.pid());
    return !found(*tasks, "blocked_loop").empty();
  }));
  CHECK(found(*tasks, "blocked_loop") ==
        std::multiset<std::set<std::string>>{std::set<std::string>{"culprit"}});
  const json& culprit = tasks->by_name.at("culprit");
  CHECK(culprit.at("state") == "running");
  CHECK(culprit.at("tid") == truth.at("tid"));
  std::vector<std::string> functions;
  for (const json& frame : culprit.at("frames"))
    functions.push_back(frame.at("qualified_name"));
  CHECK(functions == std::vector<std::string>{"busy_for_good.<locals>.compute", "busy_for_good"});
  CHECK(tasks->by_name.at("ready").at("state") == "ready");
  const json& loop = tasks->document.at("loops").at(0);
  CHECK(tasks->names.at(loop.at("running_task")) == "culprit");
  CHECK(loop.at("ready") == 1);
}

TEST_CASE("tasks of a program that never rests are of one moment, or said not to be", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tasks.py", {"busy"});
  (void)target.read();
  constexpr int kLooks = 20;
  int proven = 0;
  for (int i = 0; i < kLooks; ++i) {
    const Outcome outcome = run_pyscope({"tasks", std::to_string(target.pid()), "--json"});
    INFO(outcome.out << outcome.err);
    REQUIRE((outcome.status == 0 || outcome.status == 6));
    const json document = json::parse(outcome.out);
    if (outcome.status != 0) continue;
    ++proven;
    // There is one token. A task that hands the token on runs, while the next one is ready already.
    std::vector<int> going;
    std::string running;
    std::size_t tasks = 0;
    for (const json& task : document.at("loops").at(0).at("tasks")) {
      const std::string name = task.at("name");
      if (!name.starts_with("relay ")) continue;
      ++tasks;
      if (task.at("state") == "waiting") continue;
      going.push_back(std::stoi(name.substr(name.find(' '))));
      if (task.at("state") == "running") running = std::to_string(going.back());
    }
    constexpr int kRelays = 8;
    CHECK(tasks == kRelays);
    REQUIRE_FALSE(going.empty());
    if (going.size() > 1) {
      REQUIRE(going.size() == 2);
      const int other = going[0] == std::stoi(running) ? going[1] : going[0];
      CHECK(other == (std::stoi(running) + 1) % kRelays);
    }
    CHECK(document.at("findings").empty());
  }
  CHECK(proven > 0);
}

TEST_CASE("many tasks that are alike are shown once, and all of them are counted", "[live]") {
  const Interpreter interpreter = any_interpreter();
  Target target(interpreter, "tasks.py", {"many", "2000"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const std::string text = text_of(target.pid());
  CHECK(text.starts_with("2002 tasks: 2000 waiting for asyncio.Lock STORE.lock, 2 sleeping\n"));
  CHECK(text.find("\n2000 tasks: ") != std::string::npos);
  CHECK(text.size() < 10'000);
  const Tasks tasks = tasks_of(target.pid());
  CHECK(tasks.by_name.size() == 2002);
}

TEST_CASE("a program without asyncio has no tasks", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "locks.py", {"sleeping"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  CHECK(tasks_of(target.pid()).document.at("loops").empty());
  CHECK(text_of(target.pid()).starts_with("no tasks\n"));
}
