// Lists of processes, and dumps of many of them.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
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

constexpr int kUsage = 2;
constexpr int kNoSuchProcess = 3;
constexpr int kNotPermitted = 4;
constexpr int kUnsupported = 5;
constexpr int kPartial = 6;
constexpr uid_t kNobody = 65534;

/// A word that no other process has in its command line: tests run side by side.
std::string unique_word() {
  static int count = 0;
  return fmt::format("pyscope-test-{}-{}", ::getpid(), ++count);
}

Target start_sleeper(const std::string& word, const Interpreter& interpreter = any_interpreter()) {
  Target target(interpreter, "tree.py", {"sleep", word, "--password", "hunter2"});
  REQUIRE(target.read() == "ready");
  return target;
}

std::vector<pid_t> pids_of(const std::vector<json>& documents) {
  std::vector<pid_t> pids;
  for (const json& document : documents)
    pids.push_back(document.at("pid"));
  return pids;
}

/// pyscope as another user. The binary may lie where that one can't go: a copy is run.
Outcome run_as_nobody(const std::vector<std::string>& arguments) {
  PyscopeOptions options;
  options.before_exec = [] {
    if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(99);
  };
  std::string folder = (std::filesystem::temp_directory_path() / "pyscope-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  std::filesystem::permissions(folder, std::filesystem::perms(0755));
  const std::string copy = folder + "/pyscope";
  std::filesystem::copy_file(pyscope_binary(), copy);
  std::filesystem::permissions(copy, std::filesystem::perms(0755));
  Program program = pyscope_program(arguments, options);
  program.command[0] = copy;
  Outcome outcome = run(program);
  std::filesystem::remove_all(folder);
  return outcome;
}

}  // namespace

TEST_CASE("ps lists a process with what it is", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  const std::string word = unique_word();
  const Target target = start_sleeper(word, interpreter);
  const Outcome outcome = run_pyscope({"ps", "--match", word, "--json"});
  CHECK(outcome.status == 0);
  CHECK(outcome.err.empty());
  const auto documents = parse_lines(outcome.out);
  REQUIRE(documents.size() == 1);
  const json& process = documents[0];
  CHECK(process.at("schema") == "pyscope.ps/1");
  CHECK(process.at("pid") == target.pid());
  CHECK(process.at("parent_pid") == ::getpid());
  CHECK(process.at("uid") == ::geteuid());
  CHECK(process.at("python") == json({{"version", interpreter.version},
                                      {"free_threaded", false},
                                      {"debug_build", interpreter.debug()}}));
  CHECK(process.at("threads") == 1);
  CHECK(process.at("readable") == true);
  CHECK(process.at("reason").is_null());
  const json& command = process.at("command");
  REQUIRE(command.size() >= 5);
  CHECK(command.at(command.size() - 4) == "sleep");
  CHECK(command.at(command.size() - 3) == word);
  CHECK(command.at(command.size() - 1) == "***");

  const Outcome text = run_pyscope({"ps", "--match", word});
  CHECK(text.status == 0);
  const std::string heading = text.out.substr(0, text.out.find('\n'));
  CHECK(heading.substr(heading.find_first_not_of(' ')).starts_with("PID  "));
  CHECK(text.out.find(std::to_string(target.pid())) != std::string::npos);
  CHECK(text.out.find("hunter2") == std::string::npos);
  CHECK(run_pyscope({"ps", "--match", word, "--show-secrets"}).out.find("hunter2") !=
        std::string::npos);
}

TEST_CASE("ps and dump take what fits in everything that is asked", "[live]") {
  const std::string word = unique_word();
  const Target first = start_sleeper(word);
  const Target second = start_sleeper(word + "x");
  const std::string user = std::to_string(::geteuid());
  const auto listed = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "ps");
    arguments.emplace_back("--json");
    return pids_of(parse_lines(run_pyscope(arguments).out));
  };
  using Pids = std::vector<pid_t>;
  Pids both = {first.pid(), second.pid()};
  std::sort(both.begin(), both.end());
  CHECK(listed({"--match", word}) == both);
  CHECK(listed({"--match", word + " --pass"}) == Pids{first.pid()});
  CHECK(listed({"--match", "sleep " + word + "(x|y) "}) == Pids{second.pid()});
  CHECK(listed({"--match", word, "--user", user}) == both);
  CHECK(listed({"--match", word, "--user", "61234"}).empty());
  CHECK(listed({"--match", word, "--unit", "no-such-unit"}).empty());
  CHECK(listed({"--match", word, "--container", "0123456789abcdef"}).empty());

  const Outcome dumped = run_pyscope({"dump", "--match", word, "--json"});
  CHECK(dumped.status == 0);
  CHECK_THAT(pids_of(parse_lines(dumped.out)), Catch::Matchers::UnorderedEquals(both));
  const Outcome text = run_pyscope({"dump", "--match", word});
  CHECK(text.status == 0);
  const auto at = [&](pid_t pid) { return text.out.find(fmt::format("\nProcess {} ", pid)); };
  CHECK(at(both[0]) < at(both[1]));
  CHECK(at(both[1]) != std::string::npos);
  // One that is selected still is one of several: JSON Lines.
  const Outcome one = run_pyscope({"dump", "--match", word + " ", "--json"});
  CHECK(std::count(one.out.begin(), one.out.end(), '\n') == 1);

  const Outcome none = run_pyscope({"dump", "--match", word + "nothing", "--json"});
  CHECK(none.status == kNoSuchProcess);
  CHECK(json::parse(none.out).at("error").at("code") == "no_such_process");
  CHECK(none.err.find("pyscope ps") != std::string::npos);
  CHECK(run_pyscope({"ps", "--match", word + "nothing"}).status == 0);
}

