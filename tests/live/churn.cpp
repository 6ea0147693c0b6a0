// Targets that end and change all the time, and check their own results while they are dumped.
// PYSCOPE_CHURN=N makes each case N dumps long, for a campaign.
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/legal_stacks.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

int dumps(int usual) {
  const char* wanted = std::getenv("PYSCOPE_CHURN");
  return wanted != nullptr ? std::stoi(wanted) : usual;
}

using Words = std::vector<std::string>;

/// The ways in which a process is asked, in turn. `watched` is a path that `inspect` finds in it.
std::vector<Words> questions(pid_t pid, const std::string& watched) {
  const std::string number = std::to_string(pid);
  return {{"dump", "--json", number},
          {"dump", "--json", "--locals", number},
          {"dump", "--json", "--pause", number},
          {"dump", "--json", "--pause=all", "--locals", number},
          {"dump", "--json", "--children", number},
          {"dump", "--json", "--pause", "--locals", "--children", number},
          {"dump", "--json", "--native", number},
          {"why", "--json", "--duration", "20ms", number},
          {"ps", "--json"},
          {"inspect", "--json", number, watched},
          {"inspect", "--json", "--pause", number, watched},
          {"inspect", "--json", "--watch", "1ms", number, watched},
          {"dump", "--json", "--watch", "1ms", number}};
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Asks; a watch is ended once it has printed some lines.
Outcome ask(const Words& question) {
  if (!has(question, "--watch")) return run_pyscope(question);
  bool ended_by_us = false;
  Child watch(pyscope_program(question));
  constexpr int kLines = 3;
  std::string lines;
  try {
    // The error that it ends with begins with a line of its own.
    for (int i = 0; i < kLines && !lines.ends_with("\n{\n") && lines != "{\n"; ++i)
      lines += watch.read_line() + "\n";
    if (!lines.ends_with("\n{\n") && lines != "{\n") {
      ended_by_us = ::kill(watch.pid(), SIGTERM) == 0;
    }
  } catch (const std::runtime_error&) {
    // What it watches has ended.
  }
  Outcome outcome = watch.finish();
  outcome.out.insert(0, lines);
  // It may have come to its own end before that.
  if (ended_by_us && outcome.status == 128 + SIGTERM) outcome.status = 0;
  return outcome;
}

/// Each line of the output is a document, whatever happened; each status one that is promised.
/// Throws what isn't JSON.
std::vector<json> documents_of(const Outcome& outcome, const std::set<int>& promised) {
  CAPTURE(outcome.status, outcome.out, outcome.err);
  CHECK(promised.contains(outcome.status));
  // `ps` has nothing to list where the only Python of the machine has just ended.
  if (outcome.status == 0 || outcome.status == 6) {
    CHECK((!outcome.out.empty() || outcome.err.find("no Python process") != std::string::npos));
  }
  // One document may have many lines, several have one each.
  if (json::accept(outcome.out)) return {json::parse(outcome.out)};
  std::vector<json> documents;
  std::string one;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) {
    one += line + "\n";
    // What was watched may have ended in an error of many lines.
    if (!line.starts_with(' ') && json::accept(one)) {
      documents.push_back(json::parse(one));
      one.clear();
    }
  }
  CHECK(one.empty());
  return documents;
}

/// Whether some part of a document of `dump` says that it couldn't be read or verified.
bool is_marked(const json& part) {
  if (part.is_object()) {
    for (const std::string key : {"consistent", "complete"}) {
      if (part.contains(key) && part.at(key) == false) return true;
    }
    for (const std::string key : {"error", "locals_changed", "locals_error", "native_error"}) {
      if (part.contains(key)) return true;
    }
  }
  return part.is_structured() && std::any_of(part.begin(), part.end(), is_marked);
}

/// What is checked in the dumps of churn.py, with what was seen: else nothing was tried.
class ChurnDumps {
 public:
  explicit ChurnDumps(const json& callers) : legal_(callers) {}

  /// Everything that is said to be verified must be possible.
  void check(const json& document) {
    CAPTURE(document.dump());
    for (const json& thread : document.at("threads")) {
      if (!thread.value("consistent", false)) {
        CHECK_FALSE(thread.at("inconsistency").is_null());
        ++unverified_;
        continue;
      }
      ++verified_;
      check_stack(thread);
      for (const json& frame : python_frames(thread))
        check_variables(thread, frame);
    }
  }

