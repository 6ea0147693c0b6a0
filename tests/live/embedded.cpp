// Programs that have Python as a library.
#include <string>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/oracle.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

TEST_CASE("an interpreter is read whose program has a copy of _PyRuntime", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;  // they have no such library
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  // A program that refers to _PyRuntime itself, as Nuitka's do, gets it by a copy relocation.
  workspace.write("copy.c",
                  "extern char _PyRuntime[];\n"
                  "int Py_BytesMain(int, char**);\n"
                  "int main(int argc, char** argv) {\n"
                  "  return _PyRuntime[0] == 0 ? 3 : Py_BytesMain(argc, argv);\n"
                  "}\n");
  const std::string libraries = interpreter.root + "/usr/lib/x86_64-linux-gnu/";
  const Outcome linked = run(
      {.command = {"/usr/bin/gcc", "-O1", "-fno-pie", "-no-pie", "-fno-use-linker-plugin",
                   "--sysroot=" + interpreter.root, "-B" + libraries, "-L" + libraries,
                   workspace.outside("copy.c"), "-lpython3." + std::to_string(interpreter.minor()),
                   "-o", workspace.outside("copy")},
       .environment = {"PATH=/usr/bin:/bin"}});
  CAPTURE(linked.err);
  REQUIRE(linked.status == 0);
  TargetOptions options;
  options.executable = workspace.inside("copy");
  options.environment = {"PYTHONHOME=/usr"};
  Target target(std::move(workspace), "native.py", {"without_library"}, options);
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  const Dump folded = dump(target.pid(), {"--native"});
  CHECK(folded.status == 0);
  const json truth = target.ask();
  CHECK(difference(dumped.json, truth) == "");
  CHECK(difference(folded.json, truth) == "");
  for (const json& thread : folded.json.at("threads")) {
    CAPTURE(thread.at("tid").dump());
    CHECK_FALSE(thread.contains("native_error"));
    CHECK_FALSE(thread.contains("native_note"));
  }
}
