// Code that is run in a process: that it runs where it was asked for and nowhere else, that its
// answer is the code's own, and that the process goes on as if nothing had happened.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "structures/debug_offsets.hpp"
#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

/// Those that can be asked to run code.
std::vector<Interpreter> newer_interpreters() {
  std::vector<Interpreter> newer;
  for (const Interpreter& interpreter : interpreters()) {
    if (interpreter.minor() >= 14) newer.push_back(interpreter);
  }
  return newer;
}

std::vector<std::string> command(pid_t pid, const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"exec", std::to_string(pid)};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

Outcome exec(pid_t pid, const std::vector<std::string>& arguments,
             const PyscopeOptions& options = {}) {
  return run_pyscope(command(pid, arguments), options);
}

/// The document of one thread.
json exec_json(pid_t pid, std::vector<std::string> arguments) {
  arguments.emplace_back("--json");
  const Outcome outcome = exec(pid, arguments);
  INFO(outcome.out << outcome.err);
  json document = json::parse(outcome.out);
  document["status"] = outcome.status;
  return document;
}

Target start(const Interpreter& interpreter, const std::vector<std::string>& arguments,
             const TargetOptions& options = {}) {
  Target target(interpreter, "exec.py", arguments, options);
  REQUIRE(target.read() == "ready");
  return target;
}

/// The scripts for this process in the folders that they may be in.
std::vector<std::string> scripts_of(const Target& target) {
  std::vector<std::string> found;
  const std::string start = fmt::format(".pyscope-exec-{}-", target.pid());
  for (const char* folder : {"/tmp", "/var/tmp", "/dev/shm"}) {
    std::error_code none;
    for (const auto& entry :
         fs::directory_iterator(target.interpreter().root + std::string(folder), none)) {
      if (entry.path().filename().string().starts_with(start)) found.push_back(entry.path());
    }
  }
  return found;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The calls of pyscope and its children that can write to a process, stop one, or make a file.
std::vector<std::string> writing_calls(const Target& target, const std::vector<std::string>& words,
                                       Outcome& outcome) {
  const std::string log = target.workspace().outside("strace.log");
  Program program = pyscope_program(words, {{"ASAN_OPTIONS=detect_leaks=0"}, nullptr});
  const std::vector<std::string> strace = {
      "/usr/bin/strace",
      "-f",
      "-qq",
      "-e",
      "trace=process_vm_writev,ptrace,unlink,unlinkat,open,openat,kill,tgkill",
      "-o",
      log};
  program.command.insert(program.command.begin(), strace.begin(), strace.end());
  outcome = run(program);
  std::vector<std::string> calls;
  std::istringstream lines(read_file(log));
  for (std::string line; std::getline(lines, line);) {
    const bool opens = contains(line, "open(") || contains(line, "openat(");
    if (contains(line, "(") && (!opens || contains(line, "O_CREAT")) && !contains(line, "+++")) {
      calls.push_back(line);
    }
  }
  return calls;
}

}  // namespace