namespace {

/// A control group of its own, removed again; as a runtime or systemd would make it.
class ControlGroup {
 public:
  /// Throws if that can't be done here.
  explicit ControlGroup(const std::string& name) {
    namespace fs = std::filesystem;
    // The first version's hierarchy without a controller, or the second version's only one.
    const fs::path root =
        fs::exists("/sys/fs/cgroup/systemd") ? "/sys/fs/cgroup/systemd" : "/sys/fs/cgroup";
    path_ = root / name;
    fs::create_directory(path_);
  }
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;
  ~ControlGroup() {
    // Its process is gone from it a moment after its end.
    (void)eventually([&] { return ::rmdir(path_.c_str()) == 0; });
  }
  void add(pid_t pid) const { write_file(path_ / "cgroup.procs", std::to_string(pid)); }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_CASE("processes are found by their container and by their unit", "[live]") {
  const std::string word = unique_word();
  std::string id = fmt::format("{:016x}", ::getpid());
  while (id.size() < 64)
    id += id;
  std::optional<ControlGroup> container;
  std::optional<ControlGroup> service;
  try {
    container.emplace("docker-" + id + ".scope");
    service.emplace(word + ".service");
  } catch (const std::filesystem::filesystem_error& error) {
    WARN("not tested: no control groups can be made here: " << error.what());
    return;
  }
  const Target in_container = start_sleeper(word);
  const Target in_service = start_sleeper(word);
  container->add(in_container.pid());
  service->add(in_service.pid());
  const auto listed = [](const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"ps", "--json"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return parse_lines(run_pyscope(all).out);
  };
  const auto of_container = listed({"--container", id.substr(0, 12), "--match", word});
  REQUIRE(of_container.size() == 1);
  CHECK(of_container[0].at("pid") == in_container.pid());
  CHECK(of_container[0].at("container") == id);
  for (const std::string& unit : {word, word + ".service"}) {
    const auto of_unit = listed({"--unit", unit});
    REQUIRE(of_unit.size() == 1);
    CHECK(of_unit[0].at("pid") == in_service.pid());
    CHECK(of_unit[0].at("unit") == word + ".service");
  }
  CHECK(listed({"--unit", word.substr(0, word.size() - 1)}).empty());
  const std::string table = run_pyscope({"ps", "--match", word}).out;
  CHECK(table.find("  " + id.substr(0, 12) + "  ") != std::string::npos);
}

TEST_CASE("a selection that makes no sense is bad usage", "[live]") {
  const std::string own = std::to_string(::getpid());
  const std::vector<std::vector<std::string>> commands = {
      {"ps", "--match", "("},
      {"ps", "--user", "no such user"},
      {"dump", "--match", "["},
      {"dump", own, "--all"},
      {"dump", own, "--match", "x"},
      {"dump", "--all", "--watch", "1"},
      {"dump", "--all", "--record", "/nowhere/x"},
      {"dump", own, "--children", "--watch", "1"},
      {"dump", "--children"},
      {"dump", "--all", "--jobs", "0"},
      {"dump", "--all", "--jobs", "many"}};
  for (const auto& command : commands) {
    CAPTURE(command);
    const Outcome outcome = run_pyscope(command);
    CHECK(outcome.status == kUsage);
    CHECK(outcome.out.empty());
    CHECK_FALSE(outcome.err.empty());
  }
}

TEST_CASE("the Python processes of a tree are dumped, and nothing else of it spoils them",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "tree.py", {"family"});
  const json truth = target.read();
  const auto python = truth.at("python").get<std::vector<pid_t>>();
  const std::string root = std::to_string(target.pid());
  const Outcome lines = run_pyscope({"dump", root, "--children", "--json"});
  CAPTURE(lines.err);
  CHECK(lines.status == 0);
  CHECK_THAT(pids_of(parse_lines(lines.out)), Catch::Matchers::UnorderedEquals(python));
  // A parent before its children, whatever their numbers are: those start anew at some point.
  const Outcome text = run_pyscope({"dump", root, "--children"});
  CHECK(text.status == 0);
  const auto place_of = [&](pid_t pid) { return text.out.find(fmt::format("Process {} ", pid)); };
  for (const pid_t pid : python) {
    REQUIRE(place_of(pid) != std::string::npos);
    CHECK(place_of(python.front()) <= place_of(pid));
  }
  // The shell in between isn't Python; its children are.
  const std::string shell = std::to_string(truth.at("others").at(0).get<pid_t>());
  const Outcome below = run_pyscope({"dump", shell, "--children", "--json"});
  CHECK(below.status == 0);
  CHECK_THAT(pids_of(parse_lines(below.out)),
             Catch::Matchers::UnorderedEquals(std::vector<pid_t>{python[1], python[2]}));
  const std::string zombie = std::to_string(truth.at("others").at(1).get<pid_t>());
  CHECK(run_pyscope({"dump", zombie, "--children"}).status == kNoSuchProcess);
  CHECK(run_pyscope({"dump", shell}).status == kUnsupported);
}

TEST_CASE("children that end while they are read don't matter", "[live]") {
  const Interpreter interpreter = any_interpreter();
  Target target(interpreter, "tree.py", {"churn"});
  REQUIRE(target.read() == "ready");
  const std::string root = std::to_string(target.pid());
  for (int i = 0; i < 30; ++i) {
    const Outcome outcome = run_pyscope({"dump", root, "--children", "--json"});
    CAPTURE(outcome.err);
    CHECK((outcome.status == 0 || outcome.status == kPartial));
    const auto documents = parse_lines(outcome.out);
    const auto pids = pids_of(documents);
    CHECK(std::count(pids.begin(), pids.end(), target.pid()) == 1);
    for (const json& document : documents) {
      // A child that is just being forked may be anything, but never unknown.
      if (document.contains("error")) CHECK(document.at("error").at("code") != "no_such_process");
    }
  }
}

TEST_CASE("all Python processes are listed and dumped, and what can't be read is told", "[live]") {
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to be two users");
    return;
  }
  const std::string word = unique_word();
  const Target roots = start_sleeper(word);
  TargetOptions options;
  options.before_exec = [] {
    if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(99);
  };
  Target own(any_interpreter(), "tree.py", {"sleep", word}, options);
  REQUIRE(own.read() == "ready");

