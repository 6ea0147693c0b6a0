// pyscope at the other end of an SSH connection, as it is used on servers.

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/pseudo_terminal.hpp"
#include "support/ssh_server.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

constexpr const char* kScript =
    "import os\n"
    "class Größe:\n"
    "    def warte_länger_日本(self):\n"
    "        größe = 'naïve 🐍'\n"
    "        return os.read(sum([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 1) or self.other()\n"
    "print('\"ready\"', flush=True)\n"
    "Größe().warte_länger_日本()\n";

Target start_waiting() {
  Workspace workspace(any_interpreter());
  workspace.write("wide.py", kScript);
  Target target(std::move(workspace), "wide.py");
  REQUIRE(target.read() == "ready");
  REQUIRE(all_sleep(target.pid()));
  return target;
}

std::string pyscope_command(const std::string& arguments) {
  return fmt::format("'{}' {}", pyscope_binary(), arguments);
}

/// What pyscope said on stderr: a shell at the other end may have complained of its locale.
std::string said_by_pyscope(const std::string& err) {
  std::string said;
  std::istringstream lines(err);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("setlocale") == std::string::npos) said += line + "\n";
  }
  return said;
}

/// Processes with this word as an argument of its own: pyscope, not the shell or ssh around it.
std::vector<pid_t> processes_with_argument(const std::string& word) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string command = '\0' + read_file("/proc/" + name + "/cmdline");
    if (command.find('\0' + word + '\0') != std::string::npos) found.push_back(std::stoi(name));
  }
  return found;
}

bool catches_signal(pid_t pid, int signal) {
  std::istringstream status(read_file(fmt::format("/proc/{}/status", pid)));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigCgt:")) continue;
    return (std::stoull(line.substr(line.find(':') + 1), nullptr, 16) >> (signal - 1) & 1U) != 0;
  }
  return false;
}

bool is_left_by(pid_t pid) {
  return eventually([&] { return processes_with_argument(std::to_string(pid)).empty(); });
}

/// The command of docs/fleet.md that begins like this, with another host, process and binary.
std::string documented(const std::string& beginning, const SshServer& server, pid_t pid) {
  std::istringstream lines(read_file(PYSCOPE_DOCS "/fleet.md"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(beginning)) continue;
    const auto replace = [&](const std::string& what, const std::string& by) {
      const std::size_t at = line.find(what);
      if (at == std::string::npos) FAIL("no " << what << " in: " << line);
      line.replace(at, what.size(), by);
    };
    std::string ssh;
    for (const std::string& word : server.ssh())
      ssh += fmt::format("'{}' ", word);
    replace("ssh web-1 ", ssh);
    replace("4711", std::to_string(pid));
    replace("<pyscope", fmt::format("<'{}'", pyscope_binary()));
    return line;
  }
  FAIL("docs/fleet.md has no command " << beginning);
  return {};
}

Program shell(const std::string& command) {
  return {.command = {"/bin/sh", "-c", command}, .environment = {"PATH=/usr/sbin:/usr/bin:/bin"}};
}

constexpr const char* kOneLiner = "ssh web-1 'f=$(mktemp)";

}  // namespace

TEST_CASE("over ssh the exit status and both outputs are what they are here", "[live][ssh]") {
  Target target = start_waiting();
  const SshServer server;
  const std::string pid = std::to_string(target.pid());
  // Root may read all; and so may nobody else.
  const std::string unprivileged =
      ::geteuid() == 0 ? "setpriv --reuid=65534 --regid=65534 --clear-groups " : "";
  const std::string others = ::geteuid() == 0 ? pid : "1";
  struct Case {
    std::string command;
    int status;
    std::string err;  // is in what it says on stderr
    bool has_output;
  };
  const std::vector<Case> cases{
      {pyscope_command("dump " + pid), 0, "", true},
      {pyscope_command("dump " + pid) + " >/dev/full", 1, "No space left on device", false},
      {pyscope_command("dump --nonsense"), 2, "--nonsense", false},
      {pyscope_command("dump 99999999"), 3, "99999999", false},
      {unprivileged + pyscope_command("dump " + others), 4, others, false},
      {pyscope_command("dump $$"), 5, "is not Python", false},
      {pyscope_command(fmt::format("dump {} 99999999", pid)), 6, "99999999", true},
      {pyscope_command(fmt::format("dump {} | head -1", pid)), 0, "", true},
  };
  for (const Case& one : cases) {
    CAPTURE(one.command);
    const Outcome outcome = run(server.program(one.command));
    CAPTURE(outcome.out, outcome.err);
    CHECK(outcome.status == one.status);
    const std::string said = said_by_pyscope(outcome.err);
    if (one.err.empty()) {
      CHECK(said.empty());
    } else {
      CHECK(said.find(one.err) != std::string::npos);
    }
    CHECK(outcome.out.empty() != one.has_output);
    // There is no terminal.
    CHECK(outcome.out.find('\x1b') == std::string::npos);
    CHECK(said.find('\x1b') == std::string::npos);
    CHECK(outcome.out.find("pyscope: ") == std::string::npos);
  }
}

