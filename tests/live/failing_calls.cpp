// Each system call of each verb fails in turn, as the kernel could let it: strace does that to a
// real pyscope that looks at a real process.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// A call and how it may fail.
struct Failure {
  const char* call;
  const char* error;
};

constexpr Failure kOfReading[] = {{"process_vm_readv", "EFAULT"},
                                  {"process_vm_readv", "EPERM"},
                                  {"process_vm_readv", "ESRCH"},
                                  {"openat", "ENOENT"},
                                  {"openat", "EMFILE"},
                                  {"openat2", "EACCES"},
                                  {"read", "EIO"},
                                  {"pread64", "EIO"},
                                  {"readlinkat", "EACCES"},
                                  {"readlink", "ENOENT"},
                                  {"newfstatat", "ENOMEM"},
                                  {"getdents64", "ENOENT"},
                                  {"pidfd_open", "EMFILE"},
                                  {"fcntl", "EMFILE"},
                                  {"mmap", "ENOMEM"},
                                  {"socket", "EACCES"},
                                  {"sendto", "ECONNREFUSED"},
                                  {"recvfrom", "ENOBUFS"},
                                  {"uname", "EFAULT"},
                                  {"getxattr", "ENOTSUP"},
                                  {"prctl", "EINVAL"},
                                  {"seccomp", "EINVAL"},
                                  {"write", "EIO"}};
constexpr Failure kOfHolding[] = {
    {"ptrace", "EPERM"}, {"ptrace", "ESRCH"}, {"wait4", "ECHILD"},    {"socketpair", "EMFILE"},
    {"clone", "EAGAIN"}, {"mmap", "ENOMEM"},  {"setitimer", "EINVAL"}};

// A verb that makes more of one kind than this has every so-many-eth of them fail.
constexpr std::size_t kMostPositions = 12;

class Strace {
 public:
  explicit Strace(const Workspace& workspace) : log_(workspace.outside("calls.log")) {}

  Outcome run(const std::vector<std::string>& arguments, const std::vector<std::string>& options) {
    Program program = pyscope_program(arguments);
    std::vector<std::string> strace = {"/usr/bin/strace", "-f", "-qq", "-o", log_};
    strace.insert(strace.end(), options.begin(), options.end());
    program.command.insert(program.command.begin(), strace.begin(), strace.end());
    return pyscope::test::run(program);
  }

  struct Count {
    std::size_t before = 0;  // by the loader and the C library, before anything is looked at
    std::size_t all = 0;
  };
  /// How many of each call the last run made.
  [[nodiscard]] std::map<std::string, Count> counts() const {
    std::map<std::string, Count> counts;
    bool begun = false;
    std::istringstream lines(read_file(log_));
    for (std::string line; std::getline(lines, line);) {
      const std::size_t begin = line.find_first_not_of(' ', line.find(' '));
      const std::size_t end = line.find('(');
      if (begin >= end || end == std::string::npos) continue;
      begun = begun || line.find("PR_SET_NO_NEW_PRIVS") != std::string::npos;
      Count& count = counts[line.substr(begin, end - begin)];
      ++count.all;
      if (!begun) ++count.before;
    }
    return counts;
  }

  /// Whether a call of pyscope's was made to fail in the last run: strace counts the calls of each
  /// thread apart, and which thread makes a call differs from run to run. The C library itself asks
  /// for the number of processors, and has an answer when that fails.
  [[nodiscard]] bool injected() const {
    std::istringstream lines(read_file(log_));
    for (std::string line; std::getline(lines, line);) {
      if (line.find("(INJECTED)") == std::string::npos) continue;
      if (line.find("/sys/devices/system/cpu/") == std::string::npos) return true;
    }
    return false;
  }

 private:
  std::string log_;
};

/// The stacks of a dump's verified threads, by their tids.
std::map<pid_t, json> verified_stacks(const json& dump) {
  std::map<pid_t, json> stacks;
  if (!dump.contains("capture")) return stacks;  // an error, or another verb's
  for (const json& thread : dump.at("threads")) {
    if (!thread.value("consistent", false) || thread.contains("error")) continue;
    if (thread.at("truncated") == true) continue;
    json stack = json::array();
    bool whole = true;
    for (const json& frame : python_frames(thread)) {
      whole = whole && !frame.contains("error");
      stack.push_back({frame.value("qualified_name", ""), frame.value("line", json())});
    }
    if (whole) stacks.emplace(thread.at("tid").get<pid_t>(), stack);
  }
  return stacks;
}

/// One document, or one a line. Throws if it is none.
std::vector<json> documents_of(const std::string& text) {
  if (json::accept(text)) return {json::parse(text)};
  return parse_lines(text);
}

