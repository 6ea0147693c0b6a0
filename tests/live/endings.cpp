// How pyscope ends when it is interrupted, when nobody reads its output or it can't be written, and
// what it does on terminals of any width.

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/pseudo_terminal.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

constexpr int kFailed = 1;
constexpr int kNoSuchProcess = 3;
constexpr int kPartial = 6;

using Words = std::vector<std::string>;

/// Waits in a call whose line is far wider than a terminal, and so is the expression in it.
constexpr const char* kWideScript =
    "import os\n"
    "class Größe:\n"
    "    def warte_länger(self, first, second):\n"
    "        return os.read(first + second + sum([first, second, first, second, first, second, "
    "0]), 1) or self.other()\n"
    "print('\"ready\"', flush=True)\n"
    "number = 0\n"
    "Größe().warte_länger(0, 0)\n"
    "Größe().warte_länger(0, 0)  # after a byte\n";

Target start_waiting() {
  Workspace workspace(any_interpreter());
  workspace.write("wide.py", kWideScript);
  Target target(std::move(workspace), "wide.py");
  REQUIRE(target.read() == "ready");
  REQUIRE(all_sleep(target.pid()));
  return target;
}

Words words(const std::string& verb, pid_t pid, const Words& more = {}) {
  Words all{verb, std::to_string(pid)};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Each verb as it takes long.
std::vector<Words> long_runs(pid_t pid) {
  return {words("dump", pid, {"--watch", "1h"}), words("inspect", pid, {"--watch", "1h", "number"}),
          words("why", pid, {"--duration", "1h"})};
}

/// The signals that a process catches or ignores: SigCgt or SigIgn of its status.
bool has_signal(pid_t pid, const std::string& field, int signal) {
  std::istringstream status(read_file(fmt::format("/proc/{}/status", pid)));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(field + ":")) continue;
    return (std::stoull(line.substr(field.size() + 1), nullptr, 16) >> (signal - 1) & 1U) != 0;
  }
  return false;
}

/// It has come as far as to say itself what a signal means.
bool is_under_way(pid_t pid) {
  return eventually([&] { return has_signal(pid, "SigCgt", SIGTERM); });
}

