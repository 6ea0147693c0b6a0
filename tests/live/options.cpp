// The options of dump, and how the output behaves as output.

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

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

/// `count` threads that wait at the same place, and the main thread. Says the native ids.
constexpr const char* kEqualThreads =
    "import sys, threading, json\n"
    "lock = threading.Lock(); lock.acquire()\n"
    "def work():\n"
    "    lock.acquire()\n"
    "threads = [threading.Thread(target=work, name=f'worker-{i}', daemon=True)\n"
    "           for i in range(int(sys.argv[1]))]\n"
    "for thread in threads: thread.start()\n"
    "print(json.dumps({thread.name: thread.native_id for thread in threads}), flush=True)\n"
    "input()\n";

struct EqualThreads {
  explicit EqualThreads(int count)
      : target(
            [] {
              Workspace workspace(any_interpreter());
              workspace.write("equal.py", kEqualThreads);
              return workspace;
            }(),
            "equal.py", {std::to_string(count)}),
        ids(target.read()) {
    REQUIRE(all_sleep(target.pid()));
  }
  [[nodiscard]] Outcome text(std::vector<std::string> arguments,
                             const PyscopeOptions& options = {}) const {
    arguments.insert(arguments.begin(), {"dump", std::to_string(target.pid())});
    return run_pyscope(arguments, options);
  }

  Target target;
  json ids;
};

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

TEST_CASE("the version and the help are data on stdout", "[live]") {
  const Outcome version = run_pyscope({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out.starts_with("pyscope "));
  CHECK(version.err.empty());
  const Outcome help = run_pyscope({"dump", "--help"});
  CHECK(help.status == 0);
  CHECK(help.err.empty());
  for (const char* option :
       {"--json",     "--thread",     "--frames",    "--no-source", "--group",
        "--no-group", "--color",      "--verbose",   "--help",      "--pause",
        "--locals",   "--max-string", "--max-items", "--max-depth", "--show-secrets",
        "--secret",   "--watch",      "--children",  "--all",       "--match",
        "--user",     "--unit",       "--container", "--jobs",      "--native",
        "--timeout",  "--full",       "--pid"}) {
    INFO(option);
    CHECK(help.out.find(option) != std::string::npos);
  }
  // What isn't for everybody, and what isn't built, is absent.
  for (const char* option : {"--record", "--replay"}) {
    INFO(option);
    CHECK(help.out.find(option) == std::string::npos);
  }
  const std::string verbs = run_pyscope({"--help"}).out;
  for (const char* verb : {"dump", "inspect", "why", "tasks", "ps"}) {
    INFO(verb);
    CHECK(verbs.find(verb) != std::string::npos);
  }
}

TEST_CASE("a verb's help and the version have several names", "[live]") {
  CHECK(run_pyscope({"-V"}).out == run_pyscope({"--version"}).out);
  CHECK(run_pyscope({"version"}).out == run_pyscope({"--version"}).out);
  CHECK(run_pyscope({"help"}).out == run_pyscope({"--help"}).out);
  for (const char* verb : {"dump", "inspect", "why", "tasks", "ps", "exec"}) {
    CAPTURE(verb);
    const Outcome help = run_pyscope({"help", verb});
    CHECK(help.status == 0);
    CHECK(help.out == run_pyscope({verb, "--help"}).out);
    // It fits a screen.
    CHECK(count_of(help.out, "\n") <= 50);
    CHECK(help.out.find(std::string("\n  pyscope ") + verb) != std::string::npos);
  }
  CHECK(run_pyscope({"help", "nothing"}).status == 2);
}

TEST_CASE("a near miss is named", "[live]") {
  const auto complaint = [](const std::vector<std::string>& arguments) {
    const Outcome outcome = run_pyscope(arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    return first_line(outcome.err);
  };
  CHECK(complaint({"dmp", "1"}) == "pyscope: dmp: did you mean dump?");
  CHECK(complaint({"inspct"}) == "pyscope: inspct: did you mean inspect?");
  CHECK(complaint({"record", "1"}) == "pyscope: there is no verb 'record'");
  CHECK(complaint({"dump", "1", "--frame", "3"}) == "pyscope: --frame: did you mean --frames?");
  CHECK(complaint({"dump", "1", "--jsn"}) == "pyscope: --jsn: did you mean --json?");
  CHECK(complaint({"dump", "1", "--gil"}) == "pyscope: --gil: dump has no such option");
  CHECK(complaint({"tasks", "1", "x"}) == "pyscope: x: tasks takes no such argument");
}

TEST_CASE("a PID may be given by an option", "[live]") {
  const EqualThreads threads(1);
  const std::string pid = std::to_string(threads.target.pid());
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"-p", pid}, {"--pid", pid}, {"--pid=" + pid}, {"-p" + pid}}) {
    CAPTURE(arguments);
    std::vector<std::string> words{"dump", "--thread", "worker-0", "--json"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_pyscope(words);
    CHECK(outcome.status == 0);
    CHECK(json::parse(outcome.out).at("pid") == threads.target.pid());
  }
  CHECK(run_pyscope({"inspect", "-p", pid, "__name__"}).out == "'__main__'\n");
  CHECK(run_pyscope({"dump", "-p", "shop"}).status == 2);
  CHECK(run_pyscope({"dump", "-p"}).status == 2);
}

