#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pyscope/render.hpp"

using namespace pyscope;
using nlohmann::json;

namespace {

PythonProcess make_process(pid_t pid, std::vector<std::string> command) {
  PythonProcess process;
  process.captured_at = std::chrono::system_clock::time_point(std::chrono::hours(1'000'000));
  process.started_at = process.captured_at - std::chrono::hours(1);
  process.host = "web-3";
  process.pid = pid;
  process.namespace_pid = pid;
  process.parent_pid = 1;
  process.user = "shop";
  process.uid = 1000;
  process.python = PythonBuild{"3.14.8", false, false};
  process.executable = "/usr/bin/python3.14";
  process.threads = 12;
  process.cpu_time_us = 90'000'000;
  process.command = std::move(command);
  return process;
}

}  // namespace

TEST_CASE("a list of processes is a table", "[format]") {
  std::vector<PythonProcess> processes = {
      make_process(7, {"python3", "a.py"}),
      make_process(4711, {"python3", "-m", "shop", "x\x1b[2J"})};
  processes[1].python = PythonBuild{"3.15.0rc1", true, true};
  CHECK(render_text(processes, {}) ==
        " PID  USER  PYTHON       THREADS   CPU         UP  COMMAND\n"
        "   7  shop  3.14.8            12  2.5%  1 h 0 min  python3 a.py\n"
        "4711  shop  3.15.0rc1td       12  2.5%  1 h 0 min  python3 -m shop x\\x1b[2J\n");
  // The columns that say something only now and then.
  processes[0].unit = "shop.service";
  processes[1].container = std::string(64, 'a');
  processes[1].namespace_pid = 1;
  processes[1].user.clear();
  processes[1].refusal = Error{ErrorKind::NotPermitted, "not permitted", "sudo pyscope"};
  processes[1].python.reset();
  CHECK(
      render_text(processes, {}) ==
      " PID  INSIDE  USER  PYTHON  THREADS   CPU         UP  UNIT          READABLE  COMMAND\n"
      "   7       7  shop  3.14.8       12  2.5%  1 h 0 min  shop.service  yes       python3 a.py\n"
      "4711       1  1000  ?            12  2.5%  1 h 0 min  aaaaaaaaaaaa  no        python3 -m "
      "shop x\\x1b[2J\n"
      "\n"
      "not permitted\n"
      "  sudo pyscope\n");
  CHECK(render_text(std::vector<PythonProcess>{}, {}).empty());
}

TEST_CASE("a table of processes is no wider than the terminal", "[format]") {
  const std::vector<PythonProcess> processes = {
      make_process(7, {"python3", std::string(500, 'x')})};
  const std::string text = render_text(processes, {.color = false, .columns = 80});
  const std::string last = text.substr(text.find('\n') + 1);
  CHECK(last.size() == 81);
  // The end of a command tells as much as its beginning.
  CHECK(last.find("python3 xxx") != std::string::npos);
  CHECK(last.find("xxx...xxx") != std::string::npos);
  CHECK(last.ends_with("xxx\n"));
  CHECK(render_text(processes, {}).find("...") == std::string::npos);
}

TEST_CASE("of many processes that can't be read some are told of, and advice is given once",
          "[format]") {
  std::vector<PythonProcess> processes;
  for (pid_t pid = 1; pid <= 100; ++pid) {
    processes.push_back(make_process(pid, {"python3"}));
    processes.back().refusal =
        Error{ErrorKind::NotPermitted, "no " + std::to_string(pid), "run it as root"};
  }
  const std::string text = render_text(processes, {});
  CHECK(text.find("no 8\n") != std::string::npos);
  CHECK(text.find("no 9\n") == std::string::npos);
  CHECK(text.ends_with("and 92 more that can't be read\n"));
  const auto first = text.find("run it as root");
  CHECK(text.find("run it as root", first + 1) == std::string::npos);
}

TEST_CASE("a process in JSON is one line with everything", "[format]") {
  PythonProcess process = make_process(4711, {"python3", "\xff\n"});
  std::string line = render_json(process);
  REQUIRE(line.ends_with("\n"));
  CHECK(line.find('\n') == line.size() - 1);
  json document = json::parse(line);
  CHECK(document.at("schema") == "pyscope.ps/1");
  CHECK(document.at("pid") == 4711);
  CHECK(document.at("user") == "shop");
  CHECK(document.at("readable") == true);
  CHECK(document.at("reason").is_null());
  CHECK(document.at("container").is_null());
  CHECK(document.at("command") == json({"python3", "\\xff\\x0a"}));
  CHECK(document.at("python") ==
        json({{"version", "3.14.8"}, {"free_threaded", false}, {"debug_build", false}}));
  process.python.reset();
  process.user.clear();
  process.refusal = Error{ErrorKind::NotPermitted, "not permitted", "sudo"};
  document = json::parse(render_json(process));
  CHECK(document.at("readable") == false);
  CHECK(document.at("reason") == "not permitted");
  CHECK(document.at("error") ==
        json({{"code", "not_permitted"}, {"message", "not permitted"}, {"hint", "sudo"}}));
  CHECK(document.at("python").is_null());
  CHECK(document.at("user").is_null());
}

TEST_CASE("processes stand below their parents, with what they do", "[format]") {
  std::vector<PythonProcess> processes = {make_process(7, {"/opt/python/bin/python3", "master.py"}),
                                          make_process(8, {"python3", "b.py"}),
                                          make_process(9, {"python3", "worker.py"}),
                                          make_process(10, {"python3", "child.py"})};
  processes[2].parent_pid = 7;
  processes[3].parent_pid = 9;
  processes[0].python_threads = 3;
  processes[0].activity = "idle in a gunicorn worker";
  processes[2].python_threads = 12;
  CHECK(render_text(processes, {}) ==
        "PID  USER  PYTHON  THREADS   CPU         UP  DOING                      COMMAND\n"
        "  7  shop  3.14.8     3/12  2.5%  1 h 0 min  idle in a gunicorn worker  python3 "
        "master.py\n"
        "  9  shop  3.14.8       12  2.5%  1 h 0 min  -                          \\_ python3 "
        "worker.py\n"
        " 10  shop  3.14.8       12  2.5%  1 h 0 min  -                            \\_ python3 "
        "child.py\n"
        "  8  shop  3.14.8       12  2.5%  1 h 0 min  -                          python3 b.py\n");
  CHECK(render_text(processes, {.full = true}).find("  /opt/python/bin/python3 master.py\n") !=
        std::string::npos);
  const json document = json::parse(render_json(processes[0]));
  CHECK(document.at("python_threads") == 3);
  CHECK(document.at("activity") == "idle in a gunicorn worker");
  CHECK(json::parse(render_json(processes[1])).at("activity").is_null());
  // Parents that go in a circle cost no process its line.
  processes[0].parent_pid = 10;
  const std::string circle = render_text(processes, {});
  for (const char* name : {"master.py", "b.py", "worker.py", "child.py"}) {
    CAPTURE(name);
    CHECK(circle.find(name) != std::string::npos);
  }
}
