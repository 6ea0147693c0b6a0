#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "pyscope/render.hpp"
#include "unit/format_snapshot.hpp"

using namespace pyscope;
using namespace pyscope::test;
using nlohmann::json;
using nlohmann::ordered_json;
using namespace std::string_literals;

namespace {

json parsed(const Snapshot& snapshot) {
  const std::string compact = render_json(snapshot, JsonStyle::Compact);
  const std::string pretty = render_json(snapshot, JsonStyle::Pretty);
  REQUIRE(compact.ends_with("}\n"));
  REQUIRE(pretty.ends_with("}\n"));
  REQUIRE(compact.find('\n') == compact.size() - 1);
  REQUIRE(pretty.starts_with("{\n  \"schema\""));
  // nlohmann's parser also refuses text that isn't valid UTF-8.
  REQUIRE(json::parse(compact) == json::parse(pretty));
  return json::parse(compact);
}

Snapshot full_snapshot() {
  Snapshot snapshot = make_snapshot();
  snapshot.started_at = snapshot.captured_at - std::chrono::seconds(6);
  snapshot.interpreters = {Interpreter{0, 4711, false}};
  Thread thread = make_thread(4711, "MainThread", ThreadState::Blocked);
  thread.ident = 140245551234880;
  thread.os_name = "python3";
  thread.main = true;
  thread.cpu_time_us = 51234;
  thread.wait = Wait{.kind = "socket",
                     .system_call = "recvfrom",
                     .fd = 12,
                     .target = "tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established",
                     .timeout_us = 2'000'000,
                     .left_us = {}};
  Frame frame = with_source(snapshot, add_frame(snapshot, "Store.fetch", "/srv/app/store.py", 42),
                            "        row = self.sock.recv(4096)\r", 15, 38);
  thread.frames = {frame, shim()};
  snapshot.threads = {thread};
  return snapshot;
}

}  // namespace

TEST_CASE("a document has the fields of the contract in their order", "[format]") {
  auto expected = ordered_json::parse(R"js({
    "schema": "pyscope.dump/1",
    "pyscope": null,
    "captured_at": "2026-01-02T03:04:05.678901Z",
    "host": "web-3",
    "pid": 4711,
    "namespace_pid": 4711,
    "command": ["python3", "app.py"],
    "executable": "/usr/bin/python3.14",
    "started_at": "2026-01-02T03:03:59.678901Z",
    "python": {"version": "3.14.8", "free_threaded": false, "debug_build": false},
    "finalizing": false,
    "summary": "1 thread: blocked in Store.fetch (app/store.py:42)",
    "advice": [],
    "capture": {"mode": "running", "consistent": true, "complete": true, "attempts": 1,
                "duration_us": 812, "advice": null, "preempted_us": 0, "one_instant": false, "paused_us": 0, "paused_threads": 0},
    "interpreters": [{"id": 0, "gil_held_by": 4711, "collecting_garbage": false}],
    "threads": [{
      "tid": 4711, "ident": 140245551234880, "name": "MainThread", "os_name": "python3",
      "interpreter": 0, "main": true,
      "state": "blocked", "holds_gil": false, "waits_for_gil": false,
      "os_state": "S", "cpu_time_us": 51234,
      "wait": {"kind": "socket", "syscall": "recvfrom", "fd": 12,
               "target": "tcp 127.0.0.1:43210 -> 127.0.0.1:5432 established",
               "timeout_us": 2000000, "left_us": null},
      "lock": null,
      "activity": "blocked in Store.fetch (app/store.py:42)", "verdict": "waiting_for_io",
      "consistent": true, "proof": "gil", "truncated": false,
      "frames": [{
        "kind": "python", "function": "fetch", "qualified_name": "Store.fetch",
        "file": "/srv/app/store.py", "line": 42, "end_line": 42, "column": 15, "end_column": 38,
        "source": "row = self.sock.recv(4096)"
      }, {"kind": "shim"}]
    }],
    "deadlocks": [], "warnings": []
  })js");
  const Snapshot snapshot = full_snapshot();
  const auto document = ordered_json::parse(render_json(snapshot, JsonStyle::Compact));
  CHECK(document["pyscope"].get<std::string>().find('.') == 1);
  expected["pyscope"] = document["pyscope"];
  CHECK(document.dump() == expected.dump());
  CHECK(parsed(snapshot) == json::parse(expected.dump()));
}

