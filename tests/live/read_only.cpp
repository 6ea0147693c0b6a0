// That nothing is changed is watched from outside: by all system calls that each verb makes.
#include <fmt/format.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

struct Traced {
  Outcome outcome;
  std::vector<std::string> calls;  // "openat(AT_FDCWD, …) = 3"
};

Traced trace(const Workspace& workspace, const std::vector<std::string>& arguments) {
  const std::string log = workspace.outside("strace.log");
  Program program = pyscope_program(arguments, {{"ASAN_OPTIONS=detect_leaks=0"}, nullptr});
  const std::vector<std::string> strace = {"/usr/bin/strace", "-f", "-qq", "-s", "64", "-o", log};
  program.command.insert(program.command.begin(), strace.begin(), strace.end());
  Traced traced{run(program), {}};
  std::istringstream lines(read_file(log));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t space = line.find_first_not_of(' ', line.find(' '));
    if (space == std::string::npos) continue;
    // The ends of calls that were interrupted by another thread's, exits, and signals.
    const std::string call = line.substr(space);
    if (!call.starts_with("<...") && !call.starts_with("+++") && !call.starts_with("---"))
      traced.calls.push_back(call);
  }
  return traced;
}

/// Why a call doesn't belong into a program that reads; empty if it does.
std::string objection(const std::string& call, bool pauses, bool native) {
  static const std::set<std::string> kNever = {"process_vm_writev",
                                               "pwrite64",
                                               "pwritev",
                                               "unlink",
                                               "unlinkat",
                                               "rename",
                                               "renameat",
                                               "renameat2",
                                               "mkdir",
                                               "mkdirat",
                                               "rmdir",
                                               "link",
                                               "linkat",
                                               "symlink",
                                               "symlinkat",
                                               "chmod",
                                               "fchmod",
                                               "fchmodat",
                                               "chown",
                                               "fchown",
                                               "fchownat",
                                               "truncate",
                                               "ftruncate",
                                               "setxattr",
                                               "mount",
                                               "umount2",
                                               "setns",
                                               "unshare",
                                               "bpf",
                                               "perf_event_open",
                                               "pidfd_send_signal",
                                               "pidfd_getfd",
                                               "tkill",
                                               "process_madvise",
                                               "kcmp",
                                               "sendmsg"};
  const std::string name = call.substr(0, call.find('('));
  if (kNever.contains(name)) return "is never made";
  if (name == "ptrace") {
    if (!pauses && !native) return "only with --pause and --native";
    const bool holds = call.starts_with("ptrace(PTRACE_SEIZE, ") ||
                       call.starts_with("ptrace(PTRACE_GETREGSET, ") ||
                       call.starts_with("ptrace(PTRACE_INTERRUPT, ") ||
                       call.starts_with("ptrace(PTRACE_DETACH, ");
    return holds ? "" : "does more than to hold a thread";
  }
  if (name == "open" || name == "openat" || name == "openat2") {
    for (const char* flag : {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"}) {
      if (call.find(flag) != std::string::npos) return "opens a file to write";
    }
    return "";
  }
  if (name == "kill" || name == "tgkill" || name == "rt_sigqueueinfo") {
    // Whether a process is there; it may be cut by another thread's call.
    const bool asks = name == "kill" && (call.find(", 0)") != std::string::npos ||
                                         call.find(", 0 <unfinished") != std::string::npos);
    return asks ? "" : "sends a signal";
  }
  if (name == "socket" && call.find("AF_NETLINK") == std::string::npos) return "talks to somebody";
  return "";
}

}  // namespace

TEST_CASE("no verb changes anything, by the system calls that it makes", "[live]") {
  const Interpreter interpreter = any_interpreter();
  Workspace workspace(interpreter);
  const std::string folder = workspace.inside();
  // Threads that wait for all kinds of things: each of them makes pyscope look at something else.
  Target waiting(std::move(workspace), "waits.py", {folder});
  (void)waiting.read();
  Target stuck(interpreter, "locks.py", {"two"});
  (void)stuck.read();
  Target spinning(interpreter, "processes.py", {"spin_together"});
  REQUIRE(spinning.read() == "ready");
  const std::string waiter = std::to_string(waiting.pid());
  const std::string locked = std::to_string(stuck.pid());
  const std::string busy = std::to_string(spinning.pid());
  const std::vector<std::vector<std::string>> commands = {
      {"dump", waiter},
      {"dump", waiter, "--json", "--locals", "-v"},
      {"dump", locked, "--group"},
      {"dump", busy, "--pause"},
      {"dump", busy, locked, "--pause=all", "--locals"},
      {"dump", locked, busy, "--children", "--json"},
      {"dump", "--match", "locks.py two"},
      {"dump", waiter, "--native=all", "--json"},
      {"dump", busy, "--native=full", "-v"},
      {"why", waiter, "--duration", "100ms"},
      {"why", busy, "--duration", "100ms", "--native"},
      {"why", busy, "--duration", "100ms", "--json"},
      {"inspect", locked, "A", "QUEUE.maxsize"},
      {"inspect", locked, "--list", "threading", "--json"},
      {"inspect", busy, "--pause", "sys.argv"},
      {"tasks", waiter},
      {"tasks", busy, "--pause", "--json"},
      {"ps"},
      {"ps", "--json", "--match", "locks.py"}};
  std::vector<std::string> foreign;
  for (const pid_t pid : {waiting.pid(), stuck.pid(), spinning.pid()}) {
    for (const TaskActivity& task : task_activity(pid))
      foreign.push_back("sched_setaffinity(" + std::to_string(task.tid) + ",");
  }
  for (const auto& command : commands) {
    CAPTURE(command);
    const Traced traced = trace(waiting.workspace(), command);
    CAPTURE(traced.outcome.err);
    CHECK((traced.outcome.status == 0 || traced.outcome.status == 6));
    REQUIRE(traced.calls.size() > 20);
    const auto has = [&](const std::string& option) {
      return std::any_of(command.begin(), command.end(),
                         [&](const std::string& word) { return word.starts_with(option); });
    };
    const bool pauses = has("--pause");
    const bool native = has("--native");
    int programs = 0;
    bool reads_memory = false;
    for (const std::string& call : traced.calls) {
      CAPTURE(call);
      CHECK(objection(call, pauses, native).empty());
      // Of pyscope's own threads, by their tids or as the caller.
      for (const std::string& start : foreign)
        CHECK_FALSE(call.starts_with(start));
      programs += call.starts_with("execve(") ? 1 : 0;
      reads_memory = reads_memory || call.starts_with("process_vm_readv(");
    }
    CHECK(programs == 1);  // itself
    CHECK(reads_memory);
    if (pyscope_is_sanitized()) continue;
    // The filter is set before any process is opened, and nothing that it denies is ever tried.
    const auto first = [&](const std::string& start) {
      return std::find_if(traced.calls.begin(), traced.calls.end(),
                          [&](const std::string& call) { return call.starts_with(start); });
    };
    const auto filter = first("seccomp(SECCOMP_SET_MODE_FILTER");
    REQUIRE(filter != traced.calls.end());
    CHECK(filter < first("pidfd_open("));
    for (auto call = filter + 1; call != traced.calls.end(); ++call) {
      CAPTURE(*call);
      CHECK((call->find("= -1 EPERM") == std::string::npos || call->starts_with("openat")));
    }
  }
}