TEST_CASE("threads are chosen by tid and by name", "[live]") {
  const EqualThreads threads(3);
  const auto shown = [&](const std::vector<std::string>& arguments) {
    std::multiset<std::string> names;
    const Dump dumped = dump(threads.target.pid(), arguments);
    CHECK(dumped.status == 0);
    for (const json& thread : dumped.json.at("threads"))
      names.insert(thread.at("name"));
    return names;
  };
  using Names = std::multiset<std::string>;
  CHECK(shown({}) == Names{"MainThread", "worker-0", "worker-1", "worker-2"});
  CHECK(shown({"--thread", "worker-1"}) == Names{"worker-1"});
  CHECK(shown({"--thread", threads.ids.at("worker-2").dump()}) == Names{"worker-2"});
  CHECK(shown({"--thread", "worker-2", "--thread", "MainThread"}) ==
        Names{"MainThread", "worker-2"});
}

TEST_CASE("frames are limited to the innermost ones and the rest is said to be missing", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"recursion", "5000"});
  REQUIRE(target.read().at("ready") == true);
  const Dump dumped = dump(target.pid(), {"--frames", "5", "--thread", "MainThread"});
  CHECK(dumped.status == 0);
  const json& thread = dumped.json.at("threads").at(0);
  CHECK(python_frames(thread).size() == 5);
  CHECK(thread.at("truncated") == true);
  CHECK(thread.at("consistent") == true);
  const json whole = dump(target.pid(), {"--thread", "MainThread"}).json.at("threads").at(0);
  CHECK(whole.at("truncated") == false);
  const auto all = python_frames(whole);
  const auto few = python_frames(thread);
  CHECK(std::equal(few.begin(), few.end(), all.begin()));
  // As many frames as there are is not less than all.
  const Dump exact =
      dump(target.pid(), {"--frames", std::to_string(all.size()), "--thread", "MainThread"});
  CHECK(exact.json.at("threads").at(0).at("truncated") == false);
}

TEST_CASE("a recursion is short in the text", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"recursion", "100000"});
  REQUIRE(target.read().at("ready") == true);
  const Outcome text = run_pyscope({"dump", std::to_string(target.pid())});
  CHECK(text.status == 0);
  CHECK(text.out.find(" more times]") != std::string::npos);
  CHECK(count_of(text.out, "\n") < 100);
}

