// What can't be dumped: the exit status, one sentence on what was found, and what to do next.

#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kNoSuchProcess = 3;
constexpr int kUnsupported = 5;
constexpr int kPartial = 6;

/// The error object of a failed dump, after the same words were found on stderr.
json error_of(const Outcome& outcome) {
  INFO(outcome.out << outcome.err);
  const json document = json::parse(outcome.out);
  CHECK(document.at("schema") == "pyscope.dump/1");
  CHECK_FALSE(document.contains("threads"));
  json error = document.at("error");
  CHECK(outcome.err.find(error.at("message").get<std::string>()) != std::string::npos);
  if (!error.at("hint").is_null()) {
    CHECK(outcome.err.find(error.at("hint").get<std::string>()) != std::string::npos);
  }
  return error;
}

bool mentions(const json& error, const std::string& words) {
  return error.at("message").get<std::string>().find(words) != std::string::npos;
}

/// A process that has nothing to do with Python and does nothing.
Program idle_shell() {
  return Program{.command = {"/bin/sh", "-c", "echo ready; read line"}};
}

/// The smallest 32-bit program that waits: int 0x80 with pause(), again and again.
std::string tiny_32_bit_program() {
  constexpr std::uint32_t kBase = 0x08048000;
  constexpr std::array<std::uint8_t, 9> kCode{0xB8, 29, 0, 0, 0, 0xCD, 0x80, 0xEB, 0xF7};
  std::string file;
  const auto put = [&](auto value) {
    file.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  constexpr std::uint32_t kHeaders = 52 + 32;
  file.append(
      "\x7f"
      "ELF\x01\x01\x01",
      7);
  file.append(9, '\0');
  put(std::uint16_t{2});  // ET_EXEC
  put(std::uint16_t{3});  // EM_386
  put(std::uint32_t{1});
  put(kBase + kHeaders);   // entry
  put(std::uint32_t{52});  // program headers
  put(std::uint32_t{0});
  put(std::uint32_t{0});
  for (const int value : {52, 32, 1, 40, 0, 0})
    put(static_cast<std::uint16_t>(value));
  const auto size = static_cast<std::uint32_t>(kHeaders + kCode.size());
  for (const std::uint32_t value : {1U, 0U, kBase, kBase, size, size, 5U, 0x1000U})
    put(value);
  for (const std::uint8_t byte : kCode)
    put(byte);
  return file;
}

}  // namespace

TEST_CASE("a command line that makes no sense is bad usage", "[live]") {
  const auto arguments =
      GENERATE(values<std::vector<std::string>>({{},
                                                 {"dump"},
                                                 {"dump", "0"},
                                                 {"dump", "-1"},
                                                 {"dump", "abc"},
                                                 {"dump", "12x"},
                                                 {"dump", "99999999999999999999"},
                                                 {"dump", "1", "--frames", "0"},
                                                 {"dump", "1", "--frames", "-3"},
                                                 {"dump", "1", "--frames", "many"},
                                                 {"dump", "1", "--color", "pink"},
                                                 {"dump", "1", "--group", "--no-group"},
                                                 {"dump", "1", "--no-such-option"},
                                                 {"dump", "1", "--thread"},
                                                 {"no-such-verb"},
                                                 {"4711"},
                                                 {"--no-such-option"}}));
  CAPTURE(arguments);
  const Outcome outcome = run_pyscope(arguments);
  CHECK(outcome.status == kUsage);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("pyscope: "));
}

TEST_CASE("bad usage is a JSON document where JSON was asked for", "[live]") {
  const Outcome outcome = run_pyscope({"dump", "abc", "--json"});
  CHECK(outcome.status == kUsage);
  CHECK(error_of(outcome).at("code") == "usage");
}

TEST_CASE("a number alone is answered with the command that was meant", "[live]") {
  CHECK(run_pyscope({"4711"}).err.find("pyscope dump 4711") != std::string::npos);
}