/// No process of the group is left, at the latest after a while.
bool group_has_ended(pid_t group) {
  return eventually([&] { return ::kill(-group, 0) != 0 && errno == ESRCH; });
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

/// The lines of what a terminal was sent, without line ends.
Words lines_of(const std::string& shown) {
  Words lines;
  std::istringstream stream(shown);
  for (std::string line; std::getline(stream, line);) {
    while (!line.empty() && line.back() == '\r')
      line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::function<void()> with_file(int fd, const char* path, int flags) {
  return [=] {
    const int opened = ::open(path, flags);
    if (opened < 0 || ::dup2(opened, fd) < 0) ::_exit(99);
    ::close(opened);
  };
}

}  // namespace

TEST_CASE("Ctrl-C on a terminal ends what is under way, and what was found is told", "[live]") {
  Target target = start_waiting();
  const std::string number = std::to_string(target.pid());
  {
    TerminalProgram watch(pyscope_program({"dump", number, "--watch", "1h"}));
    watch.wait_for("warte_länger(0, 0)\r\n");
    watch.type(kCtrlC);
    CHECK(watch.finish().status == 0);
  }
  {
    TerminalProgram watch(pyscope_program({"inspect", number, "--watch", "1h", "number"}));
    watch.wait_for("  0\r\n");
    watch.type(kCtrlC);
    CHECK(watch.finish().status == 0);
  }
  {
    TerminalProgram why(pyscope_program({"why", number, "--duration", "1h"}));
    why.wait_for("Ctrl-C ends it");
    why.type(kCtrlC);
    const Outcome outcome = why.finish();
    CHECK(outcome.status == 0);
    // The line that tells how far it is has been wiped away before the report begins.
    const std::size_t report = outcome.out.find("samples in ");
    REQUIRE(report != std::string::npos);
    const std::size_t wiped = outcome.out.rfind("\r\x1b[K", report);
    REQUIRE(wiped != std::string::npos);
    CHECK(outcome.out.find("Ctrl-C ends it", wiped) == std::string::npos);
    CHECK(outcome.out.find("Thread " + number, report) != std::string::npos);
  }
  CHECK(goes_on(target.pid()));
}

TEST_CASE("a signal at any moment leaves nothing behind", "[live]") {
  Target target(any_interpreter(), "processes.py", {"count_signals"});
  REQUIRE(target.read() == "ready");
  Target another(any_interpreter(), "processes.py", {"count_signals"});
  REQUIRE(another.read() == "ready");
  const pid_t pid = target.pid();
  struct Case {
    Words arguments;
    bool ends_by_itself;  // a signal that is caught ends what is under way, with its own status
  };
  const std::vector<Case> cases{
      {words("dump", pid), false},
      {words("dump", pid, {"--pause=all"}), false},
      {words("dump", pid, {std::to_string(another.pid()), "--pause=all"}), false},
      {words("dump", pid, {"--pause=all", "--watch", "1h"}), true},
      {words("dump", pid, {"--pause=all", "--watch", "1ms"}), true},
      {words("why", pid, {"--duration", "1h"}), true},
      {words("inspect", pid, {"--pause", "--watch", "1h", "__name__"}), true},
  };
  // Moments all along what it does, however fast that is here.
  const auto begin = std::chrono::steady_clock::now();
  CHECK(run_pyscope(words("dump", pid, {"--pause=all"})).status != kFailed);
  const auto whole = std::chrono::steady_clock::now() - begin;
  constexpr int kMoments = 5;
  constexpr int kWhole = 3;  // the moment when it would have ended
  std::set<int> seen;
  for (const Case& one : cases) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      for (int moment = 0; moment < kMoments; ++moment) {
        CAPTURE(one.arguments, signal, moment);
        PyscopeOptions options;
        options.before_exec = [] { ::setpgid(0, 0); };
        Child child(pyscope_program(one.arguments, options));
        const pid_t group = child.pid();
        // Not to wait for something, but to come at another moment each time.
        std::this_thread::sleep_for(whole * moment / kWhole);
        // To all of the group, as a terminal does; or to the one, as kill does.
        ::kill(signal == SIGTERM ? group : -group, signal);
        const Outcome outcome = child.finish();
        CAPTURE(outcome.status, outcome.out, outcome.err);
        seen.insert(outcome.status);
        std::set<int> allowed{128 + signal};
        // A dump may have been finished before.
        if (one.ends_by_itself ? signal != SIGHUP : true) allowed.insert({0, kPartial});
        CHECK(allowed.count(outcome.status) == 1);
        CHECK(outcome.err.empty());
        CHECK(group_has_ended(group));
      }
      CHECK(goes_on(pid));
      CHECK(goes_on(another.pid()));
    }
  }
  // Some came early, and some late.
  CHECK(seen.count(128 + SIGINT) == 1);
  CHECK(seen.count(0) == 1);
}

TEST_CASE("a second Ctrl-C ends what the first one did not", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"recursion", "20000"});
  REQUIRE(target.read().at("ready") == true);
  // It can't go on while nobody reads what it prints.
  Child child(pyscope_program(words("dump", target.pid(), {"--watch", "1ms", "--json"})));
  constexpr const char* kWrite = "1 ";  // the number of the system call
  REQUIRE(eventually(
      [&] { return read_file(fmt::format("/proc/{}/syscall", child.pid())).starts_with(kWrite); }));
  siginfo_t ended{};
  CHECK(eventually([&] {
    ::kill(child.pid(), SIGINT);
    return ::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOHANG | WNOWAIT) ==
               0 &&
           ended.si_pid == child.pid();
  }));
  CHECK(child.finish().status == 128 + SIGINT);
}

