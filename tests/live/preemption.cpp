// Hot threads are read exactly without stopping them; and each case in which that can't be.
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/confinement.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// A thread that resumes generators, the kind of which two copies hardly ever agree.
Target hot_target(const Interpreter& interpreter, const TargetOptions& options = {}) {
  Target target(interpreter, "torn.py", {"generators"}, options);
  (void)target.read();
  return target;
}

struct Tries {
  int verified = 0;
  int preempted = 0;  // threads
  std::string log;
};

/// Several dumps of a process. Each ends with 0, or 6 where something isn't verified.
Tries dump_often(pid_t pid, int times, const PyscopeOptions& options = {}) {
  Tries tries;
  for (int i = 0; i < times; ++i) {
    const Dump dumped = dump(pid, {"-v"}, options);
    CAPTURE(dumped.err);
    REQUIRE((dumped.status == 0 || dumped.status == 6));
    tries.verified += dumped.status == 0 ? 1 : 0;
    tries.log += dumped.err;
    const json& capture = dumped.json.at("capture");
    CHECK(capture.at("mode") == "running");
    bool preempted = false;
    for (const json& thread : dumped.json.at("threads"))
      preempted = preempted || thread.at("proof") == "preempted";
    tries.preempted += preempted ? 1 : 0;
    if (preempted) CHECK(capture.at("preempted_us") > 0);
  }
  return tries;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool says(const Tries& tries, const std::string& words) {
  return tries.log.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("hot threads are verified without being stopped", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  const Target target = hot_target(interpreter);
  const Tries tries = dump_often(target.pid(), 20);
  CAPTURE(tries.log);
  // On a machine where others want every CPU, now and then one doesn't succeed.
  CHECK(tries.verified >= 18);
  CHECK(tries.preempted >= 15);
}

TEST_CASE("a thread's state is told of the moment of its stack", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const auto arguments =
      GENERATE(values<std::vector<std::string>>({{}, {"--pause"}, {"--pause=all"}, {"--native"}}));
  CAPTURE(interpreter, arguments);
  Target target(interpreter, "states.py");
  REQUIRE(target.read().at("ready") == true);
  int computing = 0;
  int known = 0;
  int threads = 0;
  // Until enough of them were seen to compute.
  for (int i = 0; i < 200 && (i < 10 || computing < 5); ++i) {
    const Dump dumped = dump(target.pid(), arguments);
    CAPTURE(dumped.err);
    REQUIRE((dumped.status == 0 || dumped.status == 6));
    for (const json& thread : dumped.json.at("threads")) {
      CAPTURE(thread.dump(1));
      const auto frames = python_frames(thread);
      if (frames.empty() || thread.at("consistent") == false) continue;
      ++threads;
      known += thread.at("state") != "unknown" ? 1 : 0;
      if (frames.front().at("function") != "compute") continue;
      ++computing;
      CHECK(thread.at("state") != "blocked");
      CHECK(thread.at("wait").is_null());
      CHECK(thread.at("lock").is_null());
    }
  }
  CHECK(computing >= 5);
  CHECK(known > threads / 2);
}

TEST_CASE("on a machine of one CPU hot threads are verified, too", "[live]") {
  TargetOptions on_first;
  on_first.before_exec = [] { run_on_cpu(0); };
  const Target target = hot_target(any_interpreter(), on_first);
  const Tries tries =
      dump_often(target.pid(), 10, {.environment = {}, .before_exec = [] { run_on_cpu(0); }});
  CAPTURE(tries.log);
  CHECK(tries.verified >= 8);
}

TEST_CASE("a CPU that pyscope may not use is told, and hot threads are read otherwise", "[live]") {
  if (std::thread::hardware_concurrency() < 2) {
    WARN("not tested: it takes two CPUs");
    return;
  }
  TargetOptions on_first;
  on_first.before_exec = [] { run_on_cpu(0); };
  const Target target = hot_target(any_interpreter(), on_first);
  const Tries tries =
      dump_often(target.pid(), 5, {.environment = {}, .before_exec = [] { run_on_cpu(1); }});
  CAPTURE(tries.log);
  CHECK(tries.preempted == 0);
  CHECK(says(tries, "it runs on CPU 0, which pyscope may not use"));
}

TEST_CASE("where pyscope may not be pinned, hot threads are read otherwise", "[live]") {
  const Target target = hot_target(any_interpreter());
  const Tries tries = dump_often(
      target.pid(), 5,
      {.environment = {}, .before_exec = [] { refuse_system_call(SYS_sched_setaffinity, EPERM); }});
  CAPTURE(tries.log);
  CHECK(tries.preempted == 0);
  CHECK(says(tries, "sched_setaffinity to CPU "));
  CHECK(says(tries, "Operation not permitted"));
}

TEST_CASE("pyscope takes the CPU of a hot thread for short turns, and leaves the CPU at once",
          "[live]") {
  const Target target = hot_target(any_interpreter());
  const std::string log = target.workspace().outside("strace.log");
  Program program = pyscope_program({"dump", std::to_string(target.pid())},
                                    {{"ASAN_OPTIONS=detect_leaks=0"}, nullptr});
  const std::vector<std::string> strace = {
      "/usr/bin/strace", "-qq", "-o", log, "-e", "trace=sched_setaffinity,sched_setattr,seccomp"};
  program.command.insert(program.command.begin(), strace.begin(), strace.end());
  const Outcome outcome = run(program);
  CAPTURE(outcome.err);
  std::vector<std::vector<int>> affinities;
  bool filtered = false;
  bool short_turns = false;
  std::istringstream calls(read_file(log));
  for (std::string call; std::getline(calls, call);) {
    CAPTURE(call);
    filtered = filtered || contains(call, "seccomp(");
    if (contains(call, "sched_setattr(")) {
      CHECK_FALSE(filtered);
      CHECK(contains(call, "sched_runtime=100000,"));
      short_turns = true;
    } else if (contains(call, "sched_setaffinity(")) {
      std::istringstream cpus(call.substr(call.find('[') + 1));
      affinities.emplace_back();
      for (int cpu; cpus >> cpu;)
        affinities.back().push_back(cpu);
    }
  }
  CHECK(short_turns);
  cpu_set_t allowed;
  REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  std::vector<int> all;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) all.push_back(cpu);
  }
  REQUIRE(!affinities.empty());
  for (std::size_t i = 0; i < affinities.size();) {
    CAPTURE(i, affinities);
    REQUIRE(affinities[i].size() == 1);
    const int pinned = affinities[i++].front();
    if (all.size() > 1) {
      std::vector<int> others = all;
      std::erase(others, pinned);
      REQUIRE(i < affinities.size());
      CHECK(affinities[i++] == others);
    }
    REQUIRE(i < affinities.size());
    CHECK(affinities[i++] == all);
  }
}