TEST_CASE("code runs in the thread that was asked for, and its answer comes back", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"works"});
  const pid_t pid = target.pid();
  const Outcome sum = exec(pid, {"-e", "6 * 7", "--thread", "worker"});
  CAPTURE(sum.err);
  CHECK(sum.status == 0);
  CHECK(sum.out == "42\n");
  CHECK(exec(pid, {"-e", "__import__('threading').current_thread().name"}).out == "'MainThread'\n");
  CHECK(
      exec(pid, {"-e", "frame.f_code.co_name, frame.f_locals['order']['id']", "--thread", "worker"})
          .out == "('work', 4711)\n");

  const Outcome printed =
      exec(pid, {"-c",
                 "import sys\nprint('to stdout\\t', 1)\nprint('to stderr', file=sys.stderr)\n"
                 "sys.stdout.buffer.write(b'bytes\\n')\nsys.stdout.write('\\x1b[2J')"});
  CHECK(printed.status == 0);
  CHECK(printed.out == "to stdout\t 1\nbytes\n\\x1b[2J");
  CHECK(printed.err == "to stderr\n");

  // A file of the caller's, not of the target.
  const std::string file = target.workspace().outside("task.py");
  write_file(file, "import __main__\n__main__.hits += 1\nprint(__name__, __main__.hits)\n");
  CHECK(exec(pid, {file}).out == "__pyscope__ 1\n");
  // The namespace is a new one each time.
  CHECK(exec(pid, {"-c", "first = 1"}).status == 0);
  CHECK(exec(pid, {"-e", "'first' in globals()"}).out == "False\n");
  Child standard(pyscope_program(command(pid, {"-"})));
  standard.send("print('from stdin')");
  standard.close_stdin();
  CHECK(standard.finish().out == "from stdin\n");

  const json document = exec_json(pid, {"-c", "print('ä', end='\\n\\n')"});
  CHECK(document.at("schema") == "pyscope.exec/1");
  CHECK(document.at("ran") == true);
  CHECK(document.at("stdout") == "ä\n\n");
  CHECK(document.at("stderr") == "");
  CHECK(document.at("repr").is_null());
  CHECK(document.at("exception").is_null());
  CHECK(document.at("tid") == pid);
  CHECK(exec_json(pid, {"-e", "None"}).at("repr") == "None");

  const Outcome all =
      exec(pid, {"-e", "__import__('threading').get_native_id()", "--all-threads", "--json"});
  CHECK(all.status == 0);
  const auto documents = parse_lines(all.out);
  CHECK(documents.size() == 2);
  for (const json& one : documents) {
    CHECK((one.contains("namespace_tid") ||
           one.at("repr") == std::to_string(one.at("tid").get<int>())));
  }
  CHECK(scripts_of(target).empty());
  const json self = target.ask();
  CHECK(self.at("hits") == 1);
  CHECK(self.at("stdout") == true);
  CHECK(self.at("stderr") == true);
  CHECK(target.error_output().empty());
}

TEST_CASE("an exception of the code is the caller's, and not the program's", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"works"});
  const Outcome raised =
      exec(target.pid(), {"-c", "print('before')\ndef inner():\n    return {}['key']\ninner()"});
  CHECK(raised.status == 7);
  CHECK(raised.out == "before\n");
  CHECK(raised.err ==
        "Traceback (most recent call last):\n"
        "  File \"<pyscope -c>\", line 4, in <module>\n    inner()\n    ~~~~~^^\n"
        "  File \"<pyscope -c>\", line 3, in inner\n    return {}['key']\n           ~~^^^^^^^\n"
        "KeyError: 'key'\n");
  const json document = exec_json(target.pid(), {"-e", "1 / 0"});
  CHECK(document.at("status") == 7);
  CHECK(document.at("ran") == true);
  CHECK(document.at("exception").at("type") == "ZeroDivisionError");
  CHECK(document.at("exception").at("message") == "division by zero");
  CHECK(document.at("repr").is_null());
  for (const char* code :
       {"raise SystemExit(3)", "raise KeyboardInterrupt", "import sys; sys.exit()",
        "def f(): f()\nf()", "this is no Python", "return"}) {
    CAPTURE(code);
    CHECK(exec(target.pid(), {"-c", code}).status == 7);
  }
  CHECK(contains(exec(target.pid(), {"-e", "x = 1"}).err, "SyntaxError"));
  CHECK(target.ask().at("stdout") == true);
  CHECK(target.error_output().empty());
}

TEST_CASE("a process at full speed goes on unharmed", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"busy"});
  // More of them are run by hand (docs/exec.md). Each waits for its turn with the GIL.
  constexpr int kRuns = 16;
  for (int i = 0; i < kRuns; ++i) {
    const std::string thread = i == 15 ? "MainThread" : fmt::format("worker-{}", i);
    const Outcome outcome = exec(
        target.pid(), {"--timeout", "60s", "--thread", thread, "-e",
                       fmt::format("[setattr(m := __import__('__main__'), 'hits', m.hits + 1), "
                                   "__import__('threading').current_thread().name, {}]",
                                   i)});
    CAPTURE(outcome.err, i);
    CHECK(outcome.status == 0);
    CHECK(outcome.out == fmt::format("[None, '{}', {}]\n", thread, i));
  }
  const json self = target.ask();
  CHECK(self.at("hits") == kRuns);
  CHECK(self.at("broken") == 0);
  CHECK(self.at("stdout") == true);
  const auto steps = self.at("steps").get<std::vector<std::uint64_t>>();
  CHECK(steps.size() == 15);
  CHECK(scripts_of(target).empty());
  CHECK(target.error_output().empty());
}