TEST_CASE("source lines can be left out", "[live]") {
  const EqualThreads threads(1);
  CHECK(threads.text({}).out.find("    lock.acquire()\n") != std::string::npos);
  CHECK(threads.text({"--no-source"}).out.find("lock.acquire()") == std::string::npos);
  const Dump dumped = dump(threads.target.pid(), {"--no-source"});
  for (const json& thread : dumped.json.at("threads")) {
    for (const json& frame : thread.at("frames"))
      CHECK_FALSE(frame.contains("source"));
  }
}

TEST_CASE("many threads with the same stack are printed once", "[live]") {
  const EqualThreads many(30);
  CHECK(first_line(many.text({}).out).starts_with("31 threads: "));
  CHECK(count_of(many.text({}).out, ", in work\n") == 1);
  CHECK(many.text({}).out.find("30 threads (") != std::string::npos);
  CHECK(count_of(many.text({"--no-group"}).out, ", in work\n") == 30);
  const EqualThreads few(3);
  CHECK(count_of(few.text({}).out, ", in work\n") == 1);
  CHECK(count_of(few.text({"--group"}).out, ", in work\n") == 1);
  CHECK(count_of(few.text({"--full"}).out, ", in work\n") == 3);
  CHECK(count_of(few.text({"--full"}).out, ", in Thread._bootstrap\n") == 3);
  CHECK(few.text({}).out.find("frames of threading\n") != std::string::npos);
}

TEST_CASE("colour is for terminals unless it is asked for", "[live]") {
  const EqualThreads threads(1);
  const auto has_color = [](const Outcome& outcome) {
    return outcome.out.find("\x1b[") != std::string::npos;
  };
  CHECK_FALSE(has_color(threads.text({})));
  CHECK(has_color(threads.text({"--color", "always"})));
  CHECK_FALSE(has_color(threads.text({"--color", "never"}, {{"CLICOLOR_FORCE=1"}, {}})));
  CHECK(has_color(threads.text({}, {{"CLICOLOR_FORCE=1"}, {}})));
  CHECK_FALSE(has_color(threads.text({}, {{"CLICOLOR_FORCE=1", "NO_COLOR=1"}, {}})));
  CHECK(has_color(threads.text({}, {{"CLICOLOR_FORCE=1", "NO_COLOR="}, {}})));
  // Colour changes nothing else.
  std::string plain = threads.text({"--color", "always", "--no-source"}).out;
  for (std::size_t at = plain.find('\x1b'); at != std::string::npos; at = plain.find('\x1b')) {
    plain.erase(at, plain.find('m', at) - at + 1);
  }
  CHECK(count_of(plain, "\n") == count_of(threads.text({"--no-source"}).out, "\n"));
}

TEST_CASE("a reader that has seen enough ends the dump quietly", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"recursion", "100000"});
  REQUIRE(target.read().at("ready") == true);
  const bool sigpipe_ignored = GENERATE(false, true);
  PyscopeOptions options;
  if (sigpipe_ignored) options.before_exec = [] { (void)::signal(SIGPIPE, SIG_IGN); };
  Child child(pyscope_program({"dump", std::to_string(target.pid()), "--json"}, options));
  CHECK(child.read_line() == "{");
  child.close_stdout();
  const Outcome outcome = child.finish();
  CHECK(outcome.err.empty());
  CHECK((outcome.status == 0 || outcome.status == 128 + SIGPIPE));
}

TEST_CASE("an output that can not be written is a failure", "[live]") {
  const EqualThreads threads(1);
  PyscopeOptions options;
  options.before_exec = [] {
    const int full = ::open("/dev/full", O_WRONLY);
    if (full < 0 || ::dup2(full, STDOUT_FILENO) < 0) ::_exit(99);
  };
  const Outcome outcome = threads.text({}, options);
  CHECK(outcome.status == 1);
  CHECK(outcome.err.find("No space left") != std::string::npos);
}