TEST_CASE("over ssh no locale, known or not, changes a byte", "[live][ssh]") {
  Target target = start_waiting();
  const SshServer server;
  const std::string locale = GENERATE(as<std::string>(), "xx_YY.UTF-8", "C", "");
  CAPTURE(locale);
  const auto run_there = [&](const std::string& command) {
    Program program = server.program(command);
    if (!locale.empty()) program.environment.push_back("LC_ALL=" + locale);
    program.environment.push_back("LANG=C");
    return run(program);
  };
  // It has arrived there.
  CHECK(run_there("printenv LC_ALL LANG").out == (locale.empty() ? "" : locale + "\n") + "C\n");
  const Outcome text = run_there(pyscope_command(fmt::format("dump {} --locals", target.pid())));
  CHECK(text.status == 0);
  CHECK(text.out.find(", in Größe.warte_länger_日本\n") != std::string::npos);
  CHECK(text.out.find("größe = 'naïve 🐍'\n") != std::string::npos);
  CHECK(said_by_pyscope(text.err).empty());
  const Outcome document =
      run_there(pyscope_command(fmt::format("dump {} --json --locals", target.pid())));
  CHECK(document.status == 0);
  const json frame = python_frames(thread_of(json::parse(document.out), target.pid())).front();
  CHECK(frame.at("qualified_name") == "Größe.warte_länger_日本");
  const Outcome why =
      run_there(pyscope_command(fmt::format("why {} --duration 400ms", target.pid())));
  CHECK(why.status == 0);
  CHECK(why.out.find("Größe.warte_länger_日本") != std::string::npos);
  // No line that tells how far it is, where nobody looks.
  CHECK(said_by_pyscope(why.err).empty());
}

TEST_CASE("ssh -t gives a terminal: colours, its width, and Ctrl-C", "[live][ssh]") {
  Target target = start_waiting();
  const SshServer server;
  constexpr int kColumns = 50;
  const std::string pid = std::to_string(target.pid());
  {
    TerminalProgram there(server.program(pyscope_command("dump " + pid), {"-t"}), kColumns);
    const Outcome outcome = there.finish();
    CHECK(outcome.status == 0);
    CHECK(outcome.out.find("\x1b[1mGröße.warte_länger_日本\x1b[0m") != std::string::npos);
    CHECK(outcome.out.find("os.read(") != std::string::npos);
    CHECK(outcome.out.find("self.other()") == std::string::npos);
  }
  {
    TerminalProgram there(server.program(pyscope_command("dump 99999999"), {"-t"}), kColumns);
    CHECK(there.finish().status == 3);
  }
  {
    TerminalProgram there(server.program(pyscope_command("why --duration 1h " + pid), {"-t"}),
                          kColumns);
    there.wait_for("samples, ");
    there.type(kCtrlC);
    const Outcome outcome = there.finish();
    CHECK(outcome.status == 0);
    CHECK(outcome.out.find("samples in ") != std::string::npos);
  }
  CHECK(is_left_by(target.pid()));
}

TEST_CASE("a connection that is lost leaves no pyscope behind", "[live][ssh]") {
  Target target = start_waiting();
  const SshServer server;
  const std::string pid = std::to_string(target.pid());
  const std::string arguments =
      GENERATE(as<std::string>(), "dump --watch 1h", "why --duration 1h", "inspect --watch 1h");
  const bool terminal = GENERATE(false, true);
  CAPTURE(arguments, terminal);
  const std::string path = arguments.starts_with("inspect") ? " __name__" : "";
  const std::string command = pyscope_command(fmt::format("{} {}{}", arguments, pid, path));
  // It has said the first thing, and then has nothing to write for an hour.
  const bool speaks = !arguments.starts_with("why");
  const auto under_way = [&] {
    return eventually([&] {
      try {
        const auto found = processes_with_argument(pid);
        return !found.empty() && catches_signal(found.front(), SIGTERM);
      } catch (const std::exception&) {
        return false;  // one of them ended while it was looked at: a shell on the way to pyscope
      }
    });
  };
  if (terminal) {
    TerminalProgram there(server.program(command, {"-t"}));
    there.wait_for(speaks ? "\n" : "samples, ");
    REQUIRE(under_way());
    ::kill(there.pid(), SIGKILL);
    CHECK(there.finish().status == 128 + SIGKILL);
  } else {
    Child there(server.program(command));
    if (speaks) (void)there.read_line();
    REQUIRE(under_way());
    there.kill();
  }
  CHECK(is_left_by(target.pid()));
}

TEST_CASE("the documented command runs a pyscope that isn't installed, and removes it",
          "[live][ssh]") {
  Target target = start_waiting();
  const SshServer server;
  const Outcome outcome = run(shell(documented(kOneLiner, server, target.pid())));
  CAPTURE(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(outcome.out.find(", in Größe.warte_länger_日本\n") != std::string::npos);
  CHECK(fs::is_empty(server.session_folder()));
  CHECK(run(shell(documented(kOneLiner, server, 99999999))).status == 3);
  CHECK(fs::is_empty(server.session_folder()));
}

TEST_CASE("the documented command leaves nothing when it is interrupted", "[live][ssh]") {
  Target target = start_waiting();
  const SshServer server;
  const auto file_there = [&] { return !fs::is_empty(server.session_folder()); };
  const auto nothing_there = [&] {
    return eventually([&] { return fs::is_empty(server.session_folder()); }) &&
           is_left_by(target.pid());
  };
  std::string command = documented(kOneLiner, server, target.pid());
  SECTION("while the binary is copied") {
    // The half of it comes, and then nothing until the connection is lost.
    command.replace(command.rfind('<'), std::string::npos, "");
    Child copying(shell("exec " + command));
    copying.send(read_file(pyscope_binary()).substr(0, 200'000));
    REQUIRE(eventually(file_there));
    copying.kill();
  }
  SECTION("while it runs") {
    const std::string dump = fmt::format("dump {}", target.pid());
    command.replace(command.find(dump), dump.size(), dump + " --watch 1h");
    Child running(shell("exec " + command));
    (void)running.read_line();
    // Gone already, while it runs.
    CHECK_FALSE(file_there());
    running.kill();
  }
  CHECK(nothing_there());
}
