// Targets in namespaces and roots other than pyscope's, looked at from outside and from inside.

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

constexpr int kNoSuchProcess = 3;
constexpr int kUnsupported = 5;
constexpr int kNotPossible = 98;

/// Waits in a socket of its own network namespace; tells its pid there and the address.
constexpr const char* kReceive =
    "import json, os, socket\n"
    "answer = {'why': [1, 'two']}\n"
    "def receive(link):\n"
    "    return link.recv(1)  # here it waits\n"
    "server = socket.create_server(('127.0.0.1', 0))\n"
    "client = socket.create_connection(server.getsockname())\n"
    "print(json.dumps({'pid': os.getpid(), 'port': client.getsockname()[1]}), flush=True)\n"
    "receive(client)\n";

/// Waits without a network.
constexpr const char* kRead =
    "import json, os\n"
    "answer = {'why': [1, 'two']}\n"
    "def receive(link):\n"
    "    return os.read(link, 1)  # here it waits\n"
    "print(json.dumps({'pid': os.getpid()}), flush=True)\n"
    "receive(0)\n";

/// The innermost of the line of children that begins at a process; its own pid if it has none.
pid_t last_child_of(pid_t parent) {
  for (;;) {
    std::istringstream children(read_file(fmt::format("/proc/{0}/task/{0}/children", parent)));
    pid_t child = 0;
    if (!(children >> child)) return parent;
    parent = child;
  }
}

/// The PIDs of a process by the kernel, ours first.
std::vector<pid_t> pids_of(pid_t pid) {
  const std::string status = read_file(fmt::format("/proc/{}/status", pid));
  const std::string key = "\nNSpid:\t";
  const std::size_t at = status.find(key);
  std::vector<pid_t> pids;
  if (at == std::string::npos) return pids;
  std::istringstream words(
      status.substr(at + key.size(), status.find('\n', at + 1) - at - key.size()));
  for (pid_t number = 0; words >> number;)
    pids.push_back(number);
  return pids;
}

bool is_root() {
  if (::geteuid() == 0) return true;
  WARN("not tested: it takes root to make these namespaces");
  return false;
}

void check(bool possible) {
  if (!possible) ::_exit(kNotPossible);
}