  const auto listed = parse_lines(run_as_nobody({"ps", "--match", word, "--json"}).out);
  REQUIRE(listed.size() == 2);
  for (const json& process : listed) {
    const bool readable = process.at("pid") == own.pid();
    CHECK(process.at("readable") == readable);
    CHECK(process.at("python").is_null() == !readable);
    CHECK(process.contains("error") == !readable);
    if (readable) continue;
    CHECK(process.at("error").at("code") == "not_permitted");
    CHECK(process.at("reason") == process.at("error").at("message"));
    CHECK(process.at("user") == "root");
  }
  const Outcome text = run_as_nobody({"ps", "--match", word});
  CHECK(text.out.find("  no  ") != std::string::npos);
  CHECK(text.out.find("not permitted") != std::string::npos);

  const Outcome dumped = run_as_nobody({"dump", "--all", "--json"});
  CHECK(dumped.status == kPartial);
  const auto documents = parse_lines(dumped.out);
  const auto of = [&](pid_t pid) {
    return *std::find_if(documents.begin(), documents.end(),
                         [&](const json& document) { return document.at("pid") == pid; });
  };
  CHECK_FALSE(of(own.pid()).contains("error"));
  CHECK(of(roots.pid()).at("error").at("code") == "not_permitted");
  CHECK(run_as_nobody({"dump", "--match", word, "--user", "root", "--json"}).status ==
        kNotPermitted);
  const Outcome as_root = run_pyscope({"dump", "--match", word, "--json"});
  CHECK(as_root.status == 0);
  CHECK(parse_lines(as_root.out).size() == 2);
}

TEST_CASE("a Python that is too old is listed with its version", "[live]") {
  const std::string word = unique_word();
  Child child(Program{.command = {"/usr/bin/python3", "-c",
                                  "import sys; print('%d.%d.%d' % sys.version_info[:3], "
                                  "flush=True); input()",
                                  word}});
  const std::string version = child.read_line();
  const auto documents = parse_lines(run_pyscope({"ps", "--match", word, "--json"}).out);
  REQUIRE(documents.size() == 1);
  CHECK(documents[0].at("python").at("version") == version);
  CHECK(documents[0].at("readable") == (std::stoi(version.substr(2)) >= 11));
}

TEST_CASE("a hundred processes are dumped in one go", "[live]") {
  const std::string word = unique_word();
  const Interpreter interpreter = any_interpreter();
  std::vector<Target> targets;
  targets.reserve(100);
  for (int i = 0; i < 100; ++i)
    targets.emplace_back(interpreter, "tree.py", std::vector<std::string>{"sleep", word});
  std::set<pid_t> expected;
  for (Target& target : targets) {
    REQUIRE(target.read() == "ready");
    expected.insert(target.pid());
  }
  const std::string jobs = GENERATE("1", "8");
  const Outcome outcome = run_pyscope({"dump", "--match", word, "--json", "--jobs", jobs});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 0);
  const auto pids = pids_of(parse_lines(outcome.out));
  CHECK(std::set<pid_t>(pids.begin(), pids.end()) == expected);
  CHECK(pids.size() == expected.size());
}