TEST_CASE("facts that are not known are null", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.python.debug_build.reset();
  snapshot.namespace_pid = 0;
  Thread thread;
  thread.consistent = true;
  thread.frames = {add_frame(snapshot, "f", "/a.py", 1)};
  thread.frames[0].position = {};
  snapshot.threads = {thread};
  const json document = parsed(snapshot);
  CHECK(document["started_at"].is_null());
  CHECK(document["namespace_pid"].is_null());
  CHECK(document["python"]["debug_build"].is_null());
  CHECK(document["interpreters"][0]["gil_held_by"].is_null());
  for (const auto* field : {"tid", "name", "os_name", "holds_gil", "waits_for_gil", "os_state",
                            "cpu_time_us", "wait"}) {
    CAPTURE(field);
    REQUIRE(document["threads"][0].contains(field));
    CHECK(document["threads"][0][field].is_null());
  }
  CHECK(document["threads"][0]["state"] == "unknown");
  CHECK_FALSE(document["threads"][0].contains("namespace_tid"));
  for (const auto* field : {"line", "end_line", "column", "end_column"}) {
    CAPTURE(field);
    REQUIRE(document["threads"][0]["frames"][0].contains(field));
    CHECK(document["threads"][0]["frames"][0][field].is_null());
  }
  CHECK_FALSE(document["threads"][0]["frames"][0].contains("source"));
}

TEST_CASE("of a wait the unknown is null", "[format]") {
  Snapshot snapshot = full_snapshot();
  snapshot.threads[0].wait = Wait{"futex", "futex", {}, "", {}, 5};
  CHECK(parsed(snapshot)["threads"][0]["wait"] == json{{"kind", "futex"},
                                                       {"syscall", "futex"},
                                                       {"fd", nullptr},
                                                       {"target", nullptr},
                                                       {"timeout_us", nullptr},
                                                       {"left_us", 5}});
}

TEST_CASE("every state has its name", "[format]") {
  Snapshot snapshot = make_snapshot();
  for (const auto state : {ThreadState::Running, ThreadState::WaitingForGil, ThreadState::Blocked,
                           ThreadState::Unknown}) {
    snapshot.threads.push_back(make_thread(1, "t", state));
  }
  const json document = parsed(snapshot);
  CHECK(document["threads"][0]["state"] == "running");
  CHECK(document["threads"][1]["state"] == "waiting_for_gil");
  CHECK(document["threads"][1]["waits_for_gil"] == true);
  CHECK(document["threads"][2]["state"] == "blocked");
  CHECK(document["threads"][3]["state"] == "unknown");
}

TEST_CASE("errors stand where they happened", "[format]") {
  Snapshot snapshot = full_snapshot();
  Frame bad;
  bad.error = "code object at 0x10: not readable";
  Thread& thread = snapshot.threads[0];
  thread.frames.push_back(bad);
  thread.error = "cut short";
  thread.truncated = true;
  thread.consistent = false;
  thread.inconsistency = "it ran on";
  snapshot.capture.consistent = false;
  snapshot.warnings = {"careful"};
  const json document = parsed(snapshot);
  const json& read = document["threads"][0];
  CHECK(read["error"] == json{{"code", "partial"}, {"message", "cut short"}});
  CHECK(read["truncated"] == true);
  CHECK(read["consistent"] == false);
  CHECK(read["inconsistency"] == "it ran on");
  CHECK(read["frames"][2] ==
        json{{"kind", "python"},
             {"function", nullptr},
             {"qualified_name", nullptr},
             {"file", nullptr},
             {"line", nullptr},
             {"end_line", nullptr},
             {"column", nullptr},
             {"end_column", nullptr},
             {"error", {{"code", "partial"}, {"message", "code object at 0x10: not readable"}}}});
  CHECK(document["capture"]["consistent"] == false);
  CHECK(document["warnings"] == json::array({"careful"}));
  thread.inconsistency.clear();
  CHECK(parsed(snapshot)["threads"][0]["inconsistency"].is_null());
}

