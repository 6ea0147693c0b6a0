// Values at paths: where a path leads, and what is there, must be what the target itself finds
// there.
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/confinement.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

struct Inspected {
  int status = -1;
  std::vector<json> values;
  std::string err;
};

std::vector<std::string> command(pid_t pid, const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"inspect", std::to_string(pid)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

/// Each path on its own, so that one document comes out.
json inspect(pid_t pid, std::vector<std::string> arguments, const PyscopeOptions& options = {}) {
  arguments.insert(arguments.begin(), "--json");
  const Outcome outcome = run_pyscope(command(pid, arguments), options);
  INFO(outcome.out << outcome.err);
  json document = json::parse(outcome.out);
  document["status"] = outcome.status;
  return document;
}

std::string text(pid_t pid, const std::vector<std::string>& arguments) {
  return run_pyscope(command(pid, arguments)).out;
}

}  // namespace

TEST_CASE("a path leads to what the target finds there", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"values"});
  const json expected = target.read();
  REQUIRE(all_sleep(target.pid()));
  std::vector<std::string> arguments{"--json", "--max-items", "100000", "--show-secrets"};
  for (const auto& [path, value] : expected.items())
    arguments.push_back(path);
  const Outcome outcome = run_pyscope(command(target.pid(), arguments));
  CAPTURE(outcome.err);
  CHECK(outcome.status == 0);
  const auto documents = parse_lines(outcome.out);
  REQUIRE(documents.size() == expected.size());
  for (const json& document : documents) {
    const auto path = document.at("path").get<std::string>();
    CAPTURE(path, document.dump().substr(0, 400));
    REQUIRE(expected.contains(path));
    REQUIRE_FALSE(document.contains("error"));
    const json& wanted = expected.at(path);
    CHECK(document.at("repr") == wanted[0]);
    // Characters and bytes are objects that come into being when they are asked for.
    if (path != "text[1]" && path != "raw[2]" && path != "growing[-1]") {
      CHECK(document.at("address") == wanted[1]);
    }
    CHECK(document.at("consistent") == true);
  }
}

TEST_CASE("values that JSON has a form for are given in it", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"values"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto value = [&](const std::string& path) {
    return inspect(target.pid(), {path}).at("value");
  };
  CHECK(
      value("words") ==
      json::parse(
          R"({"a": 1, "b": [true, null, 1.5, 1208925819614629174706176], "c": "text \u001b \u20ac"})"));
  const std::string raw = run_pyscope(command(target.pid(), {"--json", "words"})).out;
  CHECK(raw.find("1208925819614629174706176") != std::string::npos);
  CHECK(raw.find('\x1b') == std::string::npos);
  CHECK(value("config['db']") == json::parse(R"({"host": "localhost", "ports": [5432, 5433]})"));
  CHECK(value("shop.open") == true);
  CHECK(value("config[None]") == "none");
  CHECK(value("empty") == json::array());
  for (const auto* path : {"mixed", "not_json", "config", "order", "raw", "Color.RED", "ordered"}) {
    CAPTURE(path);
    CHECK(value(path).is_null());
  }
  CHECK(inspect(target.pid(), {"--max-items", "2", "words"}).at("value").is_null());
  CHECK(inspect(target.pid(), {"--max-string", "2", "words['c']"}).at("truncated") == true);
}