TEST_CASE("verbose tells what was tried on stderr", "[live]") {
  const EqualThreads threads(1);
  const Outcome quiet = threads.text({});
  const Outcome verbose = threads.text({"-v"});
  CHECK(quiet.err.empty());
  CHECK(verbose.err.find(".PyRuntime") != std::string::npos);
  CHECK(verbose.err.find("CPython " + any_interpreter().version) != std::string::npos);
  CHECK(count_of(verbose.out, "\n") == count_of(quiet.out, "\n"));
}

TEST_CASE("a recording is replayed to the same threads without the process", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  json live;
  Workspace elsewhere(any_interpreter());
  const std::string file = elsewhere.outside("recording");
  {
    Target target(interpreter, "stacks.py", {"generators"});
    REQUIRE(target.read().at("ready") == true);
    REQUIRE(all_sleep(target.pid()));
    const Dump dumped = dump(target.pid(), {"--no-source", "--record", file});
    CHECK(dumped.status == 0);
    live = dumped.json;
  }
  const Outcome outcome = run_pyscope({"dump", "--replay", file, "--json"});
  CHECK(outcome.status == 0);
  const json replayed = json::parse(outcome.out);
  // A recording can't ask the kernel whether a thread ran.
  const auto without_proof = [](const json& dump) {
    json threads = dump.at("threads");
    for (json& thread : threads)
      thread.erase("proof");
    return threads;
  };
  CHECK(without_proof(replayed) == without_proof(live));
  CHECK(replayed.at("python") == live.at("python"));
  CHECK(replayed.at("command") == live.at("command"));
  CHECK(replayed.at("captured_at") == live.at("captured_at"));
}

