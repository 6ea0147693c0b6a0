// Names of source files and the lines that are read from them.

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

constexpr const char* kBlockingScript =
    "import oracle, stacks\n"
    "oracle.serve_in_background()\n"
    "stacks.block()\n";

/// The innermost frame of the thread that runs code of this file.
json innermost(const json& dump, const std::string& file) {
  for (const json& thread : dump.at("threads")) {
    json frame = python_frames(thread).front();
    if (frame.at("file") == file) return frame;
  }
  FAIL("no thread is in " << file);
  return {};
}

bool is_function(const json& frame, const std::string& name) {
  return frame.at("qualified_name") == name;
}

json frame_of(const json& thread, const std::string& qualified_name) {
  for (const json& frame : python_frames(thread)) {
    if (is_function(frame, qualified_name)) return frame;
  }
  FAIL("no frame " << qualified_name << " in " << thread.dump());
  return {};
}

}  // namespace

TEST_CASE("a file is found and its lines are shown whatever its name is", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string name =
      GENERATE(as<std::string>(), "a plain name.py", "new\nline\tand tab.py", "Größe 日本語.py",
               "🐍 𝒳.py", "latin-1 \xe9\xff.py", "half of it \xf0\x9f.py", "\x1b[31mred\u202e.py",
               "%s {0}.py", "\\x1b.py", "no suffix", "back\\slash/in a folder.py");
  CAPTURE(interpreter, name);
  Workspace workspace(interpreter);
  const std::string path = workspace.write(name, kBlockingScript);
  Target target(std::move(workspace), path);
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  const json script = frame_of(thread_of(dump, target.pid()), "<module>");
  CHECK(script.at("line") == 3);
  CHECK(script.value("source", "none") == "stacks.block()");
}

TEST_CASE("modules of a zip application are shown without source lines", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  workspace.write("app/__main__.py", "import helper\n\nhelper.go()\n");
  workspace.write("app/helper.py",
                  "import oracle, stacks\n\n\ndef go():\n"
                  "    oracle.serve_in_background()\n    stacks.block()\n");
  const std::string path = workspace.inside("app.pyz");
  Target zip(interpreter, "", {"-m", "zipapp", workspace.inside("app"), "-o", path});
  REQUIRE(zip.child().finish().status == 0);
  Target target(std::move(workspace), path);
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  const json helper = frame_of(thread_of(dump, target.pid()), "go");
  CHECK(helper.at("file") == path + "/helper.py");
  CHECK(helper.at("line") == 6);
  CHECK_FALSE(helper.contains("source"));
}

TEST_CASE("frozen modules are shown with the names that Python gives them", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const std::string setting = GENERATE(as<std::string>(), "on", "off");
  CAPTURE(interpreter, setting);
  Target target(interpreter, "", {"plain_calls"},
                {.flags = {"-X", "frozen_modules=" + setting, "-m", "stacks"}});
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  const json runpy = frame_of(thread_of(dump, target.pid()), "_run_module_as_main");
  const std::string file = runpy.at("file");
  CAPTURE(file);
  CHECK(file.starts_with('<') == (setting == "on"));
  CHECK(runpy.contains("source") == (setting == "off"));
}

TEST_CASE("a relative file name is followed from the directory of the process", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  workspace.write("relative.py", "import stacks\nstacks.block()  # the right line\n");
  workspace.write("empty/file", "");
  const bool stays = GENERATE(true, false);
  CAPTURE(stays);
  const std::string directory = workspace.inside(stays ? "" : "empty");
  Target target(std::move(workspace), "names.py", {"executed_in", directory, "relative.py"});
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  const auto frames = python_frames(thread_of(dump, target.pid()));
  REQUIRE(frames.size() > 2);
  CHECK(frames[1].at("file") == "relative.py");
  CHECK(frames[1].at("line") == 2);
  CHECK(frames[1].value("source", "none") == (stays ? "stacks.block()  # the right line" : "none"));
}

TEST_CASE("a file that changed after the start is marked and its lines are not shown", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  const bool replaced = GENERATE(false, true);
  CAPTURE(interpreter, replaced);
  Workspace workspace(interpreter);
  const std::string path = workspace.write("changing.py", kBlockingScript);
  Target target(std::move(workspace), path);
  REQUIRE(target.read().at("ready") == true);
  REQUIRE(frame_of(thread_of(check_against_truth(target), target.pid()), "<module>").at("source") ==
          "stacks.block()");

  // A file's time has the kernel's own granularity, which is below 10 ms, and the start of the
  // process is known to 10 ms: the change has to come later than that.
  const std::string outside = target.workspace().outside("changing.py");
  REQUIRE(eventually([&] {
    write_file(outside + ".new", "a = 1\nb = 2\nfire_the_missiles()\n");
    if (replaced) {
      std::filesystem::rename(outside + ".new", outside);
    } else {
      write_file(outside, read_file(outside + ".new"));
    }
    return frame_of(thread_of(dump(target.pid()).json, target.pid()), "<module>")
        .contains("source_changed");
  }));

  const json script = frame_of(thread_of(check_against_truth(target), target.pid()), "<module>");
  CHECK(script.at("source_changed") == true);
  CHECK_FALSE(script.contains("source"));
  const Outcome text = run_pyscope({"dump", std::to_string(target.pid())});
  CHECK(text.status == 0);
  CHECK(text.out.find("missiles") == std::string::npos);
  CHECK(text.out.find("changed") != std::string::npos);
}

