// The table of situations: what a program knows of each of its threads is what dump and why must
// say. The tables are in programs/situations.py.
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

/// The heading of a thread in the text form; empty if there is none.
std::string heading_of(const std::string& text, const json& tid) {
  const std::string begin = "\nThread " + tid.dump() + " ";
  const std::size_t at = text.find(begin);
  if (at == std::string::npos) return {};
  return text.substr(at + 1, text.find('\n', at + 1) - at - 1);
}

bool contains(const std::string& text, const json& part) {
  return text.find(part.get<std::string>()) != std::string::npos;
}

std::set<std::set<pid_t>> cycles_of(const json& document) {
  std::set<std::set<pid_t>> cycles;
  for (const json& deadlock : document.at("deadlocks")) {
    std::set<pid_t> cycle;
    for (const json& member : deadlock.at("cycle"))
      cycle.insert(member.at("tid").get<pid_t>());
    cycles.insert(cycle);
  }
  return cycles;
}

const json& judged(const json& why, const json& tid) {
  const auto& threads = why.at("threads");
  const auto found = std::find_if(threads.begin(), threads.end(),
                                  [&](const json& thread) { return thread.at("tid") == tid; });
  REQUIRE(found != threads.end());
  return *found;
}

void check_situations(const json& expected, pid_t pid, const std::vector<std::string>& options) {
  std::vector<std::string> arguments{"dump", std::to_string(pid), "--no-source", "--full"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const std::string text = run_pyscope(arguments).out;
  CAPTURE(text);
  for (const json& thread : expected.at("threads")) {
    const std::string heading = heading_of(text, thread.at("tid"));
    CAPTURE(thread.dump(), heading);
    CHECK_FALSE(heading.empty());
    for (const json& words : thread.at("says"))
      CHECK(contains(heading, words));
    for (const json& words : thread.at("never"))
      CHECK_FALSE(contains(heading, words));
  }
  const std::size_t summary = text.find(" threads: ");
  REQUIRE(summary != std::string::npos);
  const std::string head = text.substr(0, text.find('\n', summary));
  for (const json& words : expected.value("head", json::array()))
    CHECK(contains(head, words));
  for (const json& words : expected.value("never_in_head", json::array()))
    CHECK_FALSE(contains(head, words));
}

}  // namespace

TEST_CASE("each thread of a table of situations is told rightly", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string table = GENERATE("waiting", "resting", "deadlocking", "ringing", "harmless");
  CAPTURE(interpreter, table);
  Target target(interpreter, "situations.py", {table});
  const json expected = target.read();
  REQUIRE(all_sleep(target.pid()));
  std::set<std::set<pid_t>> cycles;
  for (const json& cycle : expected.at("deadlocks"))
    cycles.insert(cycle.get<std::set<pid_t>>());

  check_situations(expected, target.pid(), {});
  // Nothing that shortens the output changes what is known.
  check_situations(expected, target.pid(), {"--frames", "1"});
  const Dump dumped = dump(target.pid());
  CHECK(cycles_of(dumped.json) == cycles);

  const Outcome outcome =
      run_pyscope({"why", std::to_string(target.pid()), "--duration", "200ms", "--json"});
  CAPTURE(outcome.out, outcome.err);
  const json why = json::parse(outcome.out);
  CHECK(cycles_of(why) == cycles);
  for (const json& thread : expected.at("threads")) {
    if (thread.at("verdict").is_null()) continue;
    const json& verdict = judged(why, thread.at("tid"));
    CAPTURE(thread.dump(), verdict.dump());
    CHECK(verdict.at("verdict") == thread.at("verdict"));
  }
}

TEST_CASE(
    "a thread that waits for a locked SQLite database is told with the process that locked it",
    "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "situations.py", {"databases"});
  const json expected = target.read();
  const json& writer = expected.at("threads").at(0);
  const json& sleeper = expected.at("threads").at(1);
  std::string text;
  const auto says = [&](const json& thread, const std::string& what) {
    return std::all_of(thread.at("says").begin(), thread.at("says").end(),
                       [&](const json& words) { return contains(what, words); });
  };
  // Now and then it tries again, and runs.
  CHECK(eventually([&] {
    text = run_pyscope({"dump", std::to_string(target.pid()), "--no-source", "--full"}).out;
    return says(writer, heading_of(text, writer.at("tid")));
  }));
  CAPTURE(text);
  CHECK(heading_of(text, sleeper.at("tid")).find("SQLite") == std::string::npos);
  json verdict;
  CHECK(eventually([&] {
    const json why = json::parse(
        run_pyscope({"why", std::to_string(target.pid()), "--duration", "300ms", "--json"}).out);
    verdict = judged(why, writer.at("tid"));
    return verdict.at("verdict") == writer.at("verdict") &&
           says(writer, verdict.at("summary").get<std::string>());
  }));
  CAPTURE(verdict.dump());
}

TEST_CASE("a deadlock of who has the GIL and who has a mutex of the C library is found", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "situations.py", {"through_gil"});
  const json expected = target.read();
  const auto cycle = expected.at("deadlocks").at(0).get<std::set<pid_t>>();
  std::string text;
  // Who waits for the GIL asks for it every few milliseconds, and runs meanwhile.
  CHECK(eventually([&] {
    text = run_pyscope({"dump", std::to_string(target.pid()), "--no-source", "--full"}).out;
    return text.find("Found a deadlock of 2 threads through the GIL:") != std::string::npos;
  }));
  CAPTURE(text);
  CHECK(contains(text, expected.at("head").at(0)));
  json why;
  CHECK(eventually([&] {
    why = json::parse(
        run_pyscope({"why", std::to_string(target.pid()), "--duration", "200ms", "--json"}).out);
    return cycles_of(why) == std::set<std::set<pid_t>>{cycle};
  }));
  for (const pid_t tid : cycle)
    CHECK(judged(why, tid).at("verdict") == "deadlocked");
}