TEST_CASE("without enough descriptors nothing false is said", "[live]") {
  Target target(any_interpreter(), "locks.py", {"sleeping"});
  (void)target.read();
  const std::string pid = std::to_string(target.pid());
  const std::size_t threads = dump(target.pid()).json.at("threads").size();
  const auto number = GENERATE(0U, 1U, 2U);
  const std::vector<std::vector<std::string>> verbs = {
      {"dump", pid, "--json"}, {"ps", "--json"}, {"why", pid, "--duration", "1ms", "--json"}};
  const std::vector<std::string>& verb = verbs.at(number);
  CAPTURE(verb);
  for (rlim_t most = 4; most < 32; most += 2) {
    CAPTURE(most);
    const Outcome outcome = run_pyscope(verb, {.environment = {}, .before_exec = [most] {
                                                 const rlimit limit{most, most};
                                                 ::setrlimit(RLIMIT_NOFILE, &limit);
                                               }});
    CAPTURE(outcome.out, outcome.err);
    if (outcome.status == kFailed || outcome.status == kPartial) {
      CHECK_FALSE((outcome.err.empty() && outcome.out.empty()));
      continue;
    }
    // A program that isn't static needs some before it begins.
    constexpr int kNotLoaded = 127;
    if (pyscope_is_sanitized() && outcome.status == kNotLoaded) continue;
    REQUIRE(outcome.status == 0);
    if (verb.front() == "ps") {
      CHECK(outcome.out.find("\"pid\":" + pid) != std::string::npos);
    } else if (verb.front() == "dump") {
      const json document = json::parse(outcome.out);
      REQUIRE(document.at("threads").size() == threads);
      for (const json& thread : document.at("threads"))
        CHECK(thread.value("os_state", "") == "S");
    }
  }
}

TEST_CASE("a recording is a new file of one's own", "[live]") {
  Target target(any_interpreter(), "locks.py", {"sleeping"});
  (void)target.read();
  const std::string pid = std::to_string(target.pid());
  const std::string path = target.workspace().outside("recording");
  REQUIRE(run_pyscope({"dump", pid, "--record", path}).status == 0);
  CHECK(std::filesystem::status(path).permissions() == std::filesystem::perms(0600));
  CHECK(run_pyscope({"dump", "--replay", path, "--json"}).status == 0);
  const std::string content = read_file(path);
  // What is there is neither written over nor followed.
  CHECK(run_pyscope({"dump", pid, "--record", path}).status == kFailed);
  CHECK(read_file(path) == content);
  const std::string link = target.workspace().outside("link");
  std::filesystem::create_symlink(target.workspace().outside("elsewhere"), link);
  CHECK(run_pyscope({"dump", pid, "--record", link}).status == kFailed);
  CHECK_FALSE(std::filesystem::exists(target.workspace().outside("elsewhere")));
}

TEST_CASE("a process that does not exist is no such process", "[live]") {
  Child child(idle_shell());
  REQUIRE(child.read_line() == "ready");
  const pid_t pid = child.pid();
  child.kill();
  const Outcome outcome = run_pyscope({"dump", std::to_string(pid), "--json"});
  CHECK(outcome.status == kNoSuchProcess);
  const json error = error_of(outcome);
  CHECK(error.at("code") == "no_such_process");
  CHECK(mentions(error, std::to_string(pid)));
}

TEST_CASE("a zombie is said to be one and its parent is named", "[live]") {
  Child child(idle_shell());
  REQUIRE(child.read_line() == "ready");
  child.kill_unreaped();
  const Outcome outcome = run_pyscope({"dump", std::to_string(child.pid()), "--json"});
  CHECK(outcome.status == kNoSuchProcess);
  const json error = error_of(outcome);
  CHECK(mentions(error, "zombie"));
  CHECK(mentions(error, std::to_string(::getpid())));
}

TEST_CASE("a thread is no process but leads to its process", "[live]") {
  Workspace workspace(any_interpreter());
  workspace.write("two.py",
                  "import threading, time, _thread\n"
                  "lock = threading.Lock(); lock.acquire()\n"
                  "t = threading.Thread(target=lock.acquire, daemon=True); t.start()\n"
                  "print(t.native_id, flush=True)\n"
                  "input()\n");
  Target target(std::move(workspace), "two.py");
  const pid_t tid = target.read().get<pid_t>();
  const Outcome outcome = run_pyscope({"dump", std::to_string(tid), "--json"});
  CHECK(outcome.status == kNoSuchProcess);
  const json error = error_of(outcome);
  CHECK(error.at("hint") == fmt::format("pyscope dump {} --thread {}", target.pid(), tid));
  CHECK(
      run_pyscope({"dump", std::to_string(target.pid()), "--thread", std::to_string(tid)}).status ==
      0);
}