TEST_CASE("what the program prints meanwhile stays the program's", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "exec.py", {"prints"});
  REQUIRE(target.child().read_line() == "mine 0");
  const Outcome outcome =
      exec(target.pid(), {"-c",
                          "import time\nfor i in range(50):\n    print('ours', i)\n    "
                          "time.sleep(0.002)"});
  CHECK(outcome.status == 0);
  std::string expected;
  for (int i = 0; i < 50; ++i)
    expected += fmt::format("ours {}\n", i);
  CHECK(outcome.out == expected);
  for (int i = 1; i < 60; ++i)
    REQUIRE(target.child().read_line() == fmt::format("mine {}", i));
}

TEST_CASE("streams of codes that overlap are each its own, and the program has its own back",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"works"});
  const std::string wait_for =
      "import __main__, time\nwhile __main__.hits < {}: time.sleep(0.001)\n";
  // The first one to begin ends first, most probably.
  Child first(pyscope_program(command(
      target.pid(), {"--timeout", "40s", "--thread", "worker", "-c",
                     fmt::format("print('a')\nimport __main__\n__main__.hits = 1\n{}print('A')",
                                 fmt::format(fmt::runtime(wait_for), 2))})));
  Child second(pyscope_program(command(
      target.pid(), {"--timeout", "40s", "-c",
                     fmt::format("{}print('b')\n__main__.hits = 2\ntime.sleep(0.3)\nprint('B')",
                                 fmt::format(fmt::runtime(wait_for), 1))})));
  CHECK(first.finish().out == "a\nA\n");
  CHECK(second.finish().out == "b\nB\n");
  CHECK(target.ask().at("stdout") == true);
  // Whoever keeps the stream has the program's own, once the code has ended.
  CHECK(exec(target.pid(), {"-c", "import __main__, sys\n__main__.kept = sys.stdout"}).status == 0);
  CHECK(exec(target.pid(),
             {"-c", "import __main__\nprint('\"kept\"', file=__main__.kept, flush=True)"})
            .out.empty());
  CHECK(target.read() == "kept");
}

TEST_CASE("a program without stdout can be asked, too", "[live]") {
  Target target = start(any_interpreter(), {"no_streams"});
  CHECK(exec(target.pid(), {"-c", "print('here')"}).out == "here\n");
  CHECK(exec(target.pid(), {"-e", "__import__('sys').__dict__['stdout'] is None"}).out ==
        "False\n");
}

TEST_CASE("a thread that doesn't come: why, who would, and that the code didn't run", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"sleeping"});
  REQUIRE(eventually([&] { return task_activity(target.pid()).at(0).state == 'S'; }));
  const std::string count = "m = __import__('__main__'); m.hits += 1";
  const json document = exec_json(target.pid(), {"-c", count, "--timeout", "1500ms"});
  CHECK(document.at("status") == 1);
  CHECK(document.at("ran") == false);
  CHECK(document.at("stdout").is_null());
  CHECK(document.at("error").at("code") == "failed");
  const Outcome outcome = exec(target.pid(), {"-c", count, "--timeout", "3s"});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "\"MainThread\" hasn't come to the code yet: waiting for I/O"));
  CHECK(contains(outcome.err, "\"runner\""));
  CHECK(contains(outcome.err, "the request was withdrawn"));
  CHECK(scripts_of(target).empty());
  // The thread runs again, and there is nothing left that it could run.
  target.child().send("x");
  CHECK(target.read() == "awake");
  CHECK(exec(target.pid(), {"-e", "__import__('__main__').hits", "--thread", "runner"}).out ==
        "0\n");
  // Now it runs Python, and comes at once.
  CHECK(exec(target.pid(), {"-c", count}).status == 0);
  CHECK(exec(target.pid(), {"-e", "__import__('__main__').hits", "--thread", "runner"}).out ==
        "1\n");
  CHECK(target.error_output().empty());
}