TEST_CASE("the thread id of another pid namespace is given where there is one", "[format]") {
  Snapshot snapshot = full_snapshot();
  CHECK_FALSE(parsed(snapshot)["threads"][0].contains("namespace_tid"));
  snapshot.threads[0].namespace_tid = 7;
  CHECK(parsed(snapshot)["threads"][0]["namespace_tid"] == 7);
  // The numbers can be equal by chance in a namespace that is another one.
  snapshot.threads[0].namespace_tid = 4711;
  snapshot.namespace_pid = 1;
  CHECK(parsed(snapshot)["threads"][0]["namespace_tid"] == 4711);
}

TEST_CASE("a changed source file is noted in place of the line", "[format]") {
  Snapshot snapshot = full_snapshot();
  snapshot.sources[0] = {"", true};
  const json frame = parsed(snapshot)["threads"][0]["frames"][0];
  CHECK(frame["source_changed"] == true);
  CHECK_FALSE(frame.contains("source"));
}

TEST_CASE("variables that are not all there say so", "[format]") {
  Snapshot snapshot = full_snapshot();
  Locals locals;
  locals.variables.push_back({.name = "x", .type = "int", .repr = "1"});
  snapshot.threads[0].frames[0].locals = static_cast<std::uint32_t>(snapshot.locals.size());
  snapshot.locals.push_back(locals);
  const auto frame = [&] { return parsed(snapshot)["threads"][0]["frames"][0]; };
  CHECK_FALSE(frame().contains("locals_error"));
  CHECK(exit_status(snapshot) == 0);
  snapshot.locals.back().complete = false;
  CHECK(frame().at("locals_error") == "not all of them could be read");
  CHECK(render_text(snapshot, TextOptions{}).find("[not all of them could be read]") !=
        std::string::npos);
  CHECK(exit_status(snapshot) == 6);
}

TEST_CASE("a tab within a source line stays a tab", "[format]") {
  Snapshot snapshot = full_snapshot();
  snapshot.sources[0].text = "\tx =\t1\x1b[0m \f";
  CHECK(parsed(snapshot)["threads"][0]["frames"][0]["source"] == "x =\t1\\x1b[0m");
}

TEST_CASE("integers are exact to the last bit", "[format]") {
  Snapshot snapshot = full_snapshot();
  snapshot.threads[0].ident = std::numeric_limits<std::uint64_t>::max();
  snapshot.threads[0].cpu_time_us = 9'007'199'254'740'993;  // 2^53 + 1
  snapshot.threads[0].interpreter = std::numeric_limits<std::int64_t>::min();
  const json thread = parsed(snapshot)["threads"][0];
  CHECK(thread["ident"].get<std::uint64_t>() == std::numeric_limits<std::uint64_t>::max());
  CHECK(thread["cpu_time_us"].get<std::uint64_t>() == 9'007'199'254'740'993);
  CHECK(thread["interpreter"].get<std::int64_t>() == std::numeric_limits<std::int64_t>::min());
}

TEST_CASE("a target that was held is said to have been paused", "[format]") {
  Snapshot snapshot = full_snapshot();
  snapshot.capture.paused_us = 432;
  snapshot.capture.paused_threads = 2;
  snapshot.capture.attempts = 3;
  snapshot.finalizing = true;
  const json document = parsed(snapshot);
  CHECK(document["capture"]["mode"] == "paused");
  CHECK(document["capture"]["paused_us"] == 432);
  CHECK(document["capture"]["paused_threads"] == 2);
  CHECK(document["capture"]["attempts"] == 3);
  CHECK(document["finalizing"] == true);
}

TEST_CASE("times before the epoch and with few digits are well formed", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.captured_at = std::chrono::system_clock::time_point(std::chrono::microseconds(-1));
  snapshot.started_at = std::chrono::system_clock::time_point(std::chrono::microseconds(7));
  CHECK(parsed(snapshot)["captured_at"] == "1969-12-31T23:59:59.999999Z");
  CHECK(parsed(snapshot)["started_at"] == "1970-01-01T00:00:00.000007Z");
  snapshot.captured_at = std::chrono::system_clock::time_point::min();
  CHECK(parsed(snapshot)["captured_at"] == "1677-09-21T00:12:43.145224Z");
}

TEST_CASE("whatever a target puts into its text the document is valid and safe", "[format]") {
  const std::string evil = "\x1b[0m\"\\\n\0\u202e\xff\xed\xb2\x80\xf0\x9f"s;
  const std::string safe = R"(\x1b[0m"\\x0a\x00\u202e\xff\udc80\xf0\x9f)";
  Snapshot snapshot = make_snapshot();
  snapshot.host = evil;
  snapshot.command = {evil, ""};
  snapshot.executable = evil;
  snapshot.python.version = evil;
  snapshot.warnings = {evil};
  Thread thread = make_thread(1, evil, ThreadState::Blocked);
  thread.os_name = evil;
  thread.wait = Wait{evil, evil, 3, evil, {}, {}};
  thread.os_state = '\xff';
  thread.consistent = false;
  thread.inconsistency = evil;
  thread.error = evil;
  Frame frame = with_source(snapshot, add_frame(snapshot, evil, evil, 1), evil, 0, 3);
  frame.error = evil;
  thread.frames = {frame};
  snapshot.threads = {thread};
  const json document = parsed(snapshot);
  CHECK(document["host"] == safe);
  CHECK(document["command"] == json::array({safe, ""}));
  CHECK(document["executable"] == safe);
  CHECK(document["python"]["version"] == safe);
  CHECK(document["warnings"][0] == safe);
  const json& read = document["threads"][0];
  CHECK(read["name"] == safe);
  CHECK(read["os_name"] == safe);
  CHECK(read["os_state"].is_null());
  CHECK(read["wait"]["kind"] == safe);
  CHECK(read["wait"]["syscall"] == safe);
  CHECK(read["wait"]["target"] == safe);
  CHECK(read["inconsistency"] == safe);
  CHECK(read["error"]["message"] == safe);
  CHECK(read["frames"][0]["function"] == safe);
  CHECK(read["frames"][0]["qualified_name"] == safe);
  CHECK(read["frames"][0]["file"] == safe);
  CHECK(read["frames"][0]["source"] == safe);
  CHECK(read["frames"][0]["error"]["message"] == safe);
}