void check_outcome(const Outcome& outcome, const std::map<pid_t, json>& truth) {
  CAPTURE(outcome.out, outcome.err, outcome.status);
  // One of those that are promised, and none of a signal.
  REQUIRE(outcome.status >= 0);
  REQUIRE(outcome.status <= 6);
  if (outcome.status != 0 && outcome.status != 6) REQUIRE_FALSE(outcome.err.empty());
  for (const json& document : documents_of(outcome.out)) {
    for (const auto& [tid, stack] : verified_stacks(document)) {
      // Without the names of its thread or module it still is the right one.
      const auto right = truth.find(tid);
      if (right != truth.end()) REQUIRE(stack == right->second);
    }
    if (outcome.status == 0 && document.contains("capture")) {
      REQUIRE(verified_stacks(document).size() == truth.size());
    }
  }
}

/// Has each call that a verb makes fail in turn. PID in its arguments stands for the target's.
void check_whatever_fails(std::vector<std::string> verb) {
  if (pyscope_is_sanitized()) {
    WARN("not tested: the sanitizers make system calls of their own");
    return;
  }
  const Interpreter interpreter = any_interpreter();
  Target target(interpreter, "locks.py", {"sleeping"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const std::string pid = std::to_string(target.pid());
  const auto truth = verified_stacks(dump(target.pid()).json);
  REQUIRE(truth.size() >= 2);
  std::replace(verb.begin(), verb.end(), std::string("PID"), pid);
  CAPTURE(verb);
  const auto has = [&](const char* option) {
    return std::find(verb.begin(), verb.end(), option) != verb.end();
  };
  const bool holds = has("--pause=all");
  Strace strace(target.workspace());
  REQUIRE(strace.run(verb, {}).status == 0);
  const auto counts = strace.counts();
  const bool json_out = has("--json");
  std::vector<Failure> failures(std::begin(kOfReading), std::end(kOfReading));
  if (holds) failures.clear();
  if (holds || has("--native=full")) {
    failures.insert(failures.end(), std::begin(kOfHolding), std::end(kOfHolding));
  }
  std::size_t runs = 0;
  for (const Failure& failure : failures) {
    const auto made = counts.find(failure.call);
    if (made == counts.end()) continue;
    const auto [before, all] = made->second;
    const std::size_t step = 1 + (all - before) / kMostPositions;
    for (std::size_t position = before + 1; position <= all; position += step) {
      CAPTURE(failure.call, failure.error, position);
      Outcome outcome = strace.run(
          verb, {"-e", fmt::format("trace={}", failure.call), "-e",
                 fmt::format("inject={}:error={}:when={}", failure.call, failure.error, position)});
      if (!json_out) outcome.out.clear();  // text
      check_outcome(outcome, truth);
      // What couldn't be opened for want of descriptors is not said to be missing.
      if (strace.injected() && std::string_view(failure.error) == "EMFILE" &&
          failure.call != std::string_view("socketpair")) {
        REQUIRE((outcome.status == 1 || outcome.status == 6));
      }
      ++runs;
    }
  }
  CHECK(runs > (holds ? 5U : 50U));
  // And nothing of it has touched the process.
  CHECK(eventually([&] {
    const auto tasks = task_activity(target.pid());
    return std::all_of(tasks.begin(), tasks.end(),
                       [](const TaskActivity& task) { return task.state == 'S'; });
  }));
  CHECK(verified_stacks(dump(target.pid()).json) == truth);
}

}  // namespace

// Each verb is a case of its own, so that they run side by side.
TEST_CASE("whatever system call fails, variables are dumped as is promised", "[live]") {
  check_whatever_fails({"dump", "PID", "PID", "--locals", "--json"});
}

TEST_CASE("whatever system call fails, all threads are held as is promised", "[live]") {
  check_whatever_fails({"dump", "PID", "PID", "--pause=all", "--json"});
}

TEST_CASE("whatever system call fails, native frames are dumped as is promised", "[live]") {
  check_whatever_fails({"dump", "PID", "--native=full", "--json"});
}

TEST_CASE("whatever system call fails, values are inspected as is promised", "[live]") {
  check_whatever_fails({"inspect", "PID", "A", "QUEUE.maxsize", "--json"});
}

TEST_CASE("whatever system call fails, why ends as it promises", "[live]") {
  check_whatever_fails({"why", "PID", "--duration", "30ms", "--rate", "50"});
}

TEST_CASE("whatever system call fails, tasks ends as it promises", "[live]") {
  check_whatever_fails({"tasks", "PID"});
}

TEST_CASE("whatever system call fails, ps ends as it promises", "[live]") {
  check_whatever_fails({"ps", "--match", "locks.py sleeping", "--json"});
}