  [[nodiscard]] int verified() const { return verified_; }
  [[nodiscard]] int unverified() const { return unverified_; }
  [[nodiscard]] int variables() const { return variables_; }

 private:
  void check_stack(const json& thread) {
    const std::vector<json> frames = python_frames(thread);
    std::vector<CalledFrame> stack;
    for (const json& frame : frames) {
      // While an interpreter starts, what it runs may be none of its code objects yet.
      if (frame.at("qualified_name").is_null()) {
        CHECK(frame.contains("error"));
        return;
      }
      stack.push_back({frame.at("qualified_name").get_ref<const std::string&>(),
                       frame.at("file").get_ref<const std::string&>(),
                       frame.at("line").is_null() ? 0 : frame.at("line").get<std::int32_t>()});
    }
    CHECK(legal_.find_fault(stack) == "");
    if (stack.empty() || thread.at("truncated") || thread.at("interpreter") != 0) return;
    CHECK(stack.back().function == LegalStacks::outermost(thread.at("main")));
  }

  /// Variables of one frame belong to one moment, or the frame is marked.
  void check_variables(const json& thread, const json& frame) {
    if (!frame.contains("locals") || frame.contains("locals_changed")) return;
    const auto value = [&](const std::string& name) -> std::optional<std::uint64_t> {
      for (const json& local : frame.at("locals")) {
        if (local.at("name") == name) return std::stoull(local.at("repr").get<std::string>());
      }
      return std::nullopt;
    };
    const std::string& function = frame.at("qualified_name").get_ref<const std::string&>();
    if (function == "compute" && thread.at("name").is_string()) {
      CHECK(thread.at("name") == fmt::format("compute-{}", value("number").value()));
    }
    if (function != "checksum") return;
    ++variables_;
    const auto n = value("n");
    const auto checksum = value("value");
    // Right after the function was entered it has none.
    if (!checksum) {
      CHECK_FALSE(n);
      return;
    }
    const auto& sums = checksums();
    CAPTURE(*checksum, n.value_or(0));
    const bool right =
        !n ? *checksum == sums.at(0) : *checksum == sums.at(*n) || *checksum == sums.at(*n + 1);
    CHECK(right);
  }

  /// `value` in checksum() of churn.py after so many rounds.
  static const std::vector<std::uint64_t>& checksums() {
    static const std::vector<std::uint64_t> sums = [] {
      std::vector<std::uint64_t> all{1};
      for (std::uint64_t n = 0; n < 2000; ++n)
        all.push_back((all.back() * 31 + n) & 0xFFFFFFFFU);
      return all;
    }();
    return sums;
  }

  LegalStacks legal_;
  int verified_ = 0;
  int unverified_ = 0;
  int variables_ = 0;
};

/// Of a process that churn.py runs in: the line of `ps` must not be made of two programs.
const json* line_of(const std::vector<json>& documents, pid_t pid) {
  const auto found = std::find_if(documents.begin(), documents.end(),
                                  [&](const json& line) { return line.at("pid") == pid; });
  return found == documents.end() ? nullptr : &*found;
}

/// The program that it was started as has been replaced by Python.
bool runs_python(pid_t pid) {
  std::error_code none;
  const auto exe = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), none);
  return exe.filename().string().starts_with("python");
}

/// What may be said of a process that replaces its program, or starts or ends.
void check_between_programs(const json& error) {
  const std::string& message = error.at("message").get_ref<const std::string&>();
  const json& code = error.at("code");
  CAPTURE(message);
  // What isn't Python is what was in between; or it hasn't started yet, or is ending.
  if (code == "unsupported") {
    CHECK((message.find("it runs /usr/sbin/chroot") != std::string::npos ||
           message.find("no interpreter is running in it") != std::string::npos ||
           message.find("which has shut down") != std::string::npos ||
           message.find("it is just starting or shutting down") != std::string::npos));
  } else {
    CHECK((code == "no_such_process" || code == "usage"));
  }
}

/// How often each verb ended with which status.
using Statuses = std::map<std::string, std::map<int, int>>;

