// Threads that are held for a moment: exact stacks, and a target that never notices.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "process/thread_hold.hpp"
#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope;
using namespace pyscope::test;
using nlohmann::json;

namespace {

Target start(const std::string& name, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{name};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Target target(any_interpreter(), "processes.py", arguments);
  REQUIRE(target.read() == "ready");
  return target;
}

std::vector<pid_t> tids(pid_t pid) {
  std::vector<pid_t> all;
  for (const TaskActivity& task : task_activity(pid))
    all.push_back(task.tid);
  return all;
}

char state_of(pid_t tid, pid_t pid) {
  for (const TaskActivity& task : task_activity(pid)) {
    if (task.tid == tid) return task.state;
  }
  return '?';
}

}  // namespace

TEST_CASE("all threads are held and read exactly, and go on", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "processes.py", {"spin_together"});
  REQUIRE(target.read() == "ready");
  for (int i = 0; i < 10; ++i) {
    const Dump dumped = dump(target.pid(), {"--pause=all"});
    CAPTURE(dumped.err, dumped.json.dump());
    CHECK(dumped.status == 0);
    const json& capture = dumped.json.at("capture");
    CHECK(capture.at("mode") == "paused");
    CHECK(capture.at("paused_threads") == 9);
    CHECK(capture.at("paused_us") > 0);
    for (const json& thread : dumped.json.at("threads")) {
      CHECK(thread.at("proof") == "paused");
      // What they did before they were held.
      CHECK(thread.at("os_state") != "t");
    }
  }
  CHECK(goes_on(target.pid()));
  const Outcome text = run_pyscope({"dump", "--pause=all", std::to_string(target.pid())});
  CHECK(text.out.find(", 9 threads paused for ") != std::string::npos);
}

TEST_CASE("a deadlock is seen of whichever thread is asked for, while all are held", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "locks.py", {"two"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const Dump all = dump(target.pid(), {"--pause=all"});
  CAPTURE(all.err, all.json.dump());
  REQUIRE(all.json.at("deadlocks").size() == 1);
  const json& cycle = all.json.at("deadlocks").at(0).at("cycle");
  const std::string tid = std::to_string(cycle.at(0).at("tid").get<int>());
  for (const auto& options :
       std::vector<std::vector<std::string>>{{"--pause=all", "--thread", tid},
                                             {"--pause=all", "--thread", tid, "--frames", "1"},
                                             {"--thread", tid, "--frames", "1"}}) {
    const Dump one = dump(target.pid(), options);
    CAPTURE(one.json.dump());
    CHECK(one.status == 0);
    CHECK(one.json.at("threads").size() == 1);
    REQUIRE(one.json.at("deadlocks").size() == 1);
    CHECK(one.json.at("deadlocks").at(0).at("cycle").size() == cycle.size());
  }
}

TEST_CASE("variables are those of the moment in which all threads are held", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "processes.py", {"spin_together"});
  REQUIRE(target.read() == "ready");
  for (int i = 0; i < 10; ++i) {
    const Dump dumped = dump(target.pid(), {"--pause=all", "--locals"});
    CAPTURE(dumped.err, dumped.json.dump());
    CHECK(dumped.status == 0);
    CHECK(dumped.json.dump().find("locals_changed") == std::string::npos);
  }
  CHECK(goes_on(target.pid()));
}

TEST_CASE("only threads that can not be verified are held", "[live]") {
  Target target = start("sleep");
  const Dump dumped = dump(target.pid(), {"--pause"});
  CHECK(dumped.status == 0);
  CHECK(dumped.json.at("capture").at("mode") == "running");
  CHECK(dumped.json.at("capture").at("paused_us") == 0);
}

TEST_CASE("a PID may follow the option to pause, which takes no other value than all", "[live]") {
  Target target = start("sleep");
  CHECK(run_pyscope({"dump", "--pause", std::to_string(target.pid())}).status == 0);
  const Outcome wrong = run_pyscope({"dump", "--pause=some", std::to_string(target.pid())});
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find("--pause: takes no value, or all, not 'some'") != std::string::npos);
}