TEST_CASE("a watched process is dumped again and again, with what changed", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  // Moves on by a step for each byte.
  Target target(interpreter, "paths.py", {"stepping"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  Child watch(pyscope_program({"dump", std::to_string(target.pid()), "--watch", "20ms", "--json",
                               "--locals", "--max-items", "1000"}));
  CHECK_FALSE(json::parse(watch.read_line()).at("threads").at(0).contains("unchanged"));
  CHECK(json::parse(watch.read_line()).at("threads").at(0).at("unchanged") == true);
  (void)target.ask();
  REQUIRE(eventually(
      [&] { return json::parse(watch.read_line()).at("threads").at(0).at("unchanged") == false; }));
  ::kill(watch.pid(), SIGINT);
  CHECK(watch.finish().status == 0);

  Child text(pyscope_program({"dump", std::to_string(target.pid()), "--watch", "20ms"}));
  REQUIRE(eventually([&] { return text.read_line() == "  [as before]"; }));
  target.child().kill();
  CHECK(text.finish().status == 3);
  CHECK(run_pyscope({"dump", "1", "2", "--watch", "1"}).status == 2);
  CHECK(run_pyscope({"dump", "1", "--watch", "0"}).status == 2);
}

TEST_CASE("a value that makes no sense is bad usage, and said to be", "[live]") {
  struct Row {
    std::vector<std::string> arguments;
    std::string message;
  };
  const std::string many(400, '9');
  const std::string whole = ": takes a number from 1 to ";
  const std::string time = ": takes a time from 1ms to a day, such as 0.5, 500ms or 2s, not ";
  const std::vector<Row> rows = {
      {{"dump", ""}, "PID" + whole + "2147483647, not ''"},
      {{"dump", "shop"}, "PID" + whole + "2147483647, not 'shop'"},
      {{"dump", "4294967297"}, "PID" + whole + "2147483647, not '4294967297'"},
      {{"dump", "0x10"}, "PID" + whole + "2147483647, not '0x10'"},
      {{"dump", "1", "--frames", ""}, "--frames" + whole + "1000000000, not ''"},
      {{"dump", "1", "--frames", "0"}, "--frames" + whole + "1000000000, not '0'"},
      {{"dump", "1", "--frames", "00"}, "--frames" + whole + "1000000000, not '00'"},
      {{"dump", "1", "--frames", "+1"}, "--frames" + whole + "1000000000, not '+1'"},
      {{"dump", "1", "--frames", " 1"}, "--frames" + whole + "1000000000, not ' 1'"},
      {{"dump", "1", "--frames", many}, "--frames" + whole + "1000000000, not '" + many + "'"},
      {{"dump", "1", "--jobs", "65"}, "--jobs" + whole + "64, not '65'"},
      {{"why", "1", "--rate", many}, "--rate" + whole + "10000, not '" + many + "'"},
      {{"inspect", "1", "x", "--max-depth", "100000"}, "--max-depth" + whole},
      {{"dump", "1", "--max-items", many}, "--max-items" + whole},
      {{"dump", "1", "--watch", ""}, "--watch" + time + "''"},
      {{"dump", "1", "--watch", "0"}, "--watch" + time + "'0'"},
      {{"inspect", "1", "x", "--watch", "1e400"}, "--watch" + time + "'1e400'"},
      {{"inspect", "1", "x", "--watch", "ms"}, "--watch" + time + "'ms'"},
      {{"why", "1", "--duration", "nan"}, "--duration" + time + "'nan'"},
      {{"why", "1", "--duration", "25h"}, "--duration" + time + "'25h'"},
      {{"why", "1", "--duration", "5 parsecs"}, "--duration" + time + "'5 parsecs'"},
      {{"dump", "1", "--timeout", "0"}, "--timeout" + time + "'0'"},
      {{"why", "1", "--timeout", "-1"}, "--timeout" + time + "'-1'"},
      {{"inspect", "1", "x", "--timeout", ""}, "--timeout" + time + "''"},
      {{"dump", "1", "--thread", ""}, "--thread: is empty"},
      {{"why", "1", "--thread", ""}, "--thread: is empty"},
      {{"inspect", "1", "x", "--thread", ""}, "--thread: is empty"},
      {{"inspect", "1", "x", "--frame", ""}, "--frame: is empty"},
      {{"ps", "--user", ""}, "--user: is empty"},
      {{"ps", "--color", "red"}, "--color: takes auto, always or never, not 'red'"},
      {{"dump", "1", "--color", ""}, "--color: takes auto, always or never, not ''"},
  };
  for (const Row& row : rows) {
    std::vector<std::string> arguments = row.arguments;
    CAPTURE(arguments);
    const Outcome text = run_pyscope(arguments);
    CHECK(text.status == 2);
    CHECK(text.out.empty());
    CHECK(text.err.starts_with("pyscope: " + row.message));
    CHECK(text.err.ends_with("see: pyscope " + arguments.front() + " --help\n"));
    // The option stands behind the one that is wrong.
    arguments.emplace_back("--json");
    const Outcome document = run_pyscope(arguments);
    CHECK(document.status == 2);
    const json error = json::parse(document.out);
    CHECK(error.at("schema") == "pyscope." + arguments.front() + "/1");
    CHECK(error.at("error").at("code") == "usage");
    CHECK(error.at("error").at("message").get<std::string>().starts_with(row.message));
  }
}

TEST_CASE("a number may begin with zeros, and a time have a fraction and a unit", "[live]") {
  const EqualThreads threads(1);
  const std::string pid = "00" + std::to_string(threads.target.pid());
  for (const char* timeout : {"30", "1.5m", "7500ms", "0.5h", ".9e1s"}) {
    CAPTURE(timeout);
    const Outcome text = run_pyscope({"dump", pid, "--frames", "010", "--timeout", timeout});
    CHECK(text.status == 0);
    CHECK(text.err.empty());
  }
  CHECK(run_pyscope({"why", pid, "--duration", "20ms", "--timeout", "20"}).status == 0);
  CHECK(run_pyscope({"inspect", pid, "lock", "--timeout", "20"}).status == 0);
}
