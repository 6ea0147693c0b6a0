// What blocked threads wait for, compared with what the target knows of it itself.
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "process/unix_peers.hpp"
#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// Whether this kernel tells who is at the other end of a unix socket; it can be built without.
bool kernel_tells_peers() {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const pyscope::UniqueFd first{ends[0]};
  const pyscope::UniqueFd second{ends[1]};
  struct stat info {};
  REQUIRE(::fstat(first.get(), &info) == 0);
  return pyscope::UnixPeers().of(info.st_ino).has_value();
}

Target start(const Interpreter& interpreter) {
  Workspace workspace(interpreter);
  const std::string folder = workspace.inside();
  return {std::move(workspace), "waits.py", {folder}};
}

/// "fd 3 (…), fd 4 (…)" in the order of their numbers: that of an epoll instance is its own.
std::vector<std::string> sorted_list(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(", ", begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 2;
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

void check_wait(const json& thread, const json& expected, bool with_peers) {
  CAPTURE(thread.at("name"), thread.at("wait").dump(), expected.dump());
  CHECK(thread.at("state") == "blocked");
  const json& wait = thread.at("wait");
  REQUIRE(wait.is_object());
  CHECK(wait.at("kind") == expected.at("kind"));
  CHECK(wait.at("syscall") == expected.at("syscall"));
  CHECK(wait.at("fd") == expected.at("fd"));
  if (expected.contains("timeout_us")) {
    // The kernel counts it down where a stop interrupts the call.
    const std::uint64_t most = expected.at("timeout_us");
    CHECK(wait.at("timeout_us") <= most);
    CHECK(wait.at("timeout_us") > most * 9 / 10);
  } else {
    CHECK(wait.at("timeout_us").is_null());
  }
  if (expected.contains("left_us")) {
    // It was to be that much when it began.
    const std::uint64_t most = expected.at("left_us");
    CHECK(wait.at("left_us") <= most);
    CHECK(wait.at("left_us") > most * 9 / 10);
  } else {
    CHECK(wait.at("left_us").is_null());
  }
  if (expected.contains("watched")) {
    CHECK(json(sorted_list(wait.at("target"))) == expected.at("watched"));
  } else if (expected.contains("pattern")) {
    CHECK(wait.at("target").get<std::string>().starts_with(
        expected.at("pattern").get<std::string>()));
  } else if (expected.contains("without_peer") && !with_peers) {
    CHECK(wait.at("target") == expected.at("without_peer"));
  } else {
    CHECK(wait.at("target") == expected.at("target"));
  }
}

}  // namespace

TEST_CASE("each blocked thread says what it waits for", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target = start(interpreter);
  const json expected = target.read();
  REQUIRE(expected.size() >= 30);
  REQUIRE(all_sleep(target.pid()));

  const Dump dumped = dump(target.pid());
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  const bool with_peers = kernel_tells_peers();
  for (const auto& [name, wait] : expected.items())
    check_wait(thread_of(dumped.json, name), wait, with_peers);
  const json& main = thread_of(dumped.json, target.pid());
  CHECK(main.at("wait").at("syscall") == "read");
  CHECK(main.at("wait").at("fd") == 0);
  CHECK(main.at("wait").at("kind") == "pipe");
}

TEST_CASE("the text form says in the heading what a thread waits for", "[live]") {
  Target target = start(any_interpreter());
  const json expected = target.read();
  REQUIRE(all_sleep(target.pid()));
  const std::string pid = std::to_string(target.pid());
  /// Must begin so, behind the name.
  const auto check_heading = [&](const std::string& name, const std::string& begin) {
    const std::string out = run_pyscope({"dump", pid, "--thread", name, "--no-source"}).out;
    const std::string wanted = "\"" + name + "\" (" + begin;
    CHECK(out.substr(std::min(out.find("\"" + name), out.size()), wanted.size()) == wanted);
  };
  const auto check = [&](const std::string& name, const std::string& words) {
    const json& wait = expected.at(name);
    const std::string fd =
        wait.at("fd").is_null() ? "" : " on fd " + std::to_string(wait.at("fd").get<int>());
    check_heading(name, words + fd + ": " + wait.at("target").get<std::string>());
  };
  check("tcp", "blocked in recvfrom");
  check("connect", "blocked in connect");
  check("flock", "blocked in flock");
  check("pipe from child", "blocked in read");
  check("fifo open", "blocked in openat");
  check("wait", "blocked, waiting for a child process");
  check_heading("accept", "blocked, idle in socket.accept)");
  check_heading("lock", "blocked, waiting for threading.Lock ");
  check_heading("sleep", "blocked, sleeping, 16 min ");
}

TEST_CASE("a wait that goes on after the target was stopped is told as before", "[live]") {
  Target target = start(any_interpreter());
  const json expected = target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto is = [&](char state) {
    return eventually([&] {
      const auto tasks = task_activity(target.pid());
      return std::all_of(tasks.begin(), tasks.end(),
                         [&](const TaskActivity& task) { return task.state == state; });
    });
  };
  REQUIRE(::kill(target.pid(), SIGSTOP) == 0);
  REQUIRE(is('T'));
  REQUIRE(::kill(target.pid(), SIGCONT) == 0);
  REQUIRE(all_sleep(target.pid()));
  const json dumped = dump(target.pid()).json;
  const bool with_peers = kernel_tells_peers();
  for (const auto& [name, wait] : expected.items())
    check_wait(thread_of(dumped, name), wait, with_peers);
}

TEST_CASE("hundreds of connections are told apart", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "waits.py", {"connections", "300"});
  const json expected = target.read();
  REQUIRE(expected.size() == 300);
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CHECK(dumped.status == 0);
  for (const auto& [name, wait] : expected.items())
    check_wait(thread_of(dumped.json, name), wait, true);
  const Outcome text = run_pyscope({"dump", std::to_string(target.pid())});
  CHECK(text.out.find("300 threads (blocked in recvfrom, the first on fd ") != std::string::npos);
}

TEST_CASE("sockets are looked up in the target's own network namespace", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  Workspace workspace(interpreter);
  const std::string folder = workspace.inside();
  Target target(std::move(workspace), "waits.py", {"network_namespace", folder});
  const json expected = target.read();
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid());
  CHECK(dumped.status == 0);
  // The kernel tells the peers of unix sockets only within a namespace.
  for (const auto& [name, wait] : expected.items())
    check_wait(thread_of(dumped.json, name), wait, false);
}