TEST_CASE("a process that was stopped stays stopped when it is paused", "[live]") {
  Target target = start("count_signals");
  REQUIRE(::kill(target.pid(), SIGSTOP) == 0);
  const auto all_stopped = [&] {
    const auto tasks = task_activity(target.pid());
    return std::all_of(tasks.begin(), tasks.end(),
                       [](const TaskActivity& task) { return task.state == 'T'; });
  };
  REQUIRE(eventually(all_stopped));
  const Dump dumped = dump(target.pid(), {"--pause=all"});
  CHECK(dumped.status == 0);
  CHECK(dumped.json.at("capture").at("paused_threads") == 4);
  CHECK(eventually(all_stopped));
  REQUIRE(::kill(target.pid(), SIGCONT) == 0);
  CHECK(goes_on(target.pid()));
}

TEST_CASE("a process that a debugger holds is dumped without being paused", "[live]") {
  Target target = start("sleep");
  REQUIRE(::ptrace(PTRACE_SEIZE, target.pid(), nullptr, nullptr) == 0);
  const Dump dumped = dump(target.pid(), {"--pause=all", "-v"});
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  CHECK(dumped.json.at("capture").at("paused_threads") == 0);
  CHECK(dumped.err.find("can't be held") != std::string::npos);
  REQUIRE(::ptrace(PTRACE_INTERRUPT, target.pid(), nullptr, nullptr) == 0);
  int status = 0;
  REQUIRE(::waitpid(target.pid(), &status, __WALL) == target.pid());
  CHECK(dump(target.pid(), {"--pause=all"}).status == 0);
  REQUIRE(::ptrace(PTRACE_DETACH, target.pid(), nullptr, nullptr) == 0);
}

TEST_CASE("no signal is lost or made by a pause", "[live]") {
  Target target = start("count_signals");
  int sent = 0;
  for (int i = 0; i < 40; ++i) {
    for (int n = 0; n < 5; ++n) {
      REQUIRE(::kill(target.pid(), SIGRTMIN) == 0);
      ++sent;
    }
    CHECK(dump(target.pid(), {"--pause=all"}).status == 0);
  }
  CHECK(eventually([&] { return target.ask() == std::to_string(sent); }));
}

TEST_CASE("threads that come and go do not disturb a pause", "[live]") {
  Target target = start("churn");
  for (int i = 0; i < 40; ++i) {
    const Dump dumped = dump(target.pid(), {"--pause=all"});
    CAPTURE(dumped.err, dumped.json.dump());
    CHECK((dumped.status == 0 || dumped.status == 6));
    CHECK(thread_of(dumped.json, "steady").at("proof") == "paused");
  }
  CHECK(goes_on(target.pid()));
}

TEST_CASE("a thread that can not be stopped costs no other anything", "[live]") {
  const Workspace place(any_interpreter());
  Target target = start("uninterruptible", {place.inside("fifo")});
  REQUIRE(eventually([&] {
    const auto tasks = task_activity(target.pid());
    return std::any_of(tasks.begin(), tasks.end(),
                       [](const TaskActivity& task) { return task.state == 'D'; });
  }));
  const Dump dumped = dump(target.pid(), {"--pause=all"});
  CAPTURE(dumped.json.dump());
  CHECK(dumped.status == 0);
  CHECK(thread_of(dumped.json, "sleeper").at("proof") == "paused");
  const json& spawner = thread_of(dumped.json, "MainThread");
  CHECK(spawner.at("os_state") == "D");
  CHECK(spawner.at("proof") != "paused");
  CHECK(spawner.at("consistent") == true);
  // Once its child is there to open the other end, it goes on as if nothing had been.
  UniqueFd other;
  CHECK(eventually([&] {
    other = UniqueFd{::open(place.outside("fifo").c_str(), O_WRONLY | O_NONBLOCK)};
    return static_cast<bool>(other);
  }));
  CHECK(goes_on(target.pid()));
}

namespace {

/// While it lives, processes whose parent has ended become children of this one.
class Subreaper {
 public:
  Subreaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
  Subreaper(const Subreaper&) = delete;
  Subreaper& operator=(const Subreaper&) = delete;
  ~Subreaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }

  /// Reaps what has ended of the group; true if nothing is left of it.
  [[nodiscard]] static bool has_ended(pid_t group) {
    pid_t reaped = 0;
    do {
      reaped = ::waitpid(-group, nullptr, WNOHANG | __WALL);
    } while (reaped > 0);
    return reaped < 0 && errno == ECHILD;
  }
};

}  // namespace

