// Names of threads, functions and processes: whatever a program calls them, a dump shows it, and
// shows it harmlessly.

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

constexpr const char* kBareScript = "import os\nos.write(1, b'{}\\n')\nos.read(0, 1)\n";

/// Bytes that could steer a terminal or reorder text. Line ends are allowed where text has lines.
bool is_harmless(const std::string& text, bool lines) {
  for (const char* sequence : {"\u202e", "\u2066", "\u2028", "\u009b", "\xed\xa0", "\xed\xb3"}) {
    if (text.find(sequence) != std::string::npos) return false;
  }
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0x7F || (byte < 0x20 && !(lines && c == '\n'))) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("threads by the dozen are shown with the names that they have in Python", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "names.py", {"thread_names"});
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  CHECK(dump.at("threads").size() == task_activity(target.pid()).size());
  CHECK(dump.at("threads").size() > 45);
  CHECK(thread_of(dump, "renamed after its start").at("main") == false);
  CHECK(thread_of(dump, "主 main").at("tid") == target.pid());
  // Whatever its name, it is the main thread.
  const Dump main = pyscope::test::dump(target.pid(), {"--thread", "MainThread"});
  CHECK(main.json.at("threads").size() == 1);
  CHECK(main.json.at("threads").at(0).at("tid") == target.pid());
  for (const json& thread : dump.at("threads")) {
    const pid_t tid = thread.at("tid");
    if (thread.at("name").is_string()) CHECK(is_harmless(thread.at("name"), false));
    // From 3.14 on Python gives the kernel the name too, cut to 15 bytes wherever that may be.
    const std::string os_name = thread.at("os_name");
    CHECK(is_harmless(os_name, false));
    const std::string comm = read_file(fmt::format("/proc/{}/task/{}/comm", target.pid(), tid));
    if (std::all_of(comm.begin(), comm.end() - 1, [](char c) { return c >= ' ' && c <= '~'; })) {
      CHECK(os_name + "\n" == comm);
    }
    CHECK(thread.at("os_state") == "S");
    CHECK(thread.at("holds_gil") == false);
    CHECK(thread.at("waits_for_gil") == false);
  }
}

TEST_CASE("the text form shows hostile names without their control characters", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string program = GENERATE("thread_names", "function_names");
  const bool grouped = GENERATE(false, true);
  CAPTURE(interpreter, program, grouped);
  Target target(interpreter, "names.py", {program});
  REQUIRE(target.read().at("ready") == true);

  const Outcome text = run_pyscope(
      {"dump", std::to_string(target.pid()), grouped ? "--group" : "--full", "--color", "never"});

  CHECK(text.status == 0);
  CHECK(text.err.empty());
  CHECK(is_harmless(text.out, true));
  if (!grouped) {
    CHECK(text.out.find(R"(red \x1b[31m and a bell \x07)") != std::string::npos);
    CHECK(text.out.find(R"(two\x0alines\x0d\x0a)") != std::string::npos);
    CHECK(text.out.find("🐍🧵 astral 𝒳") != std::string::npos);
  }
}

TEST_CASE("functions are shown with whatever names they have", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "names.py", {"function_names"});
  REQUIRE(target.read().at("ready") == true);
  check_against_truth(target);
}

TEST_CASE("a program that never imported threading has one thread without a name", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  const std::string file = workspace.write("bare.py", kBareScript);
  Target target(std::move(workspace), "bare.py");
  REQUIRE(target.read() == json::object());
  REQUIRE(all_sleep(target.pid()));

  const Dump result = dump(target.pid());

  CHECK(result.status == 0);
  REQUIRE(result.json.at("threads").size() == 1);
  const json& thread = thread_of(result.json, target.pid());
  CHECK(thread.at("name").is_null());
  CHECK(thread.at("main") == true);
  CHECK(thread.at("interpreter") == 0);
  const auto frames = python_frames(thread);
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].at("function") == "<module>");
  CHECK(frames[0].at("file") == file);
  CHECK(frames[0].at("line") == 3);
  CHECK(frames[0].at("source") == "os.read(0, 1)");
}

TEST_CASE("texts of thousands of characters are shown too", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "names.py", {"long_names"});
  REQUIRE(target.read().at("ready") == true);
  check_against_truth(target);
}

TEST_CASE("a command line is shown argument by argument and harmlessly", "[live]") {
  const Interpreter& interpreter = any_interpreter();
  Workspace workspace(interpreter);
  workspace.write("bare.py", kBareScript);
  Target target(std::move(workspace), "bare.py",
                {"", "two words", "\x1b[31m", "é🐍", "\xff\xfe", "line\nend"},
                {.flags = {"-X", "utf8=1"}});
  REQUIRE(target.read() == json::object());

  const Dump result = dump(target.pid());

  CHECK(result.json.at("command") ==
        json::array({interpreter.executable, "-X", "utf8=1", target.workspace().inside("bare.py"),
                     "", "two words", R"(\x1b[31m)", "é🐍", R"(\xff\xfe)", R"(line\x0aend)"}));
  CHECK(is_harmless(run_pyscope({"dump", std::to_string(target.pid())}).out, true));
}

TEST_CASE("no verb lets a name of the program steer the terminal", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "names.py", {"class_names"});
  REQUIRE(target.read().at("ready") == true);
  const std::string pid = std::to_string(target.pid());
  const std::vector<std::vector<std::string>> commands = {
      {"dump", pid, "--locals"},
      {"dump", pid, "--thread", "\x1b]0;none\x07"},
      {"why", pid, "--duration", "20ms"},
      {"ps"},
      {"inspect", pid, "hostile"},
      {"inspect", pid, "hostile", "--list"},
      {"inspect", pid, "hostile.inner", "hostile.changing"},
      {"inspect", pid, "hostile.missing"},
      {"inspect", pid, "hostile.inner.missing.more"},
      {"inspect", pid, "hostile.changing['x']"},
      {"inspect", pid, "hostile[0]"},
      {"inspect", pid, "\x1b]0;none\x07"},
  };
  for (std::vector<std::string> command : commands) {
    CAPTURE(command);
    command.insert(command.end(), {"--color", "never"});
    const Outcome outcome = run_pyscope(command);
    CHECK(outcome.status < 7);
    CHECK(!(outcome.out + outcome.err).empty());
    CHECK(is_harmless(outcome.out, true));
    CHECK(is_harmless(outcome.err, true));
  }
  CHECK(run_pyscope({"inspect", pid, "hostile"}).out.find(R"(\x1b]0;title\x07)") !=
        std::string::npos);
}

TEST_CASE("a value that can not be read is no success, and not consistent", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "names.py", {"broken_value"});
  REQUIRE(target.read().at("ready") == true);
  const Outcome outcome =
      run_pyscope({"inspect", std::to_string(target.pid()), "broken", "--json"});
  CHECK(outcome.status == 6);
  const json document = json::parse(outcome.out);
  CHECK(document.at("consistent") == false);
  CHECK(document.at("unreadable") == true);
}