TEST_CASE("a path that leads nowhere says where it ends and what is near", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"values"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto check = [&](const std::string& path, const std::vector<std::string>& parts) {
    const Outcome outcome = run_pyscope(command(target.pid(), {path}));
    CAPTURE(path, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    for (const std::string& part : parts)
      CHECK(outcome.err.find(part) != std::string::npos);
    const json document = inspect(target.pid(), {path});
    CHECK(document.at("error").at("code") == "usage");
    CHECK(document.at("path") == path);
  };
  check("confg", {"no module 'confg', and no such name in __main__", "nearest names: config"});
  check("shop.order", {"module 'shop', which has no attribute 'order'", "nearest names: orders"});
  check("order.itms[0]", {"order is an Order object", "nearest names: items"});
  check("order.total", {"order.total is a property of class Order", "--list order"});
  check("order.cached", {"cached_property of class Order"});
  check("order.secret_plan", {"nearest names: _Order__secret_plan"});
  check("numbers[3]", {"3 is out of range: numbers is a list of length 3"});
  check("numbers['a']", {"numbers is a list, and 'a' is no index of one"});
  check("config['hostname']", {"config has no key 'hostname'"});
  check("config['db']['hosts']", {"config['db'] has no key 'hosts'", "nearest names: host"});
  check("point[0]", {"point is a Point object, which pyscope can't look into by a subscript"});
  check("text[0].upper", {"text[0] has no parts"});
  check("config[", {"a bracket that isn't closed"});
  check("config..db", {"no name"});
  check("config[]", {"nothing between brackets"});
  check("", {"no name"});
  // A module wins over a variable of the same name, and it is said.
  const Outcome shadowed = run_pyscope(command(target.pid(), {"shop"}));
  CHECK(shadowed.err.empty());
  const Outcome module = run_pyscope(command(target.pid(), {"os"}));
  CHECK(module.err.empty());
  // What is right is printed all the same.
  const Outcome both = run_pyscope(command(target.pid(), {"numbers", "confg"}));
  CHECK(both.status == 6);
  CHECK(both.out == "numbers = [10, 20, 30]\n");
}

TEST_CASE("a path may begin at a variable of a frame", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"frames"});
  const json threads = target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto repr = [&](const std::vector<std::string>& arguments) {
    const json document = inspect(target.pid(), arguments);
    CAPTURE(document.dump());
    REQUIRE(document.contains("repr"));
    return document.at("repr").get<std::string>();
  };
  const std::string tid = std::to_string(threads.at("worker-2").get<int>());
  CHECK(repr({"--thread", "worker-1", "row"}) == "[1, 2]");
  CHECK(repr({"--thread", tid, "connection"}) == "'connection 2'");
  CHECK(repr({"--thread", "worker-1", "--frame", "serve", "row"}) == "'of serve'");
  CHECK(repr({"--thread", "worker-1", "--frame", "0", "row[1]"}) == "2");
  CHECK(repr({"--thread", "worker-1", "--frame", "1", "step"}) == "7");
  CHECK(repr({"worker-2/fetch:inner['rest'][0]"}) == "'r'");
  CHECK(repr({"worker-2:limit"}) == "3");
  CHECK(repr({tid + "/1:row"}) == "'of serve'");
  CHECK(repr({"--frame", "main", "local_of_main"}) == "\"main's own\"");
  CHECK(repr({":case"}) == "'frames'");
  CHECK(repr({"worker-1:never"}) ==
        std::to_string(json::parse(run_pyscope(command(target.pid(), {"never"})).out).get<int>()));
  CHECK(repr({"worker-1:password"}) == "'***'");
  CHECK(repr({"worker-1:url"}) == "'postgres://***@db/shop'");
  CHECK(repr({"--show-secrets", "worker-1:url"}) == "'postgres://ann:hunter2@db/shop'");
  CHECK(repr({"--secret", "STEP", "worker-1:step"}) == "'***'");
  const json found = inspect(target.pid(), {"worker-1:step"});
  CHECK(found.at("origin").get<std::string>().find("frame 1, serve") != std::string::npos);

  const auto complaint = [&](const std::vector<std::string>& arguments) {
    const json document = inspect(target.pid(), arguments);
    CHECK(document.at("status") == 2);
    return document.at("error").at("message").get<std::string>() +
           document.at("error").value("hint", json("")).dump();
  };
  CHECK(complaint({"worker-3:row"}).find("there is no Python thread worker-3") !=
        std::string::npos);
  CHECK(complaint({"worker-1/9:row"}).find("has ") != std::string::npos);
  CHECK(complaint({"worker-1/ftch:row"}).find("fetch") != std::string::npos);
  CHECK(complaint({"worker-1/fetch:rows"}).find("row") != std::string::npos);
  CHECK(complaint({"local_of_main"}).find("MainThread/main:local_of_main") != std::string::npos);
  CHECK(complaint({"step.x"}).find("worker-1/serve:step.x or worker-2/serve:step.x") !=
        std::string::npos);
  CHECK(complaint({"--frame", "serve", "row"}).find("2 threads run serve") != std::string::npos);

  const std::string listed =
      text(target.pid(), {"--list", "--thread", "worker-1", "--frame", "serve"});
  CAPTURE(listed);
  CHECK(listed.find("  row         str") != std::string::npos);
  CHECK(listed.find("  step        int") != std::string::npos);
}

