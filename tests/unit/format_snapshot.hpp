// Hand-made snapshots for the tests of the renderers.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "pyscope/snapshot.hpp"

namespace pyscope::test {

inline std::uint32_t add_code(Snapshot& snapshot, std::string qualified_name, std::string file) {
  const std::string function = qualified_name.substr(qualified_name.rfind('.') + 1);
  snapshot.codes.push_back({function, std::move(qualified_name), std::move(file), 1});
  return static_cast<std::uint32_t>(snapshot.codes.size() - 1);
}

inline std::uint32_t add_source(Snapshot& snapshot, std::string text) {
  snapshot.sources.push_back({std::move(text), false});
  return static_cast<std::uint32_t>(snapshot.sources.size() - 1);
}

/// A frame at a line, without columns.
inline Frame frame_at(std::uint32_t code, std::int32_t line) {
  Frame frame;
  frame.code = code;
  frame.position.line = line;
  frame.position.end_line = line;
  return frame;
}

/// The same with a code object of its own.
inline Frame add_frame(Snapshot& snapshot, std::string qualified_name, std::string file,
                       std::int32_t line) {
  return frame_at(add_code(snapshot, std::move(qualified_name), std::move(file)), line);
}

inline Frame with_source(Snapshot& snapshot, Frame frame, std::string text, std::int32_t column,
                         std::int32_t end_column) {
  frame.source = add_source(snapshot, std::move(text));
  frame.position.column = column;
  frame.position.end_column = end_column;
  return frame;
}

inline Frame shim() {
  Frame frame;
  frame.kind = FrameKind::Shim;
  return frame;
}

inline Thread make_thread(pid_t tid, std::optional<std::string> name, ThreadState state) {
  Thread thread;
  thread.tid = tid;
  thread.namespace_tid = tid;
  thread.ident = 0x7f0000000000U + static_cast<std::uint64_t>(tid);
  thread.name = std::move(name);
  thread.state = state;
  thread.os_state = state == ThreadState::Running ? 'R' : 'S';
  thread.holds_gil = false;
  thread.waits_for_gil = state == ThreadState::WaitingForGil;
  thread.consistent = true;
  thread.proof = Proof::Gil;
  return thread;
}

/// A process without threads.
inline Snapshot make_snapshot() {
  using namespace std::chrono;
  Snapshot snapshot;
  snapshot.captured_at = system_clock::time_point(sys_days(2026y / 1 / 2)) + hours(3) + minutes(4) +
                         seconds(5) + microseconds(678901);
  snapshot.host = "web-3";
  snapshot.pid = 4711;
  snapshot.namespace_pid = 4711;
  snapshot.command = {"python3", "app.py"};
  snapshot.executable = "/usr/bin/python3.14";
  snapshot.python = {"3.14.8", false, false};
  snapshot.capture.consistent = true;
  snapshot.capture.duration_us = 812;
  snapshot.interpreters = {Interpreter{}};
  return snapshot;
}

}  // namespace pyscope::test
