// Verdicts on real situations: what the target knows itself to be in must be what why says.
#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/confinement.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

json why(pid_t pid, const std::vector<std::string>& arguments = {}) {
  std::vector<std::string> all{"why", std::to_string(pid), "--json"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const Outcome outcome = run_pyscope(all);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.status == 0);
  return json::parse(outcome.out);
}

const json& thread(const json& answer, const json& tid) {
  for (const json& candidate : answer.at("threads")) {
    if (candidate.at("tid") == tid) return candidate;
  }
  throw std::runtime_error("no thread " + tid.dump() + " in " + answer.dump());
}

/// All that is said of a thread.
std::string words(const json& judged) {
  std::string all = judged.at("summary");
  for (const json& sentence : judged.at("evidence"))
    all += "\n" + sentence.get<std::string>();
  return all;
}

bool says(const json& judged, const std::string& part) {
  return words(judged).find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("why tells loops from native code and from a recursion that grows", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  const auto judge = [&](const std::string& situation, const std::string& name) {
    Target target(interpreter, "why.py", {situation});
    const json started = target.read();
    json judged;
    // It may take a moment until it is where it stays.
    (void)eventually([&] {
      judged = thread(why(target.pid()), started.at(name));
      return judged.at("verdict") != "progressing" && judged.at("verdict") != "idle";
    });
    return judged;
  };
  const json slow = judge("loops", "slow");
  CAPTURE(words(slow));
  CHECK(slow.at("verdict") == "looping");
  CHECK(says(slow, "looping in slow (why.py)"));
  CHECK(says(slow, "changed: i: "));
  CHECK(says(slow, "changed: total: "));
  CHECK(says(slow, "unchanged: step"));

  const json counts = judge("counts", "count");
  CAPTURE(words(counts));
  CHECK(says(counts, "changed: global turns: "));

  const json module = judge("module_loop", "module");
  CAPTURE(words(module));
  CHECK(says(module, "changed: zz: "));

  const json spin = judge("spins", "spin");
  CAPTURE(words(spin));
  CHECK(spin.at("verdict") == "looping");
  CHECK(says(spin, "spin (why.py"));

  const json endless = judge("endlessly", "endless");
  CAPTURE(words(endless));
  CHECK(endless.at("verdict") == "looping");
  CHECK(says(endless, "no variable of that function changed (limit, seen), and no global"));
  CHECK_FALSE(says(endless, "is endless"));

  const json growing = judge("grows", "growing");
  CAPTURE(words(growing));
  CHECK(growing.at("verdict") == "looping");
  CHECK(says(growing, "recursion that grows"));

  const json native = judge("native", "native");
  CAPTURE(words(native));
  CHECK(native.at("verdict") == "in_native_code");
  CHECK(says(native, "add_up (why.py"));

  const json blocking = judge("blocks_loop", "loop");
  CAPTURE(words(blocking));
  CHECK(blocking.at("verdict") == "sleeping");
  CHECK(says(blocking, "blocks the event loop for at least "));
  CHECK(says(blocking, "sleeping in block (why.py:"));

  // Not the function of the standard library in which it is.
  const json regular = judge("backtracks", "backtrack");
  CAPTURE(words(regular));
  CHECK(regular.at("verdict") == "in_native_code");
  CHECK(regular.at("summary").get<std::string>().ends_with(" called in backtrack (why.py:99)"));
}

TEST_CASE("why looks through an event loop that runs many short callbacks", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "why.py", {"busy_loop"});
  const json started = target.read();
  json loop;
  CHECK(eventually([&] {
    loop = thread(why(target.pid()), started.at("loop"));
    return says(loop, "calls: compute_again (why.py)");
  }));
  CAPTURE(words(loop));
  CHECK(loop.at("verdict") != "looping");
  // Each of many callbacks sleeps for a moment: none blocks the loop for long.
  const json sleeper = thread(why(target.pid()), started.at("sleeper"));
  CAPTURE(words(sleeper));
  CHECK_FALSE(says(sleeper, "blocks the event loop"));
  CHECK_FALSE(says(sleeper, "blocked the event loop"));
}