/// Asks about such a process, and returns the documents that tell of it. That there is none just
/// then is checked, and no document.
std::vector<json> ask_between_programs(const Words& question, pid_t pid, Statuses& statuses) {
  const Outcome outcome = ask(question);
  ++statuses[question.front()][outcome.status];
  std::set<int> promised{0, 3, 5, 6};
  // There was no module yet of which a variable was asked for.
  if (question.front() == "inspect") promised.insert(2);
  std::vector<json> about;
  auto documents = documents_of(outcome, promised);
  for (json& document : documents) {
    CAPTURE(document.dump());
    if (document.at("pid") != pid) continue;
    if (document.contains("error")) {
      check_between_programs(document.at("error"));
    } else {
      about.push_back(std::move(document));
    }
  }
  return about;
}

/// Of verified threads each frame whose name begins with `prefix` must have this name. Returns how
/// many had.
int check_names(const json& document, const std::string& prefix, const std::string& name) {
  int seen = 0;
  for (const json& thread : document.at("threads")) {
    if (!thread.value("consistent", false)) continue;
    for (const json& frame : python_frames(thread)) {
      // While the interpreter starts, what it runs may be none of its code objects yet.
      if (frame.at("qualified_name").is_null()) {
        CHECK(frame.contains("error"));
        continue;
      }
      const std::string& found = frame.at("qualified_name").get_ref<const std::string&>();
      if (!found.starts_with(prefix)) continue;
      CHECK(found == name);
      ++seen;
    }
  }
  return seen;
}

bool all_between(const json& low, const json& values, const json& high) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values.at(i) < low.at(i) || values.at(i) > high.at(i)) return false;
  }
  return true;
}

void report(const std::string& what, const Statuses& statuses) {
  if (std::getenv("PYSCOPE_CHURN") == nullptr) return;
  std::map<int, int> all;
  for (const auto& [verb, counts] : statuses) {
    for (const auto& [status, count] : counts)
      all[status] += count;
  }
  fmt::print("{}: {} {}\n", what, all, statuses);
}

}  // namespace

TEST_CASE("churn: a process that changes all the time is dumped and its results stay right",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string what =
      GENERATE("fork", "threads", "libraries", "interpreters", "garbage", "binary");
  CAPTURE(interpreter, what);
  Workspace place(interpreter);
  TargetOptions options;
  // Its own copy, as it will be replaced.
  if (what == "binary") options.executable = place.copy_executable("python");
  Target target(std::move(place), "churn.py", {what}, options);
  ChurnDumps dumped(target.read().at("callers"));
  Statuses statuses;
  const auto all_questions = questions(target.pid(), "rounds");
  const auto look = [&](std::size_t number) {
    const Words& question = all_questions.at(number % all_questions.size());
    CAPTURE(question);
    const json before = target.ask();
    const Outcome outcome = ask(question);
    const json after = target.ask();
    const std::vector<pid_t> standing = standing_threads(target.pid());
    CAPTURE(standing);
    REQUIRE(standing.empty());
    const std::string& verb = question.front();
    ++statuses[verb][outcome.status];
    const auto documents = documents_of(outcome, {0, 6});
    if (verb == "dump" && documents.size() == 1) {
      CHECK((outcome.status == 6) == is_marked(documents.front()));
    }
    for (const json& document : documents) {
      // Of the children and of the other processes some may end at any moment.
      if (document.contains("error")) {
        CHECK(document.at("pid") != target.pid());
        continue;
      }
      if (verb == "dump" && document.at("command").back() == what) dumped.check(document);
      if (document.at("pid") != target.pid()) continue;
      if (verb == "dump" || verb == "ps") {
        CHECK(document.at("command").back() == what);
        CHECK(document.at("python").at("version") == interpreter.version);
      }
      // Two equal readings of what runs on are no proof, as docs/inspect.md says: numbers are freed
      // and reused for the same ones round after round. Held by all its threads, it is exact.
      if (verb == "inspect" && document.at("consistent") && has(question, "--pause") &&
          what == "garbage") {
        CAPTURE(before, document.dump(), after);
        CHECK(all_between(before, document.at("value"), after));
      }
    }
    if (verb == "ps") {
      const json* line = line_of(documents, target.pid());
      REQUIRE(line != nullptr);
      CHECK(line->at("readable") == true);
    }
  };
  for (int i = 0; i < dumps(13); ++i)
    look(static_cast<std::size_t>(i));
  CHECK(dumped.verified() > 0);
  report(fmt::format("{} {} {} ({} threads verified, {} not; {} pairs of variables)", what,
                     interpreter.version, interpreter.kind, dumped.verified(), dumped.unverified(),
                     dumped.variables()),
         statuses);
  const json before = target.ask();
  json after;
  // All threads make progress.
  CHECK(eventually([&] {
    after = target.ask();
    return after.at(0) > before.at(0) && after.at(1) > before.at(1) && after.at(2) > before.at(2);
  }));
  target.child().close_stdin();
  // Not 70: no result was wrong.
  CHECK(target.child().finish().status == 0);
}

