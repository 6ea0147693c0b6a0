// What blocked threads wait for and who holds it: the target says what it is about to do.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// The line that the function runs which called what waits: the innermost frame of the program's
/// own, since all others are the standard library's.
json waiting_line(const json& thread) {
  for (const json& frame : python_frames(thread)) {
    const auto file = frame.at("file").get<std::string>();
    if (file.ends_with("locks.py") || file.ends_with("slow_module.py")) return frame.at("line");
  }
  return nullptr;
}

void check_wait_of(const json& thread, const json& expected) {
  CAPTURE(expected.dump(), thread.at("lock").dump());
  REQUIRE(thread.at("lock").is_object());
  const json& lock = thread.at("lock");
  for (const auto* field :
       {"type", "address", "name", "owner_object", "kind", "held_by", "holder", "timeout"}) {
    CAPTURE(field);
    if (expected.contains(field)) CHECK(lock.at(field) == expected.at(field));
  }
  if (expected.contains("line")) CHECK(waiting_line(thread) == expected.at("line"));
  const json taken_at = expected.value("taken_at", json());
  if (!taken_at.is_null()) {
    REQUIRE(lock.at("taken_in").is_object());
    CHECK(lock.at("taken_in").at("line") == taken_at);
  }
}

void check_wait(const json& dumped, const json& expected) {
  check_wait_of(thread_of(dumped, expected.at("tid").get<pid_t>()), expected);
}

/// Each deadlock as the tids in the order of their waiting, from the smallest on.
std::set<std::vector<pid_t>> cycles(const json& list) {
  std::set<std::vector<pid_t>> all;
  for (const json& cycle : list) {
    auto tids = cycle.get<std::vector<pid_t>>();
    std::rotate(tids.begin(), std::min_element(tids.begin(), tids.end()), tids.end());
    all.insert(tids);
  }
  return all;
}

json tids_of(const json& deadlocks) {
  json list = json::array();
  for (const json& deadlock : deadlocks) {
    json tids = json::array();
    const json& cycle = deadlock.at("cycle");
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      tids.push_back(cycle[i].at("tid"));
      const json& next = cycle[(i + 1) % cycle.size()].at("tid");
      if (cycle[i].contains("served_by")) {
        const json& servers = cycle[i].at("served_by");
        CHECK(std::any_of(servers.begin(), servers.end(),
                          [&](const json& server) { return server.at("tid") == next; }));
      } else {
        CHECK(cycle[i].at("held_by") == next);
      }
    }
    list.push_back(tids);
  }
  return list;
}

}  // namespace

TEST_CASE("locks, who waits for them and who holds them are told as the target knows them",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  const std::string kind = GENERATE(
      "two", "three", "alone", "acquired", "condition", "condition_of_lock", "in_queue", "joins",
      "join_and_lock", "imports", "managed", "sleeping", "patient", "by_acquire", "leaked",
      "given_back", "notified", "events", "semaphore", "futures", "processes", "names");
  CAPTURE(interpreter, kind);
  // What lies in the queue of an executor isn't read before 3.13 (docs/versions.md).
  if (kind == "futures" && interpreter.minor() < 13) return;
  Target target(interpreter, "locks.py", {kind});
  const json truth = target.read();
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  for (const json& expected : truth.at("waits"))
    check_wait(dumped.json, expected);
  CHECK(cycles(tids_of(dumped.json.at("deadlocks"))) == cycles(truth.at("deadlocks")));
}

