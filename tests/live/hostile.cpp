// Processes that never answer: their memory or files lie where nobody answers for them.
#include <fmt/format.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/silent_files.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// Whether memory that never answers can be had here, by a process as this one.
bool is_ready(Target& target) {
  if (target.read().at("ready") == true) return true;
  WARN("no userfaultfd is to be had here");
  return false;
}

bool says(const json& texts, std::string_view part) {
  return std::any_of(texts.begin(), texts.end(), [&](const json& text) {
    return text.get<std::string>().find(part) != std::string::npos;
  });
}

constexpr const char* kSaid = "the kernel gets no answer";

std::size_t threads_of(pid_t pid) {
  std::error_code error;
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("a line of source on a file system that may never answer is left out, and this is said",
          "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  std::filesystem::create_directory(workspace.outside("dead"));
  const SilentFiles files(workspace.outside("dead"));
  if (!files.mounted()) {
    WARN("no file system can be mounted here");
    return;
  }
  const std::string source = fmt::format("{}/{}", workspace.inside("dead"), SilentFiles::kFile);
  Target target(std::move(workspace), "hostile.py", {"unanswered_source", source});
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid(), {"--timeout", "10"});
  CAPTURE(dumped.err, dumped.json.dump(1));
  CHECK(dumped.status == 0);
  CHECK(says(dumped.json.at("warnings"), "may never answer"));
  CHECK(says(dumped.json.at("warnings"), SilentFiles::kFile));
  bool found = false;
  for (const json& frame : python_frames(dumped.json.at("threads").at(0))) {
    if (frame.at("file") != source) continue;
    found = true;
    CHECK(frame.at("line").is_number());
    CHECK_FALSE(frame.contains("source"));
  }
  CHECK(found);
  const Outcome text = run_pyscope({"dump", std::to_string(target.pid()), "--timeout", "10"});
  CAPTURE(text.out);
  CHECK(text.status == 0);
  CHECK(text.out.find("may never answer") != std::string::npos);
  const Dump without = dump(target.pid(), {"--no-source"});
  CHECK(without.status == 0);
  CHECK(without.json.at("warnings").empty());
}

TEST_CASE("what lies beside memory that never answers is read all the same", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  const std::string kind = GENERATE("unanswered_value", "unanswered_values", "unanswered_name");
  CAPTURE(kind);
  Target target(interpreter, "hostile.py", {kind});
  if (!is_ready(target)) return;
  REQUIRE(all_sleep(target.pid()));
  const std::string pid = std::to_string(target.pid());
  const Dump dumped = dump(target.pid(), {"--locals", "--timeout", "20"});
  CAPTURE(dumped.err, dumped.json.dump(1));
  CHECK(dumped.status == 6);
  CHECK(says(dumped.json.at("warnings"), kSaid));
  const auto frames = python_frames(dumped.json.at("threads").at(0));
  CHECK(frames.size() >= 2);
  if (kind == "unanswered_value") {
    const json& variables = frames.at(0).at("locals");
    const auto after = std::find_if(variables.begin(), variables.end(), [](const json& variable) {
      return variable.at("name") == "after";
    });
    REQUIRE(after != variables.end());
    CHECK(after->at("repr") == "'is read all the same'");
    const Outcome known = run_pyscope({"inspect", pid, "MainThread/0:after", "--timeout", "20"});
    CAPTURE(known.out, known.err);
    CHECK(known.status == 0);
    CHECK(known.out == "'is read all the same'\n");
    CHECK(run_pyscope({"inspect", pid, "MainThread/0:value", "--timeout", "20"}).status == 6);
  }
  const Outcome why = run_pyscope({"why", pid, "--duration", "100ms", "--timeout", "20"});
  CAPTURE(why.out, why.err);
  CHECK((why.status == 0 || why.status == 6));
  const Outcome tasks = run_pyscope({"tasks", pid, "--timeout", "20"});
  CAPTURE(tasks.out, tasks.err);
  CHECK((tasks.status == 0 || tasks.status == 6));
}

TEST_CASE("threads that were held while memory never answered go on", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;
  CAPTURE(interpreter);
  Target target(interpreter, "hostile.py", {"unanswered_name"});
  if (!is_ready(target)) return;
  const Dump dumped = dump(target.pid(), {"--pause=all", "--timeout", "20"});
  CAPTURE(dumped.err, dumped.json.dump(1));
  CHECK(dumped.status == 6);
  CHECK(goes_on(target.pid()));
}

TEST_CASE("a signal ends work that has left memory behind which never answers", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const int signal = GENERATE(SIGINT, SIGTERM);
  if (interpreter.debug()) return;
  CAPTURE(interpreter, signal);
  Target target(interpreter, "hostile.py", {"unanswered_name"});
  if (!is_ready(target)) return;
  Child why(pyscope_program({"why", std::to_string(target.pid()), "--duration", "1h"}));
  // The thread that is left behind, the one that goes on, and the one that watches over it.
  REQUIRE(eventually([&] { return threads_of(why.pid()) >= 3; }));
  ::kill(why.pid(), signal);
  const Outcome outcome = why.finish();
  CAPTURE(outcome.out, outcome.err);
  CHECK((outcome.status == 6 || outcome.status == 128 + signal));
  // One whose work isn't made to end well by a signal is killed by it, whatever it waits for.
  Child dumping(pyscope_program({"dump", std::to_string(target.pid())}));
  REQUIRE(eventually([&] { return threads_of(dumping.pid()) >= 2; }));
  ::kill(dumping.pid(), signal);
  const Outcome killed = dumping.finish();
  CHECK((killed.status == 128 + signal || killed.status == 6));
}

TEST_CASE("a process that never answers costs the others nothing", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string jobs = GENERATE("1", "2");
  if (interpreter.debug()) return;
  CAPTURE(interpreter, jobs);
  Target silent(interpreter, "hostile.py", {"unanswered_name"});
  if (!is_ready(silent)) return;
  Target other(interpreter, "hostile.py", {"escapes"});
  REQUIRE(other.read().at("ready") == true);
  REQUIRE(all_sleep(other.pid()));
  const Outcome outcome =
      run_pyscope({"dump", std::to_string(silent.pid()), std::to_string(other.pid()), "--json",
                   "--jobs", jobs, "--timeout", "3"});
  CAPTURE(outcome.out, outcome.err);
  CHECK(outcome.status == 6);
  bool whole = false;
  for (const json& document : parse_lines(outcome.out)) {
    if (document.at("pid") == other.pid()) whole = document.at("capture").at("consistent");
  }
  CHECK(whole);
}