TEST_CASE("churn: a process that becomes another version's again and again is never mixed up",
          "[live]") {
  std::vector<Workspace> workspaces;
  json places = json::array();
  for (const Interpreter& interpreter : interpreters()) {
    if (interpreter.kind != "release" || interpreter.root == "/") continue;
    const Workspace& place = workspaces.emplace_back(interpreter);
    places.push_back({interpreter.root, interpreter.executable, place.inside("churn.py")});
  }
  REQUIRE(places.size() >= 2);
  Program program;
  program.command = {"/bin/sh", "-c", "exec 9</; exec chroot \"$@\"", "sh"};
  for (const json& word : places.at(0))
    program.command.push_back(word);
  program.command.insert(program.command.end(), {"exec", places.dump()});
  program.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  Child child(program);
  // The shell that it begins with is no part of it.
  REQUIRE(eventually([&] { return runs_python(child.pid()); }));
  Statuses statuses;
  std::set<std::string> versions;
  const auto all_questions = questions(child.pid(), "sys.hexversion");
  const auto look = [&](std::size_t number) {
    const Words& question = all_questions.at(number % all_questions.size());
    const std::string& verb = question.front();
    CAPTURE(question);
    std::string minor_seen;
    for (const json& document : ask_between_programs(question, child.pid(), statuses)) {
      CAPTURE(document.dump());
      if (verb == "inspect") {
        // Each of its lines is of the program that it began with.
        const std::string minor = std::to_string(document.at("value").get<int>() >> 16 & 0xFF);
        CHECK((minor_seen.empty() || minor_seen == minor));
        minor_seen = minor;
      }
      if (!document.contains("python") || document.at("python").is_null()) continue;
      const std::string version = document.at("python").at("version");
      const std::string minor = version.substr(2, 2);
      versions.insert(version);
      CHECK(document.at("command").at(0) == "/usr/bin/python3." + minor);
      if (verb == "dump") check_names(document, "exec_", "exec_" + minor);
    }
  };
  for (int i = 0; i < dumps(65); ++i)
    look(static_cast<std::size_t>(i));
  // Else nothing was tried.
  std::size_t more = 0;
  CHECK(eventually([&] {
    look(more++);
    return versions.size() >= 2;
  }));
  report("exec", statuses);
  CHECK(::kill(child.pid(), 0) == 0);
  child.kill();
}

TEST_CASE("churn: a process that becomes another one of the same version is never mixed up",
          "[live]") {
  const Interpreter interpreter = any_interpreter();
  Target target(interpreter, "churn.py", {"again", "0"});
  REQUIRE(eventually([&] { return runs_python(target.pid()); }));
  Statuses statuses;
  int whole = 0;
  const auto all_questions = questions(target.pid(), "sys.argv");
  const auto look = [&](std::size_t number) {
    const Words& question = all_questions.at(number % all_questions.size());
    const std::string& verb = question.front();
    CAPTURE(question);
    std::set<std::string> seen;
    for (const json& document : ask_between_programs(question, target.pid(), statuses)) {
      CAPTURE(document.dump());
      if (verb == "inspect" && document.at("consistent") && document.at("value").is_array()) {
        seen.insert(document.at("value").back());
      }
      if (verb != "dump") continue;
      const std::string number_of_this = document.at("command").back();
      const int parity = std::stoi(number_of_this) % 2;
      whole += check_names(document, "again_", fmt::format("again_{}", parity));
    }
    // Each line of a watch is of the program that it began with.
    CHECK(seen.size() <= 1);
  };
  for (int i = 0; i < dumps(39); ++i)
    look(static_cast<std::size_t>(i));
  std::size_t more = 0;
  CHECK(eventually([&] {
    look(more++);
    return whole > 0;
  }));
  report("exec of the same version", statuses);
  target.child().kill();
}