TEST_CASE("a stopped process runs nothing, and stays stopped", "[live]") {
  Target target = start(any_interpreter(), {"works"});
  REQUIRE(::kill(target.pid(), SIGSTOP) == 0);
  REQUIRE(eventually([&] { return task_activity(target.pid()).at(0).state == 'T'; }));
  const Outcome outcome =
      exec(target.pid(), {"-c", "import __main__; __main__.hits += 1", "--timeout", "2s"});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "stopped"));
  CHECK(eventually([&] { return task_activity(target.pid()).at(0).state == 'T'; }));
  REQUIRE(::kill(target.pid(), SIGCONT) == 0);
  CHECK(target.ask().at("hits") == 0);
  CHECK(scripts_of(target).empty());
}

TEST_CASE("code that takes a lock of the thread that it interrupted: it is said", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"holds_lock"});
  const Outcome outcome = exec(target.pid(), {"-c", "import __main__\n__main__.LOCK.acquire()",
                                              "--timeout", "5s", "--json"});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(json::parse(outcome.out).at("ran").is_null());
  CHECK(contains(outcome.err, "is in the code: deadlocked: waiting in <module>"));
  CHECK(contains(outcome.err, "__main__.LOCK"));
  CHECK(contains(outcome.err, "hasn't ended within 5 s"));
  CHECK(scripts_of(target).empty());
}

TEST_CASE("a hook of the program that refuses scripts is told of", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"refuses"});
  const json document = exec_json(target.pid(), {"-e", "1", "--timeout", "3s"});
  CHECK(document.at("status") == 1);
  CHECK(document.at("ran") == false);
  CHECK(contains(document.at("error").at("message"), "took the request, and the code didn't run"));
  CHECK(contains(document.at("error").at("hint"), "cpython.remote_debugger_script"));
  CHECK(contains(target.error_output(), "no scripts here"));
  CHECK(scripts_of(target).empty());
}

TEST_CASE("what can't be asked isn't written to", "[live]") {
  struct Case {
    std::string what;
    std::vector<std::string> arguments;
    TargetOptions options;
    std::vector<std::string> words;
    int status;
    std::string message;
  };
  const Interpreter newest = any_interpreter();
  const std::vector<Case> cases = {
      {"the option",
       {"works"},
       {.flags = {"-X", "disable-remote-debug"}},
       {"-e", "1"},
       4,
       "-X disable-remote-debug"},
      {"the variable",
       {"works"},
       {.environment = {"PYTHON_DISABLE_REMOTE_DEBUG=1"}},
       {"-e", "1"},
       4,
       "PYTHON_DISABLE_REMOTE_DEBUG was set"},
      {"no such thread", {"works"}, {}, {"-e", "1", "--thread", "nobody"}, 2, "nobody"},
      {"no code", {"works"}, {}, {}, 2, "needs a FILE"},
      {"two codes", {"works"}, {}, {"-e", "1", "-c", "2"}, 2, "exclude each other"},
      {"no file", {"works"}, {}, {"/nowhere/x.py"}, 2, "No such file"}};
  for (const Case& one : cases) {
    CAPTURE(one.what);
    Target target = start(newest, one.arguments, one.options);
    Outcome outcome;
    const auto calls = writing_calls(target, command(target.pid(), one.words), outcome);
    CAPTURE(outcome.err, calls);
    CHECK(outcome.status == one.status);
    CHECK(contains(outcome.err, one.message));
    CHECK(calls.empty());
    CHECK(target.ask().at("hits") == 0);
  }
  for (const Interpreter& interpreter : interpreters()) {
    if (interpreter.minor() >= 14) continue;
    CAPTURE(interpreter);
    Target target = start(interpreter, {"works"});
    Outcome outcome;
    CHECK(writing_calls(target, command(target.pid(), {"-e", "1"}), outcome).empty());
    CHECK(outcome.status == 5);
    CHECK(contains(outcome.err, "that came with 3.14"));
  }
  for (const Interpreter& interpreter : newer_interpreters()) {
    CAPTURE(interpreter);
    Target target = start(interpreter, {"shuts_down"});
    Outcome outcome;
    CHECK(writing_calls(target, command(target.pid(), {"-e", "1"}), outcome).empty());
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.err, "is shutting down"));
  }
}