TEST_CASE("what there is at a path is listed", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"values"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto items = [&](const std::string& path) {
    json found = json::object();
    const json document = inspect(target.pid(), {"--list", path});
    for (const json& item : document.at("items"))
      found[item.at("name").get<std::string>()] = item;
    return found;
  };
  const json of_order = items("order");
  CHECK(of_order.at("items").at("type") == "list");
  CHECK(of_order.at("items").at("size") == 2);
  CHECK(of_order.at("inherited").at("repr") == "'slot'");
  CHECK(of_order.at("total").at("type") == "property");
  CHECK(of_order.at("total").at("origin") == "class Order");
  CHECK(of_order.at("shared").at("origin") == "class Base");
  const json of_config = items("config");
  CHECK(of_config.at("['db']").at("size") == 2);
  CHECK(of_config.at("[(1, 'a')]").at("repr") == "'a tuple'");
  CHECK(items("numbers").at("[2]").at("repr") == "30");
  CHECK(items("shop").at("open").at("repr") == "True");
  CHECK(items("Order").at("shared").at("origin") == "class Base");
  CHECK(items("Order").at("method").at("origin").is_null());
  const json cut = inspect(target.pid(), {"--list", "--max-items", "10", "large"});
  CHECK(cut.at("items").size() == 10);
  CHECK(cut.at("items_left_out") == 49'989);
  const json all = inspect(target.pid(), {"--list"});
  CHECK(all.at("path") == "__main__");
  CHECK(all.at("items").size() > 20);
}

TEST_CASE("what repr() doesn't tell is told beside it", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"states"});
  const json expected = target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto detail = [&](const std::string& path) {
    return inspect(target.pid(), {path}).value("detail", json());
  };
  const auto at_line = [](const json& line) { return "suspended at line " + line.dump(); };
  CHECK(detail("started") == "not started");
  CHECK(detail("suspended") == at_line(expected.at("suspended")));
  CHECK(detail("finished") == "finished");
  CHECK(detail("view") == "5 bytes of format 'B', read-only");
  CHECK(detail("coroutine") == at_line(expected.at("coroutine")));
  const json task = inspect(target.pid(), {"task"});
  CHECK(task.at("repr") ==
        "<Task at " + expected.at("task").get<std::string>() +
            " name='waiter' pending coro=" + expected.at("coro").get<std::string>() + ">");
  CHECK(task.at("detail") == at_line(expected.at("coroutine")));
}

TEST_CASE("a value that never holds still is exact, or marked where that can't be had", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"counting"});
  (void)target.read();
  const json steady = inspect(target.pid(), {"steady"});
  CHECK(steady.at("consistent") == true);
  CHECK(steady.at("status") == 0);
  std::uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    // Where others want every CPU, now and then there is no moment to be had.
    CHECK(eventually([&] {
      const json counter = inspect(target.pid(), {"counter"});
      CHECK(counter.at("status") == (counter.at("consistent") == true ? 0 : 6));
      CHECK(counter.at("value").get<std::uint64_t>() >= last);
      last = counter.at("value").get<std::uint64_t>();
      return counter.at("consistent") == true;
    }));
  }
  const PyscopeOptions confined{
      .environment = {}, .before_exec = [] { refuse_system_call(SYS_sched_setaffinity, EPERM); }};
  // While the target has no CPU, its counter holds still.
  CHECK(eventually([&] {
    const json counter = inspect(target.pid(), {"counter"}, confined);
    CHECK(counter.at("status") == (counter.at("consistent") == true ? 0 : 6));
    if (counter.at("consistent") == true) return false;
    CHECK((counter.at("doubt") == "changed" || counter.at("doubt") == "same_twice"));
    return true;
  }));
  for (int i = 0; i < 20; ++i) {
    const json counter = inspect(target.pid(), {"--pause", "counter"});
    CHECK(counter.at("consistent") == true);
    CHECK(counter.at("status") == 0);
    CHECK(counter.at("value").get<std::uint64_t>() >= last);
    last = counter.at("value").get<std::uint64_t>();
  }
  CHECK(last > 0);
}