TEST_CASE("churn: a process that starts and ends is dumped at any moment of its life", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.kind != "release") return;
  CAPTURE(interpreter);
  Statuses statuses;
  const std::array<std::string, 7> ways{
      "return", "exit", "raise", "at once", "signal", "thread", "main thread first"};
  // How long such a life is here, for moments all along it.
  const auto live = [&](const std::string& way, const std::function<void(Target&)>& meanwhile) {
    Target target(interpreter, "churn.py", {"end", way});
    target.child().send("x");
    meanwhile(target);
    const int status = target.child().finish().status;
    const int expected = way == "exit"     ? 3
                         : way == "raise"  ? 1
                         : way == "signal" ? 128 + SIGTERM
                                           : 0;
    CHECK(status == expected);
  };
  const auto begin = std::chrono::steady_clock::now();
  live("return", [](Target&) {});
  const auto whole = std::chrono::steady_clock::now() - begin;
  const int number = dumps(14);
  for (int i = 0; i < number; ++i) {
    const std::string& way = ways.at(static_cast<std::size_t>(i) % ways.size());
    live(way, [&](Target& target) {
      auto all_questions = questions(target.pid(), "sys.argv");
      const Words question =
          all_questions.at(static_cast<std::size_t>(i / 7) % all_questions.size());
      CAPTURE(way, question);
      // Not to wait for something, but to come at another moment each time.
      std::this_thread::sleep_for(whole * i / number);
      for (const json& document : ask_between_programs(question, target.pid(), statuses)) {
        CAPTURE(document.dump());
        if (question.front() == "dump") {
          CHECK(document.at("command").back() == way);
          CHECK(document.at("python").at("version") == interpreter.version);
        }
      }
    });
  }
  report(fmt::format("ends {}", interpreter.version), statuses);
}

TEST_CASE("churn: a PID that is used again is never taken for the old process", "[live]") {
  const Interpreter interpreter = any_interpreter();
  const std::string file = "/proc/sys/kernel/ns_last_pid";
  if (::geteuid() != 0) {
    WARN("not tested: it takes root to choose the next PID");
    return;
  }
  Statuses statuses;
  int used_again = 0;
  const auto once = [&](int i) {
    Target old(interpreter, "processes.py", {"spin"});
    REQUIRE(old.read() == "ready");
    const pid_t pid = old.pid();
    const Words question =
        i % 4 == 3 ? Words{"ps", "--json"} : Words{"dump", "--json", std::to_string(pid)};
    Child reader(pyscope_program(question));
    std::this_thread::sleep_for(std::chrono::microseconds(200) * (i % 20));  // at any moment of it
    old.child().kill();
    write_file(file, std::to_string(pid - 1));
    Target next(interpreter, "processes.py", {"sleep"});
    if (next.pid() == pid) ++used_again;  // else somebody else was faster
    const Outcome outcome = reader.finish();
    ++statuses[question.front()][outcome.status];
    for (const json& document : documents_of(outcome, {0, 3, 5, 6})) {
      if (!document.contains("threads") || !document.at("threads").is_array()) continue;
      const std::string command = document.at("command").back();
      CAPTURE(document.dump());
      for (const json& thread : document.at("threads")) {
        for (const json& frame : python_frames(thread)) {
          if (frame.at("qualified_name").is_null()) continue;
          const std::string name = frame.at("qualified_name");
          if (name == "spin" || name == "sleep") CHECK(name == command);
        }
      }
    }
  };
  for (int i = 0; i < dumps(20); ++i)
    once(i);
  int more = 0;
  CHECK(eventually([&] {
    if (used_again == 0) once(more++);
    return used_again > 0;
  }));
  report(fmt::format("PID used again ({} times)", used_again), statuses);
}
