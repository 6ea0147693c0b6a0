#include "pyscope/render.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "format/anchor.hpp"
#include "format/duration.hpp"
#include "format/underline.hpp"
#include "format/wait_text.hpp"
#include "fuzz/promises.hpp"
#include "fuzz/targets.hpp"
#include "verdict/diagnosis_builder.hpp"

namespace pyscope::fuzz {
namespace {

/// Takes an input apart, from its front on; zeros and empty texts once nothing is left.
class Parts {
 public:
  explicit Parts(std::span<const std::uint8_t> input) : rest_(input) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }

  template <class T>
  T number() {
    T value{};
    const std::size_t size = std::min(sizeof value, rest_.size());
    std::memcpy(&value, rest_.data(), size);
    rest_ = rest_.subspan(size);
    return value;
  }

  std::uint64_t below(std::uint64_t n) { return number<std::uint8_t>() % n; }
  bool flag() { return below(2) == 1; }

  /// Mostly short: a text is as long as its first byte says, and longer behind 0xFF.
  std::string text() {
    std::size_t size = number<std::uint8_t>();
    if (size == 0xFF) size = number<std::uint16_t>();
    size = std::min(size, rest_.size());
    std::string text(reinterpret_cast<const char*>(rest_.data()), size);
    rest_ = rest_.subspan(size);
    return text;
  }

  /// A number of the kind that lines and columns are, or any.
  std::int32_t small() {
    return flag() ? number<std::int32_t>() : static_cast<std::int32_t>(number<std::uint8_t>());
  }

  /// Without a byte that could be no UTF-8.
  std::string ascii() {
    std::string ascii = text();
    for (char& c : ascii)
      c = static_cast<char>(c & 0x7F);
    return ascii;
  }