TEST_CASE("a signal that is ignored stays ignored", "[live]") {
  Target target = start_waiting();
  for (const Words& arguments : long_runs(target.pid())) {
    CAPTURE(arguments);
    PyscopeOptions options;
    // As nohup and a script's background do.
    options.before_exec = [] {
      (void)::signal(SIGINT, SIG_IGN);
      (void)::signal(SIGHUP, SIG_IGN);
    };
    Child child(pyscope_program(arguments, options));
    REQUIRE(is_under_way(child.pid()));
    CHECK(has_signal(child.pid(), "SigIgn", SIGINT));
    CHECK(has_signal(child.pid(), "SigIgn", SIGHUP));
    ::kill(child.pid(), SIGINT);
    ::kill(child.pid(), SIGHUP);
    ::kill(child.pid(), SIGTERM);
    CHECK(child.finish().status == 0);
  }
}

TEST_CASE("a reader that has gone ends what is under way quietly and at once", "[live]") {
  Target target = start_waiting();
  const bool sigpipe_ignored = GENERATE(false, true);
  for (const Words& arguments : long_runs(target.pid())) {
    CAPTURE(arguments, sigpipe_ignored);
    PyscopeOptions options;
    if (sigpipe_ignored) options.before_exec = [] { (void)::signal(SIGPIPE, SIG_IGN); };
    Child child(pyscope_program(arguments, options));
    REQUIRE(is_under_way(child.pid()));
    if (arguments.front() != "why") (void)child.read_line();
    child.close_stdout();
    const Outcome outcome = child.finish();
    CHECK(outcome.status == (sigpipe_ignored ? 0 : 128 + SIGPIPE));
    CHECK(outcome.err.empty());
  }
}

TEST_CASE("a terminal that is closed ends what is under way", "[live]") {
  Target target = start_waiting();
  const bool ignored = GENERATE(false, true);
  for (const Words& arguments : long_runs(target.pid())) {
    CAPTURE(arguments, ignored);
    PyscopeOptions options;
    if (ignored) options.before_exec = [] { (void)::signal(SIGHUP, SIG_IGN); };
    TerminalProgram program(pyscope_program(arguments, options));
    REQUIRE(is_under_way(program.pid()));
    if (arguments.front() != "why") program.wait_for("\n");
    program.hang_up();
    CHECK(program.finish().status == 128 + (ignored ? SIGPIPE : SIGHUP));
  }
}

TEST_CASE("a standard stream that is closed is never mistaken for a file", "[live]") {
  Target target = start_waiting();
  const std::string number = std::to_string(target.pid());
  const auto closed = [](std::vector<int> fds) {
    PyscopeOptions options;
    options.before_exec = [fds = std::move(fds)] {
      for (const int fd : fds)
        ::close(fd);
    };
    return options;
  };
  const std::string whole = run_pyscope({"dump", number, "--json"}).out;
  const std::vector<Words> verbs{{"dump", number},
                                 {"dump", number, "--json"},
                                 {"why", number, "--duration", "1ms"},
                                 {"inspect", number, "number"},
                                 {"ps"},
                                 {"dump", "--help"},
                                 {"--version"}};
  for (const Words& arguments : verbs) {
    CAPTURE(arguments);
    CHECK(run_pyscope(arguments, closed({STDIN_FILENO})).status == 0);
    const Outcome unwritten = run_pyscope(arguments, closed({STDOUT_FILENO}));
    CHECK(unwritten.status == kFailed);
    CHECK(unwritten.err == "pyscope: writing the output failed: Bad file descriptor\n");
    const Outcome silent = run_pyscope(arguments, closed({STDIN_FILENO, STDERR_FILENO}));
    CHECK(silent.status == 0);
    CHECK_FALSE(silent.out.empty());
    CHECK(run_pyscope(arguments, closed({STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})).status ==
          kFailed);
  }
  // An error that nobody can read is the same error.
  CHECK(run_pyscope({"dump", "99999999"}, closed({STDERR_FILENO})).status == kNoSuchProcess);
  CHECK(run_pyscope({"dump", number, "-v"}, closed({STDERR_FILENO})).status == 0);
  // The file that is opened next would be the output.
  const std::string recording = target.workspace().outside("recording");
  const Outcome lost =
      run_pyscope({"dump", number, "--record", recording}, closed({STDOUT_FILENO}));
  CHECK(lost.status == kFailed);
  CHECK(run_pyscope({"dump", "--replay", recording}).status == 0);
}