TEST_CASE("a kernel thread is said to be one", "[live]") {
  if (!std::filesystem::exists("/proc/2/stat") ||
      read_file("/proc/2/stat").find("(kthreadd)") == std::string::npos) {
    WARN("not tested: PID 2 is no kernel thread here (another pid namespace)");
    return;
  }
  const Outcome outcome = run_pyscope({"dump", "2", "--json"});
  CHECK(outcome.status == kUnsupported);
  CHECK(mentions(error_of(outcome), "kernel thread"));
}

TEST_CASE("a shell is not Python and is named", "[live]") {
  Child child(idle_shell());
  REQUIRE(child.read_line() == "ready");
  const Outcome outcome = run_pyscope({"dump", std::to_string(child.pid()), "--json"});
  CHECK(outcome.status == kUnsupported);
  const json error = error_of(outcome);
  CHECK(error.at("code") == "unsupported");
  CHECK(mentions(error, "not Python"));
  CHECK(mentions(error, std::filesystem::canonical("/bin/sh").filename().string()));
}

TEST_CASE("a 32-bit process is said to be one", "[live]") {
  Workspace workspace(any_interpreter());
  workspace.write("tiny", tiny_32_bit_program());
  std::filesystem::permissions(workspace.outside("tiny"), std::filesystem::perms::owner_all);
  std::optional<Child> child;
  try {
    child.emplace(Program{.command = {workspace.outside("tiny")}});
  } catch (const std::runtime_error& error) {
    WARN("not tested: this kernel runs no 32-bit programs: " << error.what());
    return;
  }
  const std::string pid = std::to_string(child->pid());
  REQUIRE(eventually([&] { return task_activity(child->pid()).at(0).state == 'S'; }));
  const Outcome outcome = run_pyscope({"dump", pid, "--json"});
  CHECK(outcome.status == kUnsupported);
  CHECK(mentions(error_of(outcome), "32-bit"));
}

TEST_CASE("a Python that is too old is named with its version", "[live]") {
  const Outcome version =
      run(Program{.command = {"/usr/bin/python3", "-c",
                              "import sys; print('%d.%d.%d' % sys.version_info[:3])"}});
  REQUIRE(version.status == 0);
  const std::string text = version.out.substr(0, version.out.find('\n'));
  if (std::stoi(text.substr(2)) >= 11) {
    WARN("not tested: this machine's own Python is " << text);
    return;
  }
  Child child(
      Program{.command = {"/usr/bin/python3", "-c", "print('ready', flush=True); input()"}});
  REQUIRE(child.read_line() == "ready");
  const Outcome outcome = run_pyscope({"dump", std::to_string(child.pid()), "--json"});
  CHECK(outcome.status == kUnsupported);
  const json error = error_of(outcome);
  CHECK(mentions(error, "CPython " + text));
  CHECK(mentions(error, "3.11"));
}

TEST_CASE("an unknown thread is said to be unknown", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  const Outcome outcome = run_pyscope({"dump", std::to_string(target.pid()), "--json", "--thread",
                                       "nobody", "--thread", "MainThread"});
  CHECK(outcome.status == kUsage);
  CHECK(mentions(error_of(outcome), "nobody"));
}

TEST_CASE("several processes are read one by one and none spoils the others", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"plain_calls"});
  REQUIRE(target.read().at("ready") == true);
  Child shell(idle_shell());
  REQUIRE(shell.read_line() == "ready");
  const std::string python = std::to_string(target.pid());
  const std::string other = std::to_string(shell.pid());

  const Outcome mixed = run_pyscope({"dump", other, python, "--json"});
  CHECK(mixed.status == kPartial);
  auto documents = parse_lines(mixed.out);
  REQUIRE(documents.size() == 2);
  // In JSON each comes as soon as it is read.
  if (documents[0].at("pid") != shell.pid()) std::swap(documents[0], documents[1]);
  CHECK(documents[0].at("pid") == shell.pid());
  CHECK(documents[0].at("error").at("code") == "unsupported");
  CHECK(documents[1].at("pid") == target.pid());
  CHECK_FALSE(documents[1].at("threads").empty());

  CHECK(run_pyscope({"dump", python, python, "--json"}).status == 0);
  CHECK(run_pyscope({"dump", other, other, "--json"}).status == kUnsupported);
  const Outcome text = run_pyscope({"dump", python, other});
  CHECK(text.status == kPartial);
  CHECK(text.out.find("Process " + python) != std::string::npos);
  CHECK(text.err.find(other) != std::string::npos);
}