TEST_CASE("why judges each of the stacks that a thread has in several interpreters", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "subinterpreters.py", {"isolated", "legacy"});
  (void)target.read();
  const json truth = target.ask();
  // Who stands in a call into another interpreter, and in which one: the thread tells its native
  // id wherever it is, and is where the id of the interpreter isn't 0.
  std::map<pid_t, std::int64_t> calls_into;
  std::size_t stacks = 0;
  for (const json& told : truth.at("threads")) {
    ++stacks;
    const auto& inside = told.at("interpreter");
    for (const json& other : truth.at("threads")) {
      if (other.at("tid") == told.at("tid") && inside != 0 && other.at("interpreter") == 0)
        calls_into[told.at("tid")] = inside;
    }
  }
  REQUIRE(calls_into.size() == 2);

  const json answer = why(target.pid(), {"--duration", "100ms"});
  CAPTURE(answer.dump(1));
  CHECK(answer.at("threads").size() == stacks);
  for (const auto& [tid, inside] : calls_into) {
    CAPTURE(tid, inside);
    std::size_t outer = 0;
    std::size_t inner = 0;
    for (const json& judged : answer.at("threads")) {
      if (judged.at("tid") != tid) continue;
      if (judged.at("interpreter") == 0) {
        ++outer;
        CHECK(judged.at("verdict").is_null());
        CHECK(judged.at("summary") == "in a call into interpreter " + std::to_string(inside));
      } else {
        ++inner;
        CHECK(judged.at("interpreter") == inside);
        CHECK(judged.at("verdict") == "waiting_for_io");
        CHECK(says(judged, "wait_here (subinterpreters.py"));
      }
    }
    CHECK(outer == 1);
    CHECK(inner == 1);
  }

  const Dump dumped = dump(target.pid());
  std::size_t threads = 0;
  for (const json& thread : dumped.json.at("threads")) {
    const auto call = calls_into.find(thread.at("tid").get<pid_t>());
    const bool waits_elsewhere = call != calls_into.end() && thread.at("interpreter") == 0;
    CAPTURE(thread.dump(1));
    CHECK(thread.contains("runs_in") == waits_elsewhere);
    if (!waits_elsewhere) {
      ++threads;
      continue;
    }
    CHECK(thread.at("runs_in") == call->second);
    CHECK(thread.at("wait").is_null());
  }
  // The head counts threads of the system.
  const std::string text = run_pyscope({"dump", std::to_string(target.pid())}).out;
  CHECK(text.starts_with(std::to_string(threads) + " threads in 3 interpreters: "));
}

TEST_CASE("why tells a loop that others leave little of the CPU to", "[live]") {
  const Interpreter interpreter = any_interpreter();
  CAPTURE(interpreter);
  TargetOptions on_one_cpu;
  on_one_cpu.before_exec = [] { run_on_cpu(0); };
  Target target(interpreter, "why.py", {"loops"}, on_one_cpu);
  const json started = target.read();
  std::vector<Target> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back(interpreter, "why.py", std::vector<std::string>{"spins"}, on_one_cpu);
    (void)others.back().read();
  }
  const json judged = thread(why(target.pid()), started.at("slow"));
  CAPTURE(words(judged));
  CHECK(judged.at("verdict") == "looping");
  CHECK(says(judged, "could have run for another "));
}

TEST_CASE("why tells who starves for the GIL, and who has it", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "why.py", {"crowd"});
  const json started = target.read();
  const json answer = why(target.pid());
  int starving = 0;
  for (const auto& [name, tid] : started.items()) {
    const json& judged = thread(answer, tid);
    CAPTURE(name, words(judged));
    if (judged.at("verdict") == "waiting_for_gil") {
      ++starving;
      CHECK(says(judged, "had it"));
      CHECK(says(judged, "hungry-"));
    } else {
      CHECK(judged.at("verdict") == "looping");
    }
  }
  CHECK(starving >= 6);
}

TEST_CASE("why tells code in C that keeps the GIL from all others", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "why.py", {"hog"});
  const json started = target.read();
  // It has begun when all others wait for it.
  json answer;
  REQUIRE(eventually([&] {
    answer = why(target.pid(), {"--duration", "500ms"});
    return thread(answer, started.at("hog")).at("verdict") == "in_native_code";
  }));
  // The function that the program wrote, and not one of the library's that it calls.
  CHECK(says(thread(answer, started.at("hog")), "backtrack"));
  for (int i = 0; i < 7; ++i) {
    const json& judged = thread(answer, started.at("hungry-" + std::to_string(i)));
    CAPTURE(i, words(judged));
    CHECK(judged.at("verdict") == "waiting_for_gil");
    CHECK(says(judged, "\"hog\" had it"));
  }
}

TEST_CASE("why tells what a blocked thread waits for", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "why.py", {"waits"});
  const json started = target.read();
  REQUIRE(all_sleep(target.pid()));
  const json answer = why(target.pid(), {"--duration", "300ms"});
  const auto check = [&](const std::string& name, const std::string& verdict,
                         const std::string& part) {
    const json& judged = thread(answer, started.at(name));
    CAPTURE(name, words(judged));
    CHECK(judged.at("verdict") == verdict);
    CHECK(says(judged, part));
  };
  check("tcp", "waiting_for_io", std::to_string(started.at("port").get<int>()));
  check("unix", "waiting_for_io", "unix");
  check("pipe", "waiting_for_io", "pipe");
  check("child", "waiting_for_io", std::to_string(started.at("child_pid").get<int>()));
  check("sleep", "sleeping", "sleeping");
  check("flock", "waiting_for_lock", "locked by");
  check("accept", "idle", "idle in socket.accept");
  check("select", "idle", "idle in select");
}