/// Goes on in a child, whose exit status becomes that of the calling process. With `pid`, the child
/// has that one in its innermost pid namespace.
void go_on_in_child(pid_t pid = 0) {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  if (pid != 0) {
    arguments.set_tid = reinterpret_cast<std::uintptr_t>(&pid);
    arguments.set_tid_size = 1;
  }
  const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  check(child >= 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    return;
  }
  // Whoever started this waits for the exec, which closes what is left of its descriptors; and none
  // of its pipes is to be kept open here.
  ::close_range(0, ~0U, 0);
  int status = 0;
  ::waitpid(static_cast<pid_t>(child), &status, 0);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void enter_own_mounts() {
  check(::unshare(CLONE_NEWNS) == 0);
  check(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
}

/// The namespace of another process that is in /proc/PID/ns.
void join(pid_t pid, const char* kind) {
  const pyscope::UniqueFd fd{
      ::open(fmt::format("/proc/{}/ns/{}", pid, kind).c_str(), O_RDONLY | O_CLOEXEC)};
  check(fd && ::setns(fd.get(), 0) == 0);
}

/// What all verbs say of a process that runs one of the programs above.
void check_all_verbs(pid_t pid, const std::string& file, const json& told,
                     const std::function<void()>& before_exec = nullptr) {
  PyscopeOptions options;
  options.before_exec = before_exec;
  const std::string number = std::to_string(pid);
  const Dump dumped = dump(pid, {}, options);
  CAPTURE(dumped.json.dump(1), dumped.err);
  CHECK(dumped.status == 0);
  const json& thread = dumped.json.at("threads").at(0);
  CHECK(thread.at("tid") == pid);
  const auto frames = python_frames(thread);
  REQUIRE(frames.size() == 2);
  CHECK(frames[0].at("function") == "receive");
  CHECK(frames[0].at("file") == file);
  const std::string source = frames[0].value("source", "none");
  CHECK(source.find("# here it waits") != std::string::npos);
  CHECK(dumped.json.at("namespace_pid") == told.at("pid"));
  if (told.at("pid") != pid) {
    CHECK(thread.at("namespace_tid") == told.at("pid"));
    const Outcome text = run_pyscope({"dump", number}, options);
    CHECK(text.out.find(fmt::format("(pid {} in its own namespace)", told.at("pid").get<int>())) !=
          std::string::npos);
  }

  const Outcome inspected = run_pyscope({"inspect", number, "answer", "--json"}, options);
  CAPTURE(inspected.out, inspected.err);
  CHECK(inspected.status == 0);
  CHECK(json::parse(inspected.out).at("value") == json{{"why", {1, "two"}}});

  const Outcome why = run_pyscope({"why", number, "--duration", "100ms", "--json"}, options);
  CAPTURE(why.out, why.err);
  CHECK(why.status == 0);
  const json verdict = json::parse(why.out).at("threads").at(0);
  CHECK(verdict.at("tid") == pid);
  if (told.contains("port")) {
    const std::string address = fmt::format("127.0.0.1:{} -> ", told.at("port").get<int>());
    CHECK(thread.at("wait").at("target").get<std::string>().find(address) != std::string::npos);
    CHECK(verdict.at("verdict") == "waiting_for_io");
    CHECK(verdict.dump().find(address) != std::string::npos);
  }
}

/// Starts one of the programs above by bubblewrap: the interpreter's root is all it sees, and it
/// has namespaces of all kinds.
struct Boxed {
  Workspace workspace;
  Child child;
  json told;
  pid_t pid = 0;
};

std::optional<Boxed> start_in_bubblewrap(const Interpreter& interpreter) {
  Workspace workspace(interpreter);
  const std::string program = workspace.write("receive.py", kReceive);
  Program box{.command = {"/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--ro-bind",
                          interpreter.root, "/", "--proc", "/proc", "--dev", "/dev",
                          interpreter.executable, program}};
  box.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"};
  Child child(box);
  std::string line;
  try {
    line = child.read_line();
  } catch (const std::runtime_error&) {
    WARN("not tested: bubblewrap can't make its namespaces here: " << child.finish().err);
    return std::nullopt;
  }
  const pid_t pid = last_child_of(child.pid());
  json told = json::parse(line);
  REQUIRE(pids_of(pid).back() == told.at("pid"));
  REQUIRE(all_sleep(pid));
  return Boxed{std::move(workspace), std::move(child), std::move(told), pid};
}

}  // namespace

TEST_CASE("a target in namespaces of all kinds is read from outside", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // the same in every respect that matters here
  const auto boxed = start_in_bubblewrap(interpreter);
  if (!boxed) return;
  CHECK(boxed->told.at("pid") != boxed->pid);
  check_all_verbs(boxed->pid, boxed->workspace.inside("receive.py"), boxed->told);
}

TEST_CASE("a sidecar that shares the pid namespace but not the files reads all", "[live]") {
  if (!is_root()) return;
  const auto boxed = start_in_bubblewrap(any_interpreter());
  if (!boxed) return;
  const pid_t inner = boxed->told.at("pid");
  const std::string root = boxed->workspace.interpreter().root;
  const auto beside = [&] {
    // First the files: the namespace of pids belongs to a user namespace that may own less.
    enter_own_mounts();
    join(boxed->pid, "pid");
    go_on_in_child();
    check(::mount("proc", "/proc", "proc", 0, nullptr) == 0);
    check(root == "/" || ::mount("none", root.c_str(), "tmpfs", 0, nullptr) == 0);
  };
  check_all_verbs(inner, boxed->workspace.inside("receive.py"), boxed->told, beside);
}

TEST_CASE("pyscope reads from within the target's user namespace", "[live]") {
  if (!is_root()) return;
  const auto boxed = start_in_bubblewrap(any_interpreter());
  if (!boxed) return;
  const std::string theirs = fs::read_symlink(fmt::format("/proc/{}/ns/user", boxed->pid));
  if (theirs == fs::read_symlink("/proc/self/ns/user").string()) {
    WARN("not tested: bubblewrap makes no user namespace here");
    return;
  }
  check_all_verbs(boxed->pid, boxed->workspace.inside("receive.py"), boxed->told,
                  [&] { join(boxed->pid, "user"); });
}

TEST_CASE("a target on an overlay is read, and so is one whose overlay is gone", "[live]") {
  if (!is_root()) return;
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // the same in every respect that matters here
  const bool gone = GENERATE(false, true);
  CAPTURE(gone);
  if (interpreter.root == "/") return;  // it has no root that could be a layer
  Workspace workspace(interpreter);
  workspace.write("layers/empty", "");
  const std::string layers = workspace.outside("layers");
  const std::string program = workspace.write("read.py", kRead);
  Program layered{.command = {interpreter.executable, program}};
  layered.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"};
  layered.before_exec = [&] {
    enter_own_mounts();
    check(::mount("none", layers.c_str(), "tmpfs", 0, nullptr) == 0);
    for (const char* name : {"/upper", "/work", "/merged"})
      check(::mkdir((layers + name).c_str(), 0755) == 0);
    const std::string merged = layers + "/merged";
    const std::string options = fmt::format("lowerdir={},upperdir={}/upper,workdir={}/work",
                                            interpreter.root, layers, layers);
    check(::mount("none", merged.c_str(), "overlay", 0, options.c_str()) == 0);
    check(::chroot(merged.c_str()) == 0 && ::chdir("/") == 0);
    // The paths that it maps lead nowhere then, from outside.
    check(!gone || ::umount2("/", MNT_DETACH) == 0);
  };
  std::optional<Child> child;
  child.emplace(layered);
  json told;
  try {
    told = json::parse(child->read_line());
  } catch (const std::runtime_error&) {
    const Outcome outcome = child->finish();
    INFO(outcome.err);
    REQUIRE(outcome.status == kNotPossible);
    WARN("not tested: no overlay can be mounted here");
    return;
  }
  REQUIRE(all_sleep(child->pid()));
  check_all_verbs(child->pid(), program, told);
}

TEST_CASE("a PID that a process has inside of a container leads to it", "[live]") {
  if (!is_root()) return;
  // One that nobody has here, or that of a process that isn't Python.
  const bool taken = GENERATE(false, true);
  CAPTURE(taken);
  Child shell(Program{.command = {"/bin/sh", "-c", "echo ready; read line"}});
  REQUIRE(shell.read_line() == "ready");
  // Far from those that are given out next.
  constexpr pid_t kFarAway = 15'000;
  constexpr pid_t kUsualPids = 30'000;
  pid_t inner = taken ? shell.pid() : (::getpid() + kFarAway) % kUsualPids + 1'000;
  while (!taken && (::kill(inner, 0) == 0 || errno != ESRCH))
    --inner;
  Workspace workspace(any_interpreter());
  workspace.write("read.py", kRead);
  TargetOptions options;
  options.before_exec = [&] {
    check(::unshare(CLONE_NEWPID) == 0);
    go_on_in_child();
    go_on_in_child(inner);
  };
  Target target(std::move(workspace), "read.py", {}, options);
  json told;
  try {
    told = target.read();
  } catch (const std::runtime_error&) {
    REQUIRE(target.child().finish().status == kNotPossible);
    WARN("not tested: no pid namespace can be made here, or no PID be chosen in it");
    return;
  }
  const pid_t outer = last_child_of(target.pid());
  REQUIRE(told.at("pid") == inner);
  REQUIRE(pids_of(outer) == std::vector<pid_t>{outer, inner});
  REQUIRE(all_sleep(outer));

  const Outcome outcome = run_pyscope({"inspect", std::to_string(inner), "answer", "--json"});
  CHECK(outcome.status == (taken ? kUnsupported : kNoSuchProcess));
  const json error = json::parse(outcome.out).at("error");
  CHECK(error.at("code") == (taken ? "unsupported" : "no_such_process"));
  CHECK(error.at("message").get<std::string>().find(fmt::format("PID {} exists inside ", inner)) !=
        std::string::npos);
  CHECK(error.at("message").get<std::string>().find(fmt::format("as host PID {} ", outer)) !=
        std::string::npos);
  CHECK(error.at("hint") == fmt::format("pyscope inspect {} answer --json", outer));
  check_all_verbs(outer, target.workspace().inside("read.py"), told);
}