TEST_CASE("a full disk is a failure that is told once", "[live]") {
  Target target = start_waiting();
  const std::string number = std::to_string(target.pid());
  const std::vector<Words> verbs{{"dump", number},
                                 {"dump", number, "--json"},
                                 {"dump", number, number},
                                 {"dump", number, "--watch", "1ms"},
                                 {"why", number, "--duration", "1ms"},
                                 {"inspect", number, "number"},
                                 {"inspect", number, "--watch", "1ms", "number"},
                                 {"ps", "--json"},
                                 {"--help"},
                                 {"--version"}};
  PyscopeOptions full;
  full.before_exec = with_file(STDOUT_FILENO, "/dev/full", O_WRONLY);
  for (const Words& arguments : verbs) {
    CAPTURE(arguments);
    const Outcome outcome = run_pyscope(arguments, full);
    CHECK(outcome.status == kFailed);
    CHECK(outcome.err == "pyscope: writing the output failed: No space left on device\n");
  }
  // Whatever else went wrong.
  CHECK(run_pyscope({"dump", "99999999", number}, full).status == kFailed);
  CHECK(run_pyscope({"dump", number, "99999999", "--json"}, full).status == kFailed);
  PyscopeOptions silent;
  silent.before_exec = with_file(STDERR_FILENO, "/dev/full", O_WRONLY);
  CHECK(run_pyscope({"dump", "99999999"}, silent).status == kNoSuchProcess);
  CHECK(run_pyscope({"dump", number, "-v"}, silent).status == 0);
}

TEST_CASE("all of the output is written where a write does only a part", "[live]") {
  Target target(any_interpreter(), "stacks.py", {"recursion", "5000"});
  REQUIRE(target.read().at("ready") == true);
  PyscopeOptions options;
  options.before_exec = [] {
    const int flags = ::fcntl(STDOUT_FILENO, F_GETFL);
    if (::fcntl(STDOUT_FILENO, F_SETFL, flags | O_NONBLOCK) < 0) ::_exit(99);
  };
  Child child(pyscope_program(words("dump", target.pid(), {"--json"}), options));
  // The pipe is full before anything is read from it.
  REQUIRE(eventually([&] {
    const TaskActivity task = task_activity(child.pid()).front();
    return task.state == 'S' || task.state == 'Z';
  }));
  const Outcome outcome = child.finish();
  CHECK(outcome.status == 0);
  CHECK(outcome.err.empty());
  const json document = json::parse(outcome.out);
  CHECK(python_frames(thread_of(document, "MainThread")).size() > 5000);
}

TEST_CASE("a source line is cut to the terminal, and what is executed stays in sight", "[live]") {
  Target target = start_waiting();
  const std::string number = std::to_string(target.pid());
  const int columns = GENERATE(40, 61, 80, 300);
  CAPTURE(columns);
  TerminalProgram program(pyscope_program({"dump", number, "--color", "never"}), columns);
  const Outcome outcome = program.finish();
  CHECK(outcome.status == 0);
  const Words lines = lines_of(outcome.out);
  const auto header = std::find_if(lines.begin(), lines.end(), [](const std::string& line) {
    return line.ends_with(", in Größe.warte_länger");
  });
  REQUIRE(lines.end() - header > 2);
  const std::string& source = *(header + 1);
  const std::string& marks = *(header + 2);
  CAPTURE(source, marks);
  CHECK(characters(source) <= static_cast<std::size_t>(columns));
  CHECK(marks.size() <= static_cast<std::size_t>(columns));
  // As wide a line as there is room for.
  constexpr int kWhole = 120;
  CHECK(source.ends_with(columns < kWhole ? "..." : " or self.other()"));
  // All of it is ASCII, so that a mark is below its character.
  const std::string called = "os.read(";
  CHECK(source.find(called) != std::string::npos);
  CHECK(source.find(called) == marks.find("~~~~~~~^"));
  CHECK(marks.find_first_not_of(' ') == source.find(called));
}