TEST_CASE("a snapshot that makes no sense gives a valid document", "[format]") {
  Snapshot snapshot = make_snapshot();
  snapshot.pid = -5;
  snapshot.interpreters[0].gil_held_by = -1;
  Frame frame = frame_at(77, std::numeric_limits<std::int32_t>::min());
  frame.position.column = -1;
  frame.source = 99;
  snapshot.threads = {make_thread(-3, "t", ThreadState::Running)};
  snapshot.threads[0].frames = {frame};
  const json document = parsed(snapshot);
  CHECK(document["pid"].is_null());
  CHECK(document["interpreters"][0]["gil_held_by"].is_null());
  CHECK(document["threads"][0]["tid"].is_null());
  const json& read = document["threads"][0]["frames"][0];
  CHECK(read["file"].is_null());
  CHECK(read["line"].is_null());
  CHECK(read["column"].is_null());
  CHECK_FALSE(read.contains("source"));
}

TEST_CASE("a process that could not be read is a document too", "[format]") {
  const Error error{ErrorKind::NotPermitted, "ptrace_scope is 1\x1b", "sudo pyscope dump 99"};
  CHECK(ordered_json::parse(render_json(99, error, JsonStyle::Compact)).dump() ==
        R"({"schema":"pyscope.dump/1","pid":99,"error":{"code":"not_permitted",)"
        R"("message":"ptrace_scope is 1\\x1b","hint":"sudo pyscope dump 99"}})");
  CHECK(render_json(99, error, JsonStyle::Compact).ends_with("}}\n"));
  CHECK(render_json(99, error, JsonStyle::Pretty).starts_with("{\n  \"schema\""));
  const json usage =
      json::parse(render_json(0, Error{ErrorKind::Usage, "no PID", ""}, JsonStyle::Pretty));
  CHECK(usage["pid"].is_null());
  CHECK(usage["error"]["code"] == "usage");
  CHECK(usage["error"]["hint"].is_null());
}