  template <class Make>
  auto maybe(const Make& make) -> std::optional<decltype(make())> {
    return flag() ? std::optional(make()) : std::nullopt;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

std::chrono::system_clock::time_point time_from(Parts& parts) {
  // As recordings and the kernel have it: not before 1970.
  return std::chrono::system_clock::time_point(
      std::chrono::nanoseconds(parts.number<std::uint64_t>() >> 1U));
}

Position position_from(Parts& parts) {
  const auto small = [&] { return parts.small(); };
  return {parts.maybe(small), parts.maybe(small), parts.maybe(small), parts.maybe(small)};
}

/// An index that the model may hold: there is something behind it.
template <class T>
std::optional<std::uint32_t> index_from(Parts& parts, const std::vector<T>& items) {
  if (items.empty() || !parts.flag()) return std::nullopt;
  return static_cast<std::uint32_t>(parts.below(items.size()));
}

LockWait lock_from(Parts& parts, const Snapshot& snapshot) {
  LockWait lock;
  lock.type = parts.text();
  lock.address = parts.number<std::uint64_t>();
  lock.name = parts.text();
  lock.owner_object = parts.text();
  lock.held = static_cast<Held>(parts.below(5));
  if (lock.held == Held::ByThread || lock.held == Held::LastSeen) {
    lock.held_by = static_cast<pid_t>(parts.below(8));
    lock.holder_name = parts.maybe([&] { return parts.text(); });
    lock.taken_in = index_from(parts, snapshot.codes);
    lock.taken_at = parts.maybe([&] { return parts.small(); });
  }
  lock.waits_in = index_from(parts, snapshot.codes);
  lock.waits_at = parts.maybe([&] { return parts.small(); });
  lock.timed = parts.flag();
  return lock;
}

Wait wait_from(Parts& parts) {
  static const std::vector<std::string> kinds = {
      "socket", "pipe",    "file",    "device",  "file_lock", "epoll",     "poll",
      "select", "eventfd", "timerfd", "inotify", "io_uring",  "semaphore", "message_queue",
      "child",  "signal",  "sleep",   "futex",   "other"};
  Wait wait;
  wait.kind = kinds[parts.below(kinds.size())];
  wait.system_call = parts.text();
  wait.fd = parts.maybe([&] { return parts.small(); });
  wait.target = parts.text();
  wait.timeout_us = parts.maybe([&] { return parts.number<std::uint64_t>(); });
  wait.left_us = parts.maybe([&] { return parts.number<std::uint64_t>(); });
  return wait;
}

Frame frame_from(Parts& parts, const Snapshot& snapshot) {
  Frame frame;
  frame.kind = parts.below(8) == 0 ? FrameKind::Shim : FrameKind::Python;
  if (frame.kind == FrameKind::Shim) return frame;
  frame.code = index_from(parts, snapshot.codes);
  frame.position = position_from(parts);
  frame.source = index_from(parts, snapshot.sources);
  frame.locals = index_from(parts, snapshot.locals);
  frame.moving = parts.flag();
  if (!frame.code) frame.error = parts.text();
  return frame;
}

Thread thread_from(Parts& parts, const Snapshot& snapshot) {
  Thread thread;
  thread.tid = static_cast<pid_t>(parts.below(8));
  thread.namespace_tid = parts.number<std::int32_t>();
  thread.ident = parts.number<std::uint64_t>();
  thread.name = parts.maybe([&] { return parts.text(); });
  thread.os_name = parts.maybe([&] { return parts.text(); });
  thread.interpreter = static_cast<std::int64_t>(parts.below(3));
  thread.main = parts.flag();
  thread.state = static_cast<ThreadState>(parts.below(4));
  thread.holds_gil = parts.maybe([&] { return parts.flag(); });
  thread.waits_for_gil = parts.maybe([&] { return parts.flag(); });
  thread.os_state = parts.maybe([&] { return parts.number<char>(); });
  thread.cpu_time_us = parts.maybe([&] { return parts.number<std::uint64_t>(); });
  thread.system_call = parts.maybe([&] { return parts.number<std::int64_t>(); });
  if (thread.state == ThreadState::Blocked) {
    thread.wait = parts.maybe([&] { return wait_from(parts); });
    thread.lock = parts.maybe([&] { return lock_from(parts, snapshot); });
  }
  thread.consistent = parts.flag();
  if (thread.consistent)
    thread.proof = static_cast<Proof>(1 + parts.below(4));
  else
    thread.inconsistency = parts.text();
  thread.attempts = parts.small();
  thread.truncated = parts.flag();
  thread.unchanged = parts.maybe([&] { return parts.flag(); });
  thread.error = parts.text();
  for (std::uint64_t i = parts.below(12); i > 0 && !parts.empty(); --i) {
    thread.frames.push_back(frame_from(parts, snapshot));
    // Recursion.
    for (std::uint64_t more = parts.below(16) == 0 ? parts.below(256) : 0; more > 0; --more)
      thread.frames.push_back(thread.frames.back());
  }
  return thread;
}

Snapshot snapshot_from(Parts& parts) {
  Snapshot snapshot;
  snapshot.captured_at = time_from(parts);
  snapshot.started_at = parts.maybe([&] { return time_from(parts); });
  snapshot.host = parts.text();
  snapshot.pid = parts.number<std::int32_t>();
  snapshot.namespace_pid = parts.number<std::int32_t>();
  for (std::uint64_t i = parts.below(4); i > 0; --i)
    snapshot.command.push_back(parts.text());
  snapshot.executable = parts.text();
  snapshot.python = {parts.text(), parts.flag(), parts.maybe([&] { return parts.flag(); })};
  snapshot.finalizing = parts.flag();
  snapshot.capture = {parts.flag(),
                      parts.flag(),
                      parts.flag(),
                      parts.small(),
                      parts.number<std::int64_t>(),
                      parts.number<std::int64_t>(),
                      parts.number<std::int64_t>(),
                      parts.number<std::uint16_t>()};
  for (std::uint64_t i = parts.below(3); i > 0; --i) {
    snapshot.interpreters.push_back(
        {parts.number<std::int64_t>(),
         parts.maybe([&] { return static_cast<pid_t>(parts.below(8)); }), parts.flag()});
  }
  for (std::uint64_t i = parts.below(5); i > 0; --i)
    snapshot.codes.push_back({parts.text(), parts.text(), parts.text(), parts.small()});
  for (std::uint64_t i = parts.below(5); i > 0; --i) {
    const bool changed = parts.below(8) == 0;
    snapshot.sources.push_back({changed ? std::string() : parts.text(), changed});
  }
  for (std::uint64_t i = parts.below(4); i > 0; --i) {
    Locals locals;
    for (std::uint64_t n = parts.below(4); n > 0; --n) {
      locals.variables.push_back({parts.text(), static_cast<LocalKind>(parts.below(4)),
                                  static_cast<Parameter>(parts.below(6)), parts.text(),
                                  parts.text(), parts.text(), parts.flag()});
    }
    locals.left_out = parts.number<std::uint16_t>();
    locals.consistent = parts.flag();
    locals.complete = parts.flag();
    if (locals.variables.empty()) locals.error = parts.text();
    snapshot.locals.push_back(std::move(locals));
  }
  for (std::uint64_t i = parts.below(3); i > 0; --i)
    snapshot.warnings.push_back(parts.text());
  for (std::uint64_t i = parts.below(24); i > 0 && !parts.empty(); --i)
    snapshot.threads.push_back(thread_from(parts, snapshot));
  for (std::uint64_t i = parts.below(3); i > 0 && !parts.empty(); --i) {
    Deadlock deadlock;
    const bool processes = parts.flag();
    for (std::uint64_t n = 1 + parts.below(4); n > 0; --n) {
      Deadlock::Member member;
      member.tid = static_cast<pid_t>(parts.below(8));
      member.name = parts.maybe([&] { return parts.text(); });
      member.lock = lock_from(parts, snapshot);
      if (processes) {
        member.pid = 1 + static_cast<pid_t>(parts.below(8));
        member.process = parts.text();
        member.waits = parts.text();
      }
      deadlock.cycle.push_back(std::move(member));
    }
    snapshot.deadlocks.push_back(std::move(deadlock));
  }
  return snapshot;
}

void check_snapshot(Parts& parts) {
  Snapshot snapshot = snapshot_from(parts);
  const TextOptions plain{.grouping = static_cast<Grouping>(parts.below(3)),
                          .columns = parts.number<std::uint8_t>()};
  TextOptions colored = plain;
  colored.color = true;
  check_text(render_text(snapshot, plain));
  check_text(render_text(snapshot, colored), true);
  check_json(render_json(snapshot, JsonStyle::Compact));
  check_json(render_json(snapshot, JsonStyle::Pretty));

  std::vector<DiagnosisBuilder::StackMarks> marks;
  for (const Thread& thread : snapshot.threads) {
    auto& mark = marks.emplace_back();
    for (std::size_t i = 0; i < thread.frames.size(); ++i)
      mark.frames.push_back(parts.number<std::uint8_t>());
    mark.at_backward_jump = parts.flag();
  }
  DiagnosisBuilder builder;
  DiagnosisBuilder::Clock::time_point at{std::chrono::hours(1)};
  for (int i = 0; i < 4; ++i) {
    builder.add(snapshot, marks, at);
    for (const auto& place : builder.frames_to_look_into()) {
      if (snapshot.locals.empty()) break;
      builder.add_variables(place, snapshot.locals[parts.below(snapshot.locals.size())], at);
    }
    at += std::chrono::milliseconds(parts.number<std::uint8_t>());
    for (Thread& thread : snapshot.threads) {
      if (thread.cpu_time_us) *thread.cpu_time_us += parts.number<std::uint16_t>();
      if (!thread.frames.empty()) thread.frames.front().position.line = parts.small();
    }
  }
  const Diagnosis diagnosis = builder.finish();
  check_text(render_text(diagnosis, DiagnosisTextOptions{}));
  check_text(render_text(diagnosis, DiagnosisTextOptions{.color = true}), true);
  check_json(render_json(diagnosis));
}

Error error_from(Parts& parts) {
  return {static_cast<ErrorKind>(parts.below(7)), parts.text(), parts.text()};
}

PlainValue plain_value_from(Parts& parts, int depth) {
  PlainValue value;
  value.kind = static_cast<PlainValue::Kind>(parts.below(depth > 0 ? 6 : 4));
  switch (value.kind) {
    case PlainValue::Kind::Bool:
      value.boolean = parts.flag();
      break;
    case PlainValue::Kind::Number:  // "as JSON writes it"
      value.text = std::to_string(parts.number<std::int64_t>());
      break;
    case PlainValue::Kind::String:  // "without lone surrogates"
      value.text = parts.ascii();
      break;
    case PlainValue::Kind::Array:
    case PlainValue::Kind::Object:
      for (std::uint64_t i = parts.below(4); i > 0; --i) {
        value.items.push_back(plain_value_from(parts, depth - 1));
        if (value.kind == PlainValue::Kind::Object) value.names.push_back(parts.ascii());
      }
      break;
    default:
      break;
  }
  return value;
}

void check_inspected(Parts& parts) {
  InspectedValue value;
  value.path = parts.text();
  value.error = parts.maybe([&] { return error_from(parts); });
  if (!value.error) {
    value.origin = parts.text();
    value.type = parts.text();
    value.repr = parts.text();
    value.detail = parts.text();
    value.value = parts.maybe([&] { return plain_value_from(parts, 4); });
    value.address = parts.number<std::uint64_t>();
    value.consistent = parts.flag();
    value.truncated = parts.flag();
    for (std::uint64_t i = parts.below(6); i > 0; --i) {
      value.items.push_back({parts.text(), parts.text(), parts.text(),
                             parts.maybe([&] { return parts.number<std::uint64_t>(); }),
                             parts.text(), parts.flag()});
    }
    value.items_left_out = parts.number<std::uint64_t>();
  }
  const bool path = parts.flag();
  check_text(render_text(value, InspectTextOptions{.color = false, .path = path}));
  check_text(render_text(value, InspectTextOptions{.color = true, .path = path}), true);
  check_json(render_json(1, value, JsonStyle::Compact));
  check_json(render_json(1, value, JsonStyle::Pretty));
}

void check_processes(Parts& parts) {
  std::vector<PythonProcess> processes;
  for (std::uint64_t i = parts.below(6); i > 0; --i) {
    PythonProcess process;
    process.captured_at = time_from(parts);
    process.host = parts.text();
    process.pid = parts.number<std::int32_t>();
    process.namespace_pid = parts.number<std::int32_t>();
    process.parent_pid = parts.number<std::int32_t>();
    process.uid = parts.number<std::uint32_t>();
    process.user = parts.text();
    process.python = parts.maybe([&] {
      return PythonBuild{parts.text(), parts.flag(), parts.maybe([&] { return parts.flag(); })};
    });
    process.executable = parts.text();
    process.threads = parts.number<std::uint32_t>();
    process.cpu_time_us = parts.number<std::uint64_t>();
    process.started_at = parts.maybe([&] { return time_from(parts); });
    process.container = parts.text();
    process.unit = parts.text();
    for (std::uint64_t n = parts.below(4); n > 0; --n)
      process.command.push_back(parts.text());
    process.refusal = parts.maybe([&] { return error_from(parts); });
    check_json(render_json(process));
    processes.push_back(std::move(process));
  }
  const std::size_t columns = parts.number<std::uint8_t>();
  check_text(render_text(processes, ProcessListOptions{.color = false, .columns = columns}));
  check_text(render_text(processes, ProcessListOptions{.color = true, .columns = columns}), true);
}

void check_line_of_source(Parts& parts) {
  const Position position = position_from(parts);
  const std::size_t columns = kLeastSourceColumns + parts.number<std::uint16_t>() % 600;
  const std::string line = parts.text();
  const UnderlinedLine shown = underline(line, position, columns);
  check_line(shown.text);
  if (shown.marks.find_first_not_of(" ~^") != std::string::npos) broken("marks are marks");
  if (const auto anchor = find_anchor(line);
      anchor && (anchor->begin > anchor->end || anchor->end > line.size())) {
    broken("an anchor lies within its expression", line);
  }
  (void)is_name(line);
}

}  // namespace

void render(std::span<const std::uint8_t> input) {
  const CostLimit cost;
  Parts parts(input);
  switch (parts.below(6)) {
    case 0:
      check_inspected(parts);
      break;
    case 1:
      check_processes(parts);
      break;
    case 2:
      check_line_of_source(parts);
      break;
    case 3: {
      const Error error = error_from(parts);
      const pid_t pid = parts.number<std::int32_t>();
      check_line(render_line(error.message));
      check_json(render_json(pid, error, JsonStyle::Pretty, kInspectSchema));
      (void)format_duration(parts.number<std::uint64_t>());
      check_line(wait_details(wait_from(parts)));
      break;
    }
    default:
      check_snapshot(parts);
  }
  cost.check();
}

}  // namespace pyscope::fuzz