TEST_CASE("a watch follows the width of its terminal", "[live]") {
  Target target = start_waiting();
  constexpr int kWide = 300;
  constexpr int kNarrow = 40;
  TerminalProgram program(
      pyscope_program(words("dump", target.pid(), {"--watch", "1ms", "--color", "never"})), kWide);
  program.wait_for(" or self.other()\r\n");
  program.resize(kNarrow);
  target.child().send("x");  // only what has changed is printed anew
  program.wait_for("...os.read(");
  program.type(kCtrlC);
  CHECK(program.finish().status == 0);
}

TEST_CASE("a file gets all of a source line, and no colours", "[live]") {
  Target target = start_waiting();
  const std::string file = target.workspace().outside("output");
  TerminalProgram program(
      Program{.command = {"/bin/sh", "-c",
                          fmt::format("'{}' dump {} >'{}'", pyscope_binary(), target.pid(), file)},
              .environment = {"TERM=xterm-256color"}},
      40);
  const Outcome outcome = program.finish();
  CHECK(outcome.status == 0);
  CHECK(outcome.out.empty());
  const std::string written = read_file(file);
  CHECK(written.find('\x1b') == std::string::npos);
  CHECK(written.find(" or self.other()\n") != std::string::npos);
  CHECK(written.ends_with("\n"));
}

TEST_CASE("the line that tells how far why has come never wraps", "[live]") {
  Target target = start_waiting();
  const int columns = GENERATE(10, 40, 200);
  CAPTURE(columns);
  TerminalProgram why(pyscope_program(words("why", target.pid(), {"--duration", "1h"})), columns);
  why.wait_for("\x1b[Kpyscope");
  why.type(kCtrlC);
  const Outcome outcome = why.finish();
  CHECK(outcome.status == 0);
  const std::string start = "\r\x1b[Kpyscope: ";
  std::size_t updates = 0;
  for (std::size_t at = outcome.out.find("\r\x1b[K"); at != std::string::npos; ++updates) {
    at += 4;
    const std::size_t next = outcome.out.find('\r', at);
    REQUIRE(next != std::string::npos);
    // The last one wiped it away; there the report begins.
    const std::size_t after = outcome.out.find("\r\x1b[K", at);
    if (after == std::string::npos) break;
    CHECK(next - at < static_cast<std::size_t>(columns) + 2);  // and the echo of Ctrl-C
    at = after;
  }
  CHECK(updates > 0);
}

TEST_CASE("each coloured line is whole, as a pager needs it", "[live]") {
  Target target = start_waiting();
  const std::string number = std::to_string(target.pid());
  for (const Words& arguments :
       {Words{"dump", number, "--locals"}, Words{"why", number, "--duration", "1ms"},
        Words{"inspect", number, "--list"}}) {
    CAPTURE(arguments);
    Words colored = arguments;
    colored.insert(colored.end(), {"--color", "always"});
    const Outcome outcome = run_pyscope(colored);
    CHECK(outcome.status == 0);
    CHECK(count_of(outcome.out, "\x1b[") > 0);
    for (const std::string& line : lines_of(outcome.out)) {
      const std::size_t last = line.rfind("\x1b[");
      if (last == std::string::npos) continue;
      CAPTURE(line);
      CHECK(line.compare(last, 4, "\x1b[0m") == 0);
    }
  }
}