TEST_CASE("a reader that is killed at any moment leaves no thread standing", "[live]") {
  // PYSCOPE_KILLS=N kills it N times, for a campaign.
  const char* wanted = std::getenv("PYSCOPE_KILLS");
  const std::size_t kills = wanted != nullptr ? std::stoul(wanted) : 40;
  // Some threads compute and check their results, others come and go.
  Target target(any_interpreter(), "churn.py", {"threads", "4"});
  (void)target.read();
  const std::string number = std::to_string(target.pid());
  const auto begin = std::chrono::steady_clock::now();
  CHECK(run_pyscope({"dump", "--pause=all", number}).status != 1);
  const auto whole = std::chrono::steady_clock::now() - begin;
  const Subreaper subreaper;
  const auto stands = [&] { return !standing_threads(target.pid()).empty(); };

  std::mt19937 chance(1);  // NOLINT(cert-msc51-cpp): the same moments in each run
  std::uniform_real_distribution<double> part(0, 1);
  std::size_t killed = 0;
  std::size_t killed_while_held = 0;
  std::vector<std::chrono::microseconds> times;  // from the kill until all were seen to run
  constexpr std::array<const char*, 3> kWays{"--pause=all", "--pause", "--native"};
  const auto kill_one = [&](std::size_t i) {
    PyscopeOptions options;
    options.before_exec = [] { ::setpgid(0, 0); };
    Child reader(pyscope_program({"dump", kWays.at(i % kWays.size()), number}, options));
    const pid_t group = reader.pid();
    const auto moment = std::chrono::steady_clock::now() +
                        std::chrono::duration_cast<std::chrono::nanoseconds>(whole * part(chance));
    bool held = false;
    if (i / 3 % 2 == 0) {
      // Not to wait for something, but to come at another moment each time.
      std::this_thread::sleep_until(moment);
    } else {
      // While it holds them, if that is seen in time.
      while (!held && std::chrono::steady_clock::now() < moment)
        held = stands();
    }
    // Alone, or with the process that holds the threads for it.
    const auto kill_at = std::chrono::steady_clock::now();
    ::kill(i / 6 % 2 == 0 ? group : -group, SIGKILL);
    // The first look after which none stood any more. Whoever could still stop one has ended then.
    std::optional<std::chrono::steady_clock::time_point> all_run;
    const auto look = [&] {
      const bool standing = stands();
      held = held || standing;
      if (standing) all_run.reset();
      if (!standing && !all_run) all_run = std::chrono::steady_clock::now();
    };
    siginfo_t ended{};
    REQUIRE(eventually([&] {
      look();
      return ::waitid(P_PID, static_cast<id_t>(group), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
             ended.si_pid == group;
    }));
    const bool was_killed = reader.finish().status == 128 + SIGKILL;
    CAPTURE(i, was_killed, held);
    REQUIRE(eventually([&] {
      const bool nobody_left = Subreaper::has_ended(group);
      look();
      return nobody_left && all_run;
    }));
    if (!was_killed) return;
    ++killed;
    if (held) ++killed_while_held;
    times.push_back(std::chrono::duration_cast<std::chrono::microseconds>(*all_run - kill_at));
    // Each thread of it goes on with what it did, and is right.
    const json before = target.ask();
    REQUIRE(eventually([&] {
      const json after = target.ask();
      for (std::size_t n = 0; n < before.size(); ++n) {
        if (after.at(n) <= before.at(n)) return false;
      }
      return true;
    }));
    REQUIRE_FALSE(stands());
  };
  // Some have ended before; and if none was killed while it held a thread, nothing was tried.
  std::size_t tries = 0;
  while ((killed < kills || killed_while_held == 0) && tries < 10U * kills)
    kill_one(tries++);
  CHECK(killed >= kills);
  CHECK(killed_while_held > 0);
  if (wanted != nullptr) {
    std::sort(times.begin(), times.end());
    fmt::print(
        "killed {} times, {} of them while threads were held; all ran on after {} us, in half of "
        "the cases after {} us; {} took longer than 100 ms\n",
        killed, killed_while_held, times.back().count(), times[times.size() / 2].count(),
        std::count_if(times.begin(), times.end(),
                      [](const auto& time) { return time > std::chrono::milliseconds(100); }));
  }
  target.child().close_stdin();
  CHECK(target.child().finish().status == 0);
}

TEST_CASE("threads are let go when whoever holds them is killed", "[live]") {
  Target target = start("count_signals");
  std::array<int, 2> told{};
  REQUIRE(::pipe(told.data()) == 0);
  const pid_t reader = ::fork();
  if (reader == 0) {
    const auto hold =
        ThreadHold::stop(tids(target.pid()), {std::chrono::seconds(5), std::chrono::seconds(60)});
    const char held = hold && hold->holds(target.pid()) ? 'y' : 'n';
    if (::write(told[1], &held, 1) == 1) ::pause();
    ::_exit(0);
  }
  char held = 0;
  REQUIRE(::read(told[0], &held, 1) == 1);
  CHECK(held == 'y');
  CHECK(state_of(target.pid(), target.pid()) == 't');
  REQUIRE(::kill(reader, SIGKILL) == 0);
  CHECK(goes_on(target.pid()));
  REQUIRE(::waitpid(reader, nullptr, 0) == reader);
  ::close(told[0]);
  ::close(told[1]);
}

TEST_CASE("a holder that is killed before all threads stand is not waited for", "[live]") {
  const Workspace place(any_interpreter());
  Target target = start("uninterruptible", {place.inside("fifo")});
  const auto has_task_in = [&](char state) {
    const auto tasks = task_activity(target.pid());
    return std::any_of(tasks.begin(), tasks.end(),
                       [&](const TaskActivity& task) { return task.state == state; });
  };
  REQUIRE(eventually([&] { return has_task_in('D'); }));
  const pid_t reader = ::fork();
  if (reader == 0) {
    const auto hold =
        ThreadHold::stop(tids(target.pid()), {std::chrono::hours(1), std::chrono::hours(1)});
    ::_exit(hold ? 0 : 1);
  }
  // One thread stands, and the holder waits for the other one.
  CHECK(eventually([&] { return has_task_in('t'); }));
  const auto children = fmt::format("/proc/{0}/task/{0}/children", reader);
  const pid_t holder = std::stoi("0" + read_file(children));
  REQUIRE(holder > 0);
  REQUIRE(::kill(holder, SIGKILL) == 0);
  int status = -1;
  CHECK(eventually([&] { return ::waitpid(reader, &status, WNOHANG) == reader; }));
  CHECK(status == 0);
  if (status == -1) {
    ::kill(reader, SIGKILL);
    ::waitpid(reader, nullptr, 0);
  }
  const UniqueFd other{::open(place.outside("fifo").c_str(), O_WRONLY | O_NONBLOCK)};
  CHECK(goes_on(target.pid()));
}

TEST_CASE("threads are let go when the time is up", "[live]") {
  Target target = start("count_signals");
  auto hold = ThreadHold::stop(tids(target.pid()),
                               {std::chrono::seconds(5), std::chrono::milliseconds(50)});
  REQUIRE(hold);
  CHECK(hold->holds(target.pid()));
  CHECK(goes_on(target.pid()));
  const auto release = hold->release();
  CHECK_FALSE(release.in_time);
  CHECK(release.held >= std::chrono::milliseconds(50));
}

TEST_CASE("what can not be held is said to be so", "[live]") {
  Target target = start("count_signals");
  std::vector<pid_t> wanted = tids(target.pid());
  constexpr pid_t kNobody = 0x3fffffff;
  wanted.push_back(kNobody);
  auto hold = ThreadHold::stop(tids(target.pid()), {});
  REQUIRE(hold);
  auto second = ThreadHold::stop(wanted, {});
  REQUIRE(second);
  CHECK_FALSE(second->holds(target.pid()));
  // The first one's holder has them.
  std::istringstream children(read_file(fmt::format("/proc/{0}/task/{0}/children", ::getpid())));
  const std::set<std::string> own{std::istream_iterator<std::string>(children), {}};
  const std::string refusal = second->refusal(target.pid());
  const std::string traced = "it is traced by process ";
  REQUIRE(refusal.starts_with(traced));
  CHECK(own.contains(refusal.substr(traced.size())));
  CHECK(second->refusal(kNobody) == "it ended");
  CHECK(second->refusal(kNobody - 1).empty());
  CHECK_FALSE(second->holds(kNobody));
  (void)second->release();
  CHECK(hold->release().in_time);
  CHECK(goes_on(target.pid()));
}