TEST_CASE("why tells threads that wait for work", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "why.py", {"idle"});
  const json started = target.read();
  REQUIRE(eventually([&] { return all_sleep(target.pid()); }));
  const json answer = why(target.pid(), {"--duration", "300ms"});
  for (const auto& [name, tid] : started.items()) {
    CAPTURE(name, words(thread(answer, tid)));
    CHECK(thread(answer, tid).at("verdict") == "idle");
  }
  int pool = 0;
  for (const json& judged : answer.at("threads")) {
    if (judged.at("name").is_null() || !judged.at("name").get<std::string>().starts_with("pool"))
      continue;
    ++pool;
    CHECK(judged.at("verdict") == "idle");
  }
  CHECK(pool >= 1);
  // In text they are a line for each kind.
  const std::string text =
      run_pyscope({"why", std::to_string(target.pid()), "--duration", "100ms"}).out;
  CAPTURE(text);
  CHECK(text.find("idle in Queue.get") != std::string::npos);
}

TEST_CASE("why follows a lock to what its holder does, and finds deadlocks", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  {
    Target target(interpreter, "why.py", {"held"});
    const json started = target.read();
    REQUIRE(all_sleep(target.pid()));
    const json answer = why(target.pid(), {"--duration", "200ms"});
    const json& waiter = thread(answer, started.at("waiter"));
    CAPTURE(words(waiter));
    CHECK(waiter.at("verdict") == "waiting_for_lock");
    CHECK(
        says(waiter, "held by " + std::to_string(started.at("holder").get<int>()) + " \"holder\""));
    CHECK(says(waiter, "\"holder\" is waiting"));
    CHECK(thread(answer, started.at("holder")).at("verdict") == "waiting_for_io");
    CHECK(answer.at("deadlocks").empty());
  }
  {
    Target target(interpreter, "why.py", {"deadlock"});
    const json started = target.read();
    REQUIRE(all_sleep(target.pid()));
    const json answer = why(target.pid(), {"--duration", "200ms"});
    CHECK(thread(answer, started.at("left")).at("verdict") == "deadlocked");
    CHECK(thread(answer, started.at("right")).at("verdict") == "deadlocked");
    REQUIRE(answer.at("deadlocks").size() == 1);
    CHECK(answer.at("deadlocks")[0].at("cycle").size() == 2);
    const std::string text =
        run_pyscope({"why", std::to_string(target.pid()), "--duration", "100ms"}).out;
    CAPTURE(text);
    CHECK(text.starts_with("Found a deadlock"));
  }
}

TEST_CASE("why calls no healthy busy program deadlocked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string situation = GENERATE("requests", "shared", "tasks");
  CAPTURE(interpreter, situation);
  Target target(interpreter, "why.py", {situation});
  (void)target.read();
  const json answer = why(target.pid(), {"--duration", "500ms"});
  CHECK(answer.at("deadlocks").empty());
  for (const json& judged : answer.at("threads"))
    CHECK(judged.at("verdict") != "deadlocked");
}

TEST_CASE("none of twenty programs that are busy with locks is called deadlocked", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  const std::string program =
      GENERATE("convoy", "ordered", "try_lock", "recursive", "by_hand", "handed_over", "semaphores",
               "bounded", "barrier", "events", "conditions", "chained", "joined", "executor",
               "managed", "stacked", "logged", "imported", "piped", "looped", "children");
  CAPTURE(interpreter, program);
  Target target(interpreter, "healthy.py", {program});
  REQUIRE(target.read() == true);
  const json answer = why(target.pid(), {"--duration", "200ms"});
  CAPTURE(answer.dump());
  CHECK(answer.at("deadlocks").empty());
  for (int i = 0; i < 3; ++i)
    CHECK(dump(target.pid()).json.at("deadlocks").empty());
}

TEST_CASE("why ends early when it is told to, and refuses what it can't do", "[live]") {
  const Interpreter interpreter = interpreters().front();
  Target target(interpreter, "why.py", {"idle"});
  (void)target.read();
  Child child(pyscope_program({"why", std::to_string(target.pid()), "--duration", "1h", "--json"}));
  // Its handler is there as soon as it has taken a sample, which shows in its own CPU time.
  REQUIRE(eventually([&] {
    const std::string status = read_file("/proc/" + std::to_string(child.pid()) + "/status");
    const auto caught = status.find("SigCgt:");
    return caught != std::string::npos &&
           (std::stoull(status.substr(caught + 8, 16), nullptr, 16) & (1U << (SIGINT - 1))) != 0;
  }));
  ::kill(child.pid(), SIGINT);
  const Outcome outcome = child.finish();
  CHECK(outcome.status == 0);
  CHECK(json::parse(outcome.out).at("samples") >= 1);
  CHECK(run_pyscope({"why"}).status == 2);
  CHECK(run_pyscope({"why", "x"}).status == 2);
  CHECK(run_pyscope({"why", "1", "--duration", "x"}).status == 2);
  CHECK(run_pyscope({"why", "1", "--rate", "0"}).status == 2);
  CHECK(run_pyscope({"why", "999999999"}).status == 3);
}