TEST_CASE("a plain value keeps its text, and nothing of it reaches a terminal", "[format]") {
  const std::string text = "\x1b[2J\x7f\xc2\x9b\xe2\x80\xae \"\\ ~";
  PlainValue key;
  key.kind = PlainValue::Kind::String;
  key.text = text;
  InspectedValue inspected;
  inspected.path = "x";
  inspected.value.emplace();
  inspected.value->kind = PlainValue::Kind::Object;
  inspected.value->items = {key};
  inspected.value->names = {text};
  for (const JsonStyle style : {JsonStyle::Compact, JsonStyle::Pretty}) {
    const std::string written = render_json(7, inspected, style);
    CHECK(json::parse(written)["value"] == json{{text, text}});
    CHECK(std::all_of(written.begin(), written.end(),
                      [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
  }
}

TEST_CASE("a value of which something couldn't be read is marked, and counts", "[format]") {
  Inspection inspection;
  InspectedValue& value = inspection.values.emplace_back();
  value.path = "order";
  value.type = "Order";
  value.repr = "<Order at 0x7f0000001000 id=<unreadable at 0x8>>";
  CHECK_FALSE(json::parse(render_json(7, value, JsonStyle::Compact)).contains("unreadable"));
  CHECK(render_text(value, {}).find("can be read") == std::string::npos);
  CHECK(exit_status(inspection) == 0);
  value.unreadable = true;
  CHECK(json::parse(render_json(7, value, JsonStyle::Compact)).at("unreadable") == true);
  CHECK(render_text(value, {}).find("[not all of it can be read]") != std::string::npos);
  CHECK(exit_status(inspection) == 6);
}

TEST_CASE("frames that moved are marked and what was proven is said", "[format]") {
  Snapshot snapshot = full_snapshot();
  Thread& thread = snapshot.threads[0];
  REQUIRE(thread.frames.size() == 2);
  thread.frames[0].moving = true;
  const json moved = parsed(snapshot)["threads"][0];
  CHECK(moved["frames"][0]["moving"] == true);
  CHECK_FALSE(moved["frames"][1].contains("moving"));
  const std::vector<std::pair<Proof, json>> names{
      {Proof::None, nullptr},          {Proof::Gil, "gil"},        {Proof::TwoCopies, "two_copies"},
      {Proof::Preempted, "preempted"}, {Proof::AtRest, "at_rest"}, {Proof::Paused, "paused"}};
  for (const auto& [proof, name] : names) {
    thread.proof = proof;
    CHECK(parsed(snapshot)["threads"][0]["proof"] == name);
  }
}

TEST_CASE("a thread's activity and verdict, and what to do next, are those of the text",
          "[format]") {
  Snapshot snapshot = make_snapshot();
  const Frame own = add_frame(snapshot, "save", "/srv/app/store.py", 31);
  const Frame wait =
      add_frame(snapshot, "PollSelector.select", "/usr/lib/python3.14/selectors.py", 1);
  const Frame loop = add_frame(snapshot, "BaseEventLoop._run_once",
                               "/usr/lib/python3.14/asyncio/base_events.py", 1);
  const auto add = [&](ThreadState state, std::vector<Frame> frames) -> Thread& {
    const auto tid = static_cast<pid_t>(snapshot.threads.size()) + 1;
    snapshot.threads.push_back(make_thread(tid, "t", state));
    snapshot.threads.back().frames = std::move(frames);
    return snapshot.threads.back();
  };
  (void)add(ThreadState::Running, {own});
  add(ThreadState::Blocked, {own}).wait = Wait{"sleep", "clock_nanosleep", {}, "", {}, {}};
  (void)add(ThreadState::Blocked, {own});
  (void)add(ThreadState::Blocked, {wait, loop});
  Thread& stuck = add(ThreadState::Blocked, {own});
  stuck.lock.emplace().held = Held::ByThread;
  stuck.lock->held_by = 5;
  snapshot.deadlocks = {{{{5, "t", *stuck.lock}}}};
  const json document = parsed(snapshot);
  const auto activity = [&](std::size_t thread) { return document["threads"][thread]["activity"]; };
  const auto verdict = [&](std::size_t thread) { return document["threads"][thread]["verdict"]; };
  CHECK(activity(0) == "running save (app/store.py:31)");
  CHECK(verdict(0).is_null());  // one look doesn't tell whether it gets on
  CHECK(verdict(1) == "sleeping");
  CHECK(verdict(2).is_null());
  CHECK(activity(3) == "idle in the asyncio event loop");
  CHECK(verdict(3) == "idle");
  CHECK(activity(4) == "deadlocked in save (app/store.py:31)");
  CHECK(verdict(4) == "deadlocked");
  CHECK(document["summary"].get<std::string>().starts_with("5 threads: 1 deadlocked in save"));
  CHECK(document["advice"] == json({"pyscope tasks 4711", "pyscope why 4711"}));
  snapshot.threads[0].consistent = false;
  CHECK(parsed(snapshot)["advice"][0] == "pyscope dump 4711 --pause");
}