TEST_CASE("a watched value is printed when it changes", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"stepping"});
  (void)target.read();
  Child watch(pyscope_program(command(target.pid(), {"--watch", "0.01", "step", "other"})));
  // A line of each of the two, and then one for each change.
  CHECK(watch.read_line().ends_with("  step = 0"));
  CHECK(watch.read_line().ends_with("  other = 'same'"));
  for (int i = 1; i <= 3; ++i) {
    (void)target.ask();
    CHECK(watch.read_line().ends_with("  step = " + std::to_string(i)));
  }
  ::kill(watch.pid(), SIGINT);
  CHECK(watch.finish().status == 0);
  Child again(pyscope_program(command(target.pid(), {"--watch", "0.01", "step"})));
  CHECK(again.read_line().ends_with("  3"));
  ::kill(target.pid(), SIGKILL);
  CHECK(again.finish().status == 3);
}

TEST_CASE("a watched path that leads nowhere is an error object, too", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "paths.py", {"stepping"});
  (void)target.read();
  Child watch(
      pyscope_program(command(target.pid(), {"--json", "--watch", "0.01", "no_such_name_at_all"})));
  const json line = json::parse(watch.read_line());
  CHECK(line.at("error").at("code") == "usage");
  ::kill(watch.pid(), SIGINT);
  (void)watch.finish();
}

TEST_CASE("a thread that is not there is named, and nothing else", "[live]") {
  const Interpreter interpreter = interpreters().front();
  Target target(interpreter, "paths.py", {"stepping"});
  (void)target.read();
  const Outcome outcome = run_pyscope(command(target.pid(), {"--list", "--thread", "nobody"}));
  CAPTURE(outcome.err);
  CHECK(outcome.status == 2);
  CHECK(outcome.err.find("pyscope: nobody/: there is no Python thread nobody") == 0);
}

TEST_CASE("a watch ends where the process becomes another program, be it the same one again",
          "[live]") {
  const Workspace place(any_interpreter());
  const std::string script = place.write("again.py",
                                         "import os, sys\n"
                                         "print('\"ready\"', flush=True)\n"
                                         "os.read(0, 1)\n"
                                         "os.execv(sys.executable, [sys.executable, __file__])\n");
  Target target(any_interpreter(), script);
  REQUIRE(target.read() == "ready");
  Child watch(pyscope_program(command(target.pid(), {"--watch", "0.01", "sys.argv"})));
  CHECK(watch.read_line().ends_with("  ['" + script + "']"));
  target.child().send("x");
  REQUIRE(target.read() == "ready");
  const Outcome outcome = watch.finish();
  CHECK(outcome.status == 3);
  CHECK(outcome.err.find("replaced its program while it was read") != std::string::npos);
}

TEST_CASE("inspect refuses what it can't do as dump does", "[live]") {
  CHECK(run_pyscope({"inspect"}).status == 2);
  CHECK(run_pyscope({"inspect", "x", "a"}).status == 2);
  CHECK(run_pyscope({"inspect", "1"}).status == 2);
  CHECK(run_pyscope({"inspect", "1", "a", "--watch", "0"}).status == 2);
  CHECK(run_pyscope({"inspect", "1", "a", "--max-items", "none"}).status == 2);
  CHECK(run_pyscope({"inspect", "999999999", "a"}).status == 3);
  const Outcome gone = run_pyscope({"inspect", "999999999", "a", "--json"});
  CHECK(json::parse(gone.out).at("schema") == "pyscope.inspect/1");
  CHECK(json::parse(gone.out).at("error").at("code") == "no_such_process");
}