TEST_CASE("a process that lies about its structures is not written to", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  using pyscope::Field;
  const auto fields = pyscope::find_layout(static_cast<std::uint8_t>(interpreter.minor()))->fields;
  struct Lie {
    Field field;
    std::uint64_t value;
  };
  for (const Lie lie :
       {Lie{Field::DebuggerEvalBreaker, 32}, Lie{Field::DebuggerPendingCall, 8},
        Lie{Field::DebuggerRemoteDebuggerSupport, 72}, Lie{Field::DebuggerScriptPath, 16},
        Lie{Field::DebuggerRemoteDebuggerSupport, 1U << 20U},
        Lie{Field::DebuggerScriptPathSize, 4096}, Lie{Field::ThreadSize, 800}}) {
    const auto place = std::find(fields.begin(), fields.end(), lie.field) - fields.begin();
    CAPTURE(pyscope::name_of(lie.field), lie.value);
    Target target = start(interpreter, {"lies",
                                        std::to_string(pyscope::DebugOffsets::kHeaderSize +
                                                       8 * static_cast<std::size_t>(place)),
                                        std::to_string(lie.value)});
    Outcome outcome;
    const auto calls = writing_calls(target, command(target.pid(), {"-e", "1"}), outcome);
    CAPTURE(outcome.err, calls);
    CHECK(outcome.status != 0);
    CHECK(calls.empty());
  }
}

TEST_CASE("a process of another user gets a script that this user alone can read", "[live]") {
  constexpr uid_t kUser = 54321;
  const Interpreter interpreter = any_interpreter();
  TargetOptions options;
  options.before_exec = [] {
    if (::setgid(kUser) != 0 || ::setuid(kUser) != 0) ::_exit(99);
  };
  Target target = start(interpreter, {"works"}, options);
  const json owner = exec_json(target.pid(), {"-c", "import os; print(os.getuid())"});
  CHECK(owner.at("status") == 0);
  CHECK(owner.at("stdout") == "54321\n");
  // While a thread is waited for, the file is there.
  Target sleeper = start(interpreter, {"sleeping"}, options);
  REQUIRE(eventually([&] { return task_activity(sleeper.pid()).at(0).state == 'S'; }));
  Child waiting(pyscope_program(command(sleeper.pid(), {"-e", "1", "--timeout", "60s"})));
  REQUIRE(eventually([&] { return !scripts_of(sleeper).empty(); }));
  struct stat info {};
  REQUIRE(::stat(scripts_of(sleeper).front().c_str(), &info) == 0);
  CHECK(info.st_uid == kUser);
  CHECK(info.st_gid == kUser);
  CHECK((info.st_mode & 07777U) == 0600U);
  // Ctrl-C takes the request back.
  REQUIRE(::kill(waiting.pid(), SIGINT) == 0);
  const Outcome outcome = waiting.finish();
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "before the interrupt"));
  CHECK(scripts_of(sleeper).empty());
}

TEST_CASE("a process whose files are read-only is told from one that has a folder", "[live]") {
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to make these namespaces");
    return;
  }
  const bool has_folder = GENERATE(false, true);
  CAPTURE(has_folder);
  Workspace workspace(any_interpreter());
  const std::string view = workspace.inside("view");
  const std::string scratch = workspace.inside("scratch");
  fs::create_directory(workspace.outside("view"));
  fs::create_directory(workspace.outside("scratch"));
  TargetOptions options;
  options.environment = {"TMPDIR=" + scratch + "/"};
  options.before_exec = [view, scratch, has_folder] {
    const auto check = [](bool possible) {
      if (!possible) ::_exit(98);
    };
    check(::unshare(CLONE_NEWNS) == 0);
    check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 || errno == EINVAL);
    check(::mount("/", view.c_str(), nullptr, MS_BIND, nullptr) == 0);
    check(::mount(nullptr, view.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    if (has_folder) {
      check(::mount("none", (view + scratch).c_str(), "tmpfs", 0, nullptr) == 0);
    }
    check(::chroot(view.c_str()) == 0 && ::chdir("/") == 0);
  };
  const std::string program = workspace.inside("exec.py");
  Target target(std::move(workspace), program, {"works"}, options);
  REQUIRE(target.read() == "ready");
  const Outcome outcome = exec(target.pid(), {"-e", "6 * 7"});
  CAPTURE(outcome.err);
  if (has_folder) {
    CHECK(outcome.status == 0);
    CHECK(outcome.out == "42\n");
  } else {
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.err, "Read-only file system"));
  }
  CHECK(target.ask().at("hits") == 0);
}