TEST_CASE("a thread with a real-time policy keeps its CPU", "[live]") {
  TargetOptions real_time;
  real_time.before_exec = [] {
    const sched_param lowest{.sched_priority = 1};
    // Where it isn't permitted, the thread has the usual policy.
    (void)::sched_setscheduler(0, SCHED_FIFO, &lowest);
  };
  const Target target = hot_target(any_interpreter(), real_time);
  if (::sched_getscheduler(target.pid()) != SCHED_FIFO) {
    WARN("not tested: no real-time policy can be had here");
    return;
  }
  const Tries tries = dump_often(target.pid(), 5);
  CAPTURE(tries.log);
  CHECK(tries.preempted == 0);
  CHECK(says(tries, "its scheduling policy (SCHED_FIFO)"));
}

TEST_CASE("a thread that is moved from CPU to CPU all the time costs no more than its proof",
          "[live]") {
  const Target target = hot_target(any_interpreter());
  std::atomic<bool> ended = false;
  std::thread mover([&] {
    for (unsigned i = 0; !ended; ++i) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(i % std::max(1U, std::thread::hardware_concurrency()), &one);
      for (const TaskActivity& task : task_activity(target.pid()))
        (void)::sched_setaffinity(task.tid, sizeof one, &one);
    }
  });
  const Tries tries = dump_often(target.pid(), 10);
  ended = true;
  mover.join();
  SUCCEED(tries.verified);
}

TEST_CASE("a reader that is killed while it keeps a thread from running leaves nothing behind",
          "[live]") {
  const Target target = hot_target(any_interpreter());
  const auto affinities = [&] {
    std::vector<std::string> all;
    for (const TaskActivity& task : task_activity(target.pid())) {
      cpu_set_t set;
      CPU_ZERO(&set);
      if (::sched_getaffinity(task.tid, sizeof set, &set) == 0)
        all.emplace_back(reinterpret_cast<const char*>(&set), sizeof set);
    }
    return all;
  };
  const auto before = affinities();
  for (int i = 0; i < 10; ++i) {
    Child reader(
        pyscope_program({"dump", "--watch", "1ms", "--json", std::to_string(target.pid())}));
    for (int line = 0; line <= i; ++line)
      (void)reader.read_line();
    reader.kill();
    CHECK(affinities() == before);
  }
  const auto then = task_activity(target.pid());
  CHECK(eventually([&] { return task_activity(target.pid()) != then; }));
  for (const TaskActivity& task : task_activity(target.pid())) {
    CHECK(task.tracer == 0);
    CHECK(task.state != 'T');
  }
}
