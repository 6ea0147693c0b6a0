#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "format/command_line.hpp"
#include "pyscope/command_hint.hpp"
#include "pyscope/render.hpp"

using namespace pyscope;
using Action = CommandHint::Action;

namespace {

std::string words(CommandHint hint, const Invocation& invocation = {}) {
  return render_hint(with_command_hint(ErrorKind::Failed, "", std::move(hint)), invocation);
}

}  // namespace

TEST_CASE("a hint that is plain text stays so", "[format]") {
  CHECK(render_hint({ErrorKind::Failed, "message", "try again"}).c_str() ==
        std::string("try again"));
  CHECK(render_hint({ErrorKind::Failed, "message", ""}).empty());
}

TEST_CASE("a thread's number leads to its process by the verb that was typed", "[format]") {
  const CommandHint hint{.action = Action::ShowThread, .pid = 7, .thread = 8};
  CHECK(words(hint) == "pyscope dump 7 --thread 8");
  CHECK(words(hint, {"/opt/pyscope", {"why", "8"}}) == "pyscope why 7 --thread 8");
  CHECK(words(hint, {"/opt/pyscope", {"inspect", "8", "x"}}) == "pyscope dump 7 --thread 8");
}

TEST_CASE("what tells of other processes names the verb for it", "[format]") {
  CHECK(words({.action = Action::ListProcesses}) == "list the Python processes: pyscope ps");
  CHECK(words({.action = Action::ShowParent, .pid = 7}) == "look at the parent: pyscope dump 7");
  CHECK(words({.action = Action::ListThreads, .pid = 7}) ==
        "list its threads: pyscope dump 7 --frames 1");
}

TEST_CASE("each action has its words", "[format]") {
  for (int action = 0; action <= static_cast<int>(Action::ReadKernelLog); ++action) {
    for (int runtime = 0; runtime <= static_cast<int>(ContainerRuntime::Unknown); ++runtime) {
      CHECK_FALSE(words({.action = static_cast<Action>(action),
                         .pid = 7,
                         .where = {.runtime = static_cast<ContainerRuntime>(runtime)}})
                      .empty());
    }
  }
}

TEST_CASE("a command is what was typed, with another PID where one is meant", "[process]") {
  using Words = std::vector<std::string>;
  CHECK(command_for({"why", "7", "-v"}, 7, 4711) == Words{"why", "4711", "-v"});
  CHECK(command_for({"dump", "--frames", "7", "7"}, 7, 8) == Words{"dump", "--frames", "7", "8"});
  CHECK(command_for({"dump", "--json", "7"}, 7, 8) == Words{"dump", "--json", "8"});
  CHECK(command_for({"dump", "7", "7"}, 7, 8) == Words{"dump", "8"});
  CHECK(command_for({}, 7, 8) == Words{"dump", "8"});
  CHECK(command_for({"dump", "--all"}, 7, 7) == Words{"dump", "--all"});
  CHECK(command_for({"dump", "--all"}, 7, 8) == Words{"dump", "8"});

  CHECK(shell_quote("worker-1") == "worker-1");
  CHECK(shell_quote("") == "''");
  CHECK(shell_quote("a b") == "'a b'");
  CHECK(shell_quote("it's $HOME") == R"('it'\''s $HOME')");
  CHECK(shell_quote("\x1b[31m\n'\\") == R"($'\033[31m\012\'\\')");
  CHECK(shell_quote("queue[0]") == "'queue[0]'");
  CHECK(shell_quote("~root") == "'~root'");
}