TEST_CASE("a process in a pid namespace of its own is asked by the PID out here", "[live]") {
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to make these namespaces");
    return;
  }
  TargetOptions options;
  options.before_exec = [] {
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(98);
    const pid_t child = ::fork();
    if (child < 0) ::_exit(97);
    if (child > 0) {
      // Whoever started this waits for the exec, which closes what is left of its descriptors.
      ::close_range(3, ~0U, 0);
      ::waitpid(child, nullptr, 0);
      ::_exit(0);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  };
  Target target = start(any_interpreter(), {"works"}, options);
  std::istringstream children(read_file(fmt::format("/proc/{0}/task/{0}/children", target.pid())));
  pid_t inside = 0;
  REQUIRE(children >> inside);
  const json document = exec_json(
      inside, {"-e", "__import__('os').getpid(), __import__('threading').current_thread().name",
               "--thread", "worker"});
  CHECK(document.at("status") == 0);
  CHECK(document.at("repr") == "(1, 'worker')");
  CHECK(document.at("tid") != 1);
}

TEST_CASE("a user asks the user's own processes, and nobody else's", "[live]") {
  constexpr uid_t kUser = 54321;
  constexpr uid_t kOther = 54322;
  const auto become = [](uid_t user) {
    return [user] {
      if (::setgid(user) != 0 || ::setuid(user) != 0) ::_exit(99);
    };
  };
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to become another user");
    return;
  }
  TargetOptions options;
  options.before_exec = become(kUser);
  Target target = start(any_interpreter(), {"works"}, options);
  // A place where others may start it. That they can't enter the process's root by its path is of
  // no consequence.
  std::string folder = "/tmp/pyscope-live-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string copy = folder + "/pyscope";
  fs::copy_file(pyscope_binary(), copy);
  fs::permissions(folder, fs::perms(0755));
  const auto run_as = [&](uid_t user) {
    Program program = pyscope_program(command(target.pid(), {"-e", "6 * 7"}));
    program.command.front() = copy;
    program.before_exec = become(user);
    return run(program);
  };
  const Outcome own = run_as(kUser);
  CAPTURE(own.err);
  const bool yama = contains(own.err, "ptrace_scope");
  CHECK((own.out == "42\n" || yama));
  const Outcome other = run_as(kOther);
  fs::remove_all(folder);
  CHECK(other.status == 4);
  CHECK(target.ask().at("hits") == 0);
}

TEST_CASE("two at once: one after the other, or told that there is another", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"works"});
  std::vector<Child> children;
  for (int i = 0; i < 4; ++i) {
    children.emplace_back(pyscope_program(
        command(target.pid(), {"-c", "import __main__\n__main__.hits += 1", "--timeout", "40s",
                               "--thread", i % 2 == 0 ? "worker" : "MainThread"})));
  }
  int ran = 0;
  for (Child& child : children) {
    const Outcome outcome = child.finish();
    CAPTURE(outcome.err);
    CHECK(
        (outcome.status == 0 || (outcome.status == 1 && contains(outcome.err, "another script"))));
    ran += outcome.status == 0 ? 1 : 0;
  }
  const json self = target.ask();
  CHECK(self.at("hits") == ran);
  CHECK(ran > 0);
  CHECK(self.at("stdout") == true);
  CHECK(scripts_of(target).empty());

  Target sleeper = start(interpreter, {"sleeping"});
  REQUIRE(eventually([&] { return task_activity(sleeper.pid()).at(0).state == 'S'; }));
  Program program =
      pyscope_program(command(sleeper.pid(), {"-e", "'first'", "--timeout", "60s", "-v"}));
  program.error_file = sleeper.workspace().outside("first");
  Child first(program);
  REQUIRE(eventually([&] { return contains(read_file(program.error_file), "was asked"); }));
  const Outcome second = exec(sleeper.pid(), {"-e", "'second'"});
  CHECK(second.status == 1);
  CHECK(contains(second.err, "another script first"));
  sleeper.child().send("x");
  CHECK(first.finish().out == "'first'\n");
}

