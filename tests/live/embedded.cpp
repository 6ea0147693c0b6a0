// Programs that have Python as a library.
#include <string>

#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/oracle.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// Links NAME.c of the workspace with the interpreter's library.
void link_with_python(const Workspace& workspace, const std::string& name) {
  const Interpreter& interpreter = workspace.interpreter();
  const std::string libraries = interpreter.root + "/usr/lib/x86_64-linux-gnu/";
  const Outcome linked =
      run({.command = {"/usr/bin/gcc", "-O1", "-fno-pie", "-no-pie", "-fno-use-linker-plugin",
                       "--sysroot=" + interpreter.root, "-B" + libraries, "-L" + libraries,
                       workspace.outside(name + ".c"),
                       "-lpython3." + std::to_string(interpreter.minor()), "-o",
                       workspace.outside(name)},
           .environment = {"PATH=/usr/bin:/bin"}});
  CAPTURE(linked.err);
  REQUIRE(linked.status == 0);
}

}  // namespace

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
  link_with_python(workspace, "copy");
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

TEST_CASE("of an interpreter that has shut down the threads that are left are told", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.debug()) return;  // they have no such library
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  workspace.write("ended.c",
                  "int pthread_create(unsigned long*, void*, void* (*)(void*), void*);\n"
                  "int pthread_join(unsigned long, void**);\n"
                  "int puts(const char*);\nint fflush(void*);\nint pause(void);\n"
                  "void Py_Initialize(void);\nint Py_FinalizeEx(void);\n"
                  "__attribute__((noinline)) void* linger(void* arg) { pause(); return arg; }\n"
                  "int main(int argc, char** argv) {\n"
                  "  unsigned long thread;\n"
                  "  Py_Initialize();\n"
                  "  pthread_create(&thread, 0, linger, 0);\n"
                  "  if (Py_FinalizeEx() != 0) return 3;\n"
                  "  puts(\"{\\\"ready\\\": true}\");\n"
                  "  fflush(0);\n"
                  "  pthread_join(thread, 0);\n"
                  "  return 0;\n"
                  "}\n");
  link_with_python(workspace, "ended");
  TargetOptions options;
  options.executable = workspace.inside("ended");
  options.environment = {"PYTHONHOME=/usr"};
  Target target(std::move(workspace), "native.py", {}, options);
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(all_sleep(target.pid()));
  const std::string pid = std::to_string(target.pid());
  const Outcome refused = run_pyscope({"dump", pid});
  CAPTURE(refused.out, refused.err);
  CHECK(refused.status == 5);
  CHECK(refused.err.find("which has shut down: no thread of the process can run Python") !=
        std::string::npos);
  const Outcome shown = run_pyscope({"dump", pid, "--native"});
  CAPTURE(shown.out, shown.err);
  CHECK(shown.status == 0);
  CHECK(shown.out.find("interpreter has shut down") != std::string::npos);
  CHECK(shown.out.find(" linger") != std::string::npos);
  const Dump dumped = dump(target.pid(), {"--native"});
  CHECK(dumped.json.at("finalizing") == true);
  REQUIRE(dumped.json.at("threads").size() == 2);
}