TEST_CASE("what is no regular file inside of the root is never read for a source line", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  const auto outside = [&](const std::string& name) { return workspace.outside(name); };
  REQUIRE(::mkfifo(outside("fifo").c_str(), 0644) == 0);
  const pyscope::UniqueFd fifo{::open(outside("fifo").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  REQUIRE(::write(fifo.get(), "secret\n", 7) == 7);
  REQUIRE(::mkfifo(outside("fifo without a writer").c_str(), 0644) == 0);
  workspace.write("folder/file", "");
  workspace.write("huge", "");
  REQUIRE(::truncate(outside("huge").c_str(), off_t{1} << 40) == 0);
  std::filesystem::create_symlink("loop", outside("loop"));
  std::filesystem::create_symlink("fifo", outside("to the fifo"));
  std::filesystem::create_symlink("/dev/zero", outside("to a device"));
  std::filesystem::create_symlink("/proc/self/environ", outside("to the environment"));
  const pyscope::UniqueFd socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  outside("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  // The kernel's interface asks for this cast.
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);

  std::vector<std::string> names{"/dev/zero",
                                 "/dev/random",
                                 "/dev/tty",
                                 "/dev/stdin",
                                 "/proc/self/environ",
                                 "/proc/self/mem",
                                 "/proc/1/environ",
                                 "/proc/kmsg",
                                 "/",
                                 "",
                                 ".",
                                 "..",
                                 "<stdin>",
                                 "<frozen os>",
                                 "/" + std::string(300, 'y')};
  for (const char* name :
       {"fifo", "fifo without a writer", "folder", "huge", "loop", "to the fifo", "to a device",
        "to the environment", "socket", "does not exist", "fifo/below a file"}) {
    names.push_back(workspace.inside(name));
  }
  std::vector<std::string> arguments{"executed_as"};
  arguments.insert(arguments.end(), names.begin(), names.end());
  Target target(std::move(workspace), "names.py", arguments);
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  for (const std::string& name : names) {
    CAPTURE(name);
    const json frame = innermost(dump, name);
    CHECK(frame.at("file") == name);
    CHECK(frame.at("line") == 1);
    CHECK_FALSE(frame.contains("source"));
  }
  std::string content(16, '\0');
  CHECK(::read(fifo.get(), content.data(), content.size()) == 7);
  CHECK(run_pyscope({"dump", std::to_string(target.pid())}).status == 0);
}

TEST_CASE("links are followed inside of the root of the process", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  workspace.write("real", "the first line\n");
  const std::string real = workspace.inside("real");
  std::filesystem::create_symlink(real, workspace.outside("absolute"));
  std::filesystem::create_symlink("./real", workspace.outside("relative"));
  std::filesystem::create_symlink("../../../../../../../../../.." + real,
                                  workspace.outside("above the root"));
  std::filesystem::create_symlink("/", workspace.outside("root"));
  // Outside of the target's root, by a path that exists only there.
  std::filesystem::create_symlink(workspace.outside("real"), workspace.outside("of the host"));
  std::filesystem::create_symlink(PYSCOPE_TEST_PROGRAMS "/oracle.py",
                                  workspace.outside("of the tests"));
  const std::vector<std::string> inside{workspace.inside("absolute"),
                                        workspace.inside("relative"),
                                        workspace.inside("above the root"),
                                        workspace.inside("root") + real,
                                        "/../../../../.." + real,
                                        "real",
                                        "./folder/../real"};
  const std::vector<std::string> outside{workspace.inside("of the host"),
                                         workspace.inside("of the tests"),
                                         PYSCOPE_TEST_PROGRAMS "/oracle.py"};
  workspace.write("folder/file", "");
  std::vector<std::string> arguments{"executed_as"};
  arguments.insert(arguments.end(), inside.begin(), inside.end());
  arguments.insert(arguments.end(), outside.begin(), outside.end());
  const bool has_own_root = interpreter.root != "/";
  Target target(std::move(workspace), "names.py", arguments);
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  for (const std::string& name : inside) {
    CAPTURE(name);
    CHECK(innermost(dump, name).value("source", "none") == "the first line");
  }
  for (const std::string& name : outside) {
    CAPTURE(name);
    CHECK(innermost(dump, name).contains("source") != has_own_root);
  }
}

TEST_CASE("source lines are shown harmlessly and without end", "[live]") {
  const Interpreter& interpreter = any_interpreter();
  Workspace workspace(interpreter);
  workspace.write("hostile", "\t x = '\x1b[31m\x07\u202e' \x9b \xff\xed\xa0\x80 # é🐍\r\nsecond");
  workspace.write("long", std::string(3'000'000, 'x') + "\nsecond");
  workspace.write("marked",
                  "\xEF\xBB\xBF"
                  "first = 1\n");
  workspace.write("empty", "");
  const std::vector<std::string> names{workspace.inside("hostile"), workspace.inside("long"),
                                       workspace.inside("marked"), workspace.inside("empty")};
  Target target(std::move(workspace), "names.py",
                {"executed_as", names[0], names[1], names[2], names[3]});
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  CHECK(innermost(dump, names[0]).value("source", "none") ==
        R"(x = '\x1b[31m\x07\u202e' \x9b \xff\ud800 # é🐍)");
  const std::string long_line = innermost(dump, names[1]).value("source", "none");
  CHECK(long_line.size() > 100);
  CHECK(long_line.size() < 10'000);
  CHECK(innermost(dump, names[2]).value("source", "none") == "first = 1");
  CHECK_FALSE(innermost(dump, names[3]).contains("source"));
}

TEST_CASE("a file name with a nul byte shows no line of the file before it", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "names.py", {"name_with_nul"});
  REQUIRE(target.read().at("ready") == true);
  const json dump = check_against_truth(target);
  const json frame = frame_of(thread_of(dump, target.pid()), "name_with_nul.<locals>.function");
  CHECK(frame.at("file") == target.workspace().inside("names.py") + R"(\x00.txt)");
  CHECK_FALSE(frame.contains("source"));
}