TEST_CASE("processes that end or replace their program while they are asked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target replacing = start(interpreter, {"replaces_itself"});
  for (int i = 0; i < 12; ++i) {
    const Outcome outcome = exec(replacing.pid(), {"-e", "'right'", "--timeout", "1s"});
    CAPTURE(outcome.err);
    CHECK(outcome.status != 139);
    if (outcome.status == 0) CHECK(outcome.out == "'right'\n");
  }
  CHECK(::kill(replacing.pid(), 0) == 0);
  CHECK(scripts_of(replacing).empty());
  Target churning = start(interpreter, {"churns"});
  for (int i = 0; i < 12; ++i) {
    const Outcome outcome = exec(
        churning.pid(), {"-e", "'right'", "--timeout", "1s", i % 2 == 0 ? "--all-threads" : "-v"});
    if (outcome.status == 0) CHECK(contains(outcome.out, "'right'\n"));
  }
  CHECK(churning.child().pid() > 0);
  CHECK(eventually([&] { return exec(churning.pid(), {"-e", "1"}).out == "1\n"; }));
  CHECK(scripts_of(churning).empty());
  for (int i = 0; i < 6; ++i) {
    Target ending = start(interpreter, {"ends", fmt::format("0.0{}", i)});
    const Outcome outcome = exec(ending.pid(), {"-e", "'right'"});
    CAPTURE(outcome.err, i);
    if (outcome.status == 0) CHECK(outcome.out == "'right'\n");
    CHECK(ending.child().finish().status == 0);
    CHECK(ending.error_output().empty());
    CHECK(scripts_of(ending).empty());
  }
}

TEST_CASE("a pyscope that is killed leaves nothing behind", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(newer_interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter, {"works"});
  // At moments all over a run, of which one takes some 20 ms.
  for (int i = 0; i < 25; ++i) {
    Child child(pyscope_program(command(
        target.pid(), {"-c", "import __main__\n__main__.hits += 1", "--thread", "worker"})));
    std::this_thread::sleep_for(std::chrono::microseconds(1500) * i);
    child.kill();
  }
  CHECK(eventually([&] { return scripts_of(target).empty(); }));
  CHECK(goes_on(target.pid()));
  // Nobody knows how many of them ran. This one does, as the next one.
  const json before = target.ask();
  REQUIRE(eventually([&] {
    return exec(target.pid(), {"-c", "import __main__\n__main__.hits += 1", "--thread", "worker"})
               .status == 0;
  }));
  CHECK(target.ask().at("hits").get<int>() > before.at("hits").get<int>());
  CHECK(target.ask().at("stdout") == true);

  // While it waits: the guardian takes the request back.
  Target sleeper = start(interpreter, {"sleeping"});
  REQUIRE(eventually([&] { return task_activity(sleeper.pid()).at(0).state == 'S'; }));
  Child waiting(pyscope_program(
      command(sleeper.pid(), {"-c", "import __main__\n__main__.hits += 1", "--timeout", "60s"})));
  REQUIRE(eventually([&] { return !scripts_of(sleeper).empty(); }));
  waiting.kill();
  CHECK(eventually([&] { return scripts_of(sleeper).empty(); }));
  CHECK(goes_on(sleeper.pid()));
  sleeper.child().send("x");
  CHECK(sleeper.read() == "awake");
  CHECK(exec(sleeper.pid(), {"-e", "__import__('__main__').hits"}).out == "0\n");
  CHECK(sleeper.error_output().empty());
}

TEST_CASE("all that exec does to a process is three small writes and a file", "[live]") {
  Target target = start(any_interpreter(), {"works"});
  Outcome outcome;
  const auto calls =
      writing_calls(target, command(target.pid(), {"-e", "1", "--thread", "worker"}), outcome);
  CAPTURE(outcome.err, calls);
  CHECK(outcome.status == 0);
  int writes = 0;
  for (const std::string& call : calls) {
    CAPTURE(call);
    writes += contains(call, "process_vm_writev(") ? 1 : 0;
    const bool known =
        contains(call, fmt::format("process_vm_writev({}, ", target.pid())) ||
        contains(call, "ptrace(PTRACE_SEIZE, ") || contains(call, "ptrace(PTRACE_INTERRUPT, ") ||
        contains(call, "ptrace(PTRACE_GETREGSET, ") || contains(call, "ptrace(PTRACE_DETACH, ") ||
        contains(call, "O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600)") ||
        (contains(call, "unlinkat(") && contains(call, ".pyscope-exec-"));
    CHECK(known);
  }
  CHECK(writes == 3);
}