TEST_CASE("a deadlock in a subinterpreter is one of the stacks in there", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  const std::string kind = GENERATE("locks_in_an_interpreter", "rlocks_in_an_interpreter");
  CAPTURE(interpreter, kind);
  Target target(interpreter, "locks.py", {kind});
  const json truth = target.read();
  REQUIRE(truth.at("waits").size() == 2);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  CHECK(dumped.json.at("deadlocks").size() == 1);
  CHECK(cycles(tids_of(dumped.json.at("deadlocks"))) == cycles(truth.at("deadlocks")));
  std::size_t waiting = 0;
  std::size_t in_calls = 0;
  for (const json& thread : dumped.json.at("threads")) {
    for (const json& expected : truth.at("waits")) {
      if (expected.at("tid") != thread.at("tid")) continue;
      if (thread.at("interpreter") == expected.at("interpreter")) {
        ++waiting;
        check_wait_of(thread, expected);
      } else {
        // The stack that the same thread has in the main interpreter waits for no lock.
        ++in_calls;
        CHECK(thread.at("lock").is_null());
        CHECK(thread.at("runs_in") == expected.at("interpreter"));
      }
    }
  }
  CHECK(waiting == 2);
  CHECK(in_calls == 1);
}

TEST_CASE("a deadlock is the first thing that is said", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "locks.py", {"two"});
  const json truth = target.read();
  REQUIRE(all_sleep(target.pid()));
  const std::string text = run_pyscope({"dump", std::to_string(target.pid())}).out;
  CAPTURE(text);
  CHECK(text.starts_with("Found a deadlock of 2 threads:\n"));
  const auto contains = [&](const std::string& part) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  };
  for (const json& wait : truth.at("waits")) {
    const auto holder = std::to_string(wait.at("held_by").get<pid_t>());
    contains("locks.py:" + wait.at("line").dump() + ")\n    for threading.Lock " +
             wait.at("address").get<std::string>() + " \"" + wait.at("name").get<std::string>() +
             "\",\n    held by " + holder + " ");
    contains("locks.py:" + wait.at("taken_at").dump() + ")\n");
    contains(", waiting for threading.Lock " + wait.at("address").get<std::string>() + " \"" +
             wait.at("name").get<std::string>() + "\", held by " + holder + " ");
  }
}

TEST_CASE("programs that are busy with locks are never called deadlocked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  const std::string kind = GENERATE("healthy", "handing_over");
  CAPTURE(interpreter, kind);
  Target target(interpreter, "locks.py", {kind});
  (void)target.read();
  for (int i = 0; i < 20; ++i) {
    const Dump dumped = dump(target.pid());
    CHECK((dumped.status == 0 || dumped.status == 6));
    CHECK(dumped.json.at("deadlocks").empty());
    for (const json& thread : dumped.json.at("threads")) {
      // Neither of the programs takes anything twice.
      if (thread.at("lock").is_object()) {
        CHECK(thread.at("lock").at("held_by") != thread.at("tid"));
      }
    }
  }
}

TEST_CASE("the holder is found among threads that weren't asked for", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "locks.py", {"sleeping"});
  const json truth = target.read();
  REQUIRE(all_sleep(target.pid()));
  const json dumped = dump(target.pid(), {"--thread", "waiter"}).json;
  CHECK(dumped.at("threads").size() == 1);
  check_wait(dumped, truth.at("waits").at(0));
  const std::string text =
      run_pyscope({"dump", std::to_string(target.pid()), "--thread", "waiter"}).out;
  CAPTURE(text);
  CHECK(text.find("held by " + truth.at("waits").at(0).at("held_by").dump() + " \"sleeper\")") !=
        std::string::npos);
  // Frames that aren't read may be what matters.
  const json cut = dump(target.pid(), {"--frames", "1"}).json;
  const json& lock = thread_of(cut, "waiter").at("lock");
  CHECK(lock.at("address") == truth.at("waits").at(0).at("address"));
  CHECK(lock.at("holder") != "nobody");
}

TEST_CASE("a deadlock is told whichever of its threads is asked for", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "locks.py", {"three"});
  const json truth = target.read();
  REQUIRE(all_sleep(target.pid()));
  const json dumped = dump(target.pid(), {"--thread", "second"}).json;
  CHECK(dumped.at("threads").size() == 1);
  CHECK(cycles(tids_of(dumped.at("deadlocks"))) == cycles(truth.at("deadlocks")));
}
