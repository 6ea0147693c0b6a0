// The JSON form of a snapshot, schema pyscope.dump/1. docs/schema/ gives the meaning of each field.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "format/advice.hpp"
#include "format/escape.hpp"
#include "format/json_parts.hpp"
#include "format/json_writer.hpp"
#include "format/summary.hpp"
#include "format/task_text.hpp"
#include "model/origin.hpp"
#include "pyscope/render.hpp"
#include "verdict/activity.hpp"
#include "verdict/task_findings.hpp"

namespace pyscope {
namespace {

std::string_view name_of(ThreadState state) {
  switch (state) {
    case ThreadState::Unknown:
      return "unknown";
    case ThreadState::Running:
      return "running";
    case ThreadState::WaitingForGil:
      return "waiting_for_gil";
    case ThreadState::Blocked:
      return "blocked";
  }
  return "unknown";
}

std::optional<std::string_view> name_of(Proof proof) {
  switch (proof) {
    case Proof::None:
      return std::nullopt;
    case Proof::Gil:
      return "gil";
    case Proof::TwoCopies:
      return "two_copies";
    case Proof::Preempted:
      return "preempted";
    case Proof::AtRest:
      return "at_rest";
    case Proof::Paused:
      return "paused";
  }
  return std::nullopt;
}

std::optional<std::string_view> name_of(Held held) {
  switch (held) {
    case Held::ByThread:
      return "proven";
    case Held::LastSeen:
      return "likely";
    case Held::ByNobodyFound:
    case Held::ByNobodyLeft:
      return "nobody";
    case Held::Unknown:
    case Held::NotALock:
      return std::nullopt;
  }
  return std::nullopt;
}

std::string_view name_of(LocalKind kind) {
  switch (kind) {
    case LocalKind::Argument:
      return "argument";
    case LocalKind::Local:
      return "local";
    case LocalKind::Cell:
      return "cell";
    case LocalKind::Free:
      return "free";
  }
  return "local";
}

std::string_view name_of(Parameter parameter) {
  switch (parameter) {
    case Parameter::None:
      return {};
    case Parameter::PositionalOnly:
      return "positional_only";
    case Parameter::PositionalOrKeyword:
      return "positional_or_keyword";
    case Parameter::KeywordOnly:
      return "keyword_only";
    case Parameter::VarPositional:
      return "var_positional";
    case Parameter::VarKeyword:
      return "var_keyword";
  }
  return {};
}

bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string_view stripped(std::string_view line) {
  constexpr std::string_view kSpace = " \t\f\v\r\n";
  const std::size_t begin = line.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kSpace) + 1 - begin);
}

bool is_in_other_namespace(const Snapshot& snapshot, const Thread& thread) {
  const auto differs = [](pid_t inside, pid_t here) { return inside > 0 && inside != here; };
  return differs(snapshot.namespace_pid, snapshot.pid) || differs(thread.namespace_tid, thread.tid);
}

/// A code object with its texts escaped. They are escaped once for all its frames.
struct SafeCode {
  SafeText function;
  SafeText qualified_name;
  SafeText file;
};

class DumpJson {
 public:
  DumpJson(JsonWriter& json, const Snapshot& snapshot)
      : json_(json),
        snapshot_(snapshot),
        codes_(snapshot.codes.size()),
        sources_(snapshot.sources.size()),
        activities_(snapshot),
        origins_(snapshot) {}

  void write();
  void write_tasks(std::span<const std::string> chosen);

 private:
  void write_header();
  void write_loops(std::span<const std::string> chosen);
  void write_capture_stats(const CaptureStats& capture);
  void write_thread(const Thread& thread);
  void write_wait(const Wait& wait);
  void write_lock(const LockWait& lock);
  void write_task(const SuspendedStack& task);
  void write_task_wait(const TaskWait& wait);
  void write_frame(const Frame& frame);
  void write_python(const Frame& frame);
  void write_native(const Frame& frame);
  void write_locals(const Locals& locals);
  void write_code(std::optional<std::uint32_t> index);

  JsonWriter& json_;
  const Snapshot& snapshot_;
  std::vector<std::optional<SafeCode>> codes_;  // made when first met
  std::vector<std::optional<SafeText>> sources_;
  ActivityFinder activities_;
  Origins origins_;
};

void DumpJson::write() {
  write_header();
  json_.objects_field("interpreters", snapshot_.interpreters, [&](const Interpreter& interpreter) {
    json_.field("id", interpreter.id);
    json_.id_field("gil_held_by", interpreter.gil_held_by.value_or(0));
    json_.field("collecting_garbage", interpreter.collecting_garbage);
  });
  json_.objects_field("threads", snapshot_.threads,
                      [&](const Thread& thread) { write_thread(thread); });
  write_deadlocks(json_, snapshot_.deadlocks);
  if (!snapshot_.loops.empty()) write_loops({});
  write_warnings(json_, snapshot_.warnings);
}

void DumpJson::write_header() {
  write_capture(json_, kDumpSchema, snapshot_);
  json_.texts_field("command", snapshot_.command);
  json_.text_field("executable", snapshot_.executable);
  write_start_time(json_, snapshot_.started_at);
  json_.object_field("python", [&] { write_build(json_, snapshot_.python); });
  json_.field("finalizing", snapshot_.finalizing);
  json_.word_field("summary", summarize(snapshot_));
  json_.list_field("advice", next_steps(snapshot_),
                   [&](const NextStep& step) { json_.text(step.command); });
  json_.object_field("capture", [&] { write_capture_stats(snapshot_.capture); });
}

void DumpJson::write_capture_stats(const CaptureStats& capture) {
  json_.word_field("mode", capture.paused_threads > 0 ? "paused" : "running");
  json_.field("consistent", capture.consistent);
  json_.field("complete", capture.complete);
  json_.field("attempts", std::int64_t{capture.attempts});
  json_.field("duration_us", capture.duration_us);
  const std::string what_to_do = advice(snapshot_);
  json_.text_or_null("advice", what_to_do.empty() ? std::nullopt : std::optional(what_to_do));
  json_.field("preempted_us", capture.preempted_us);
  json_.field("one_instant", snapshot_.capture.one_instant);
  json_.field("paused_us", capture.paused_us);
  json_.field("paused_threads", std::uint64_t{capture.paused_threads});
}

void DumpJson::write_thread(const Thread& thread) {
  const auto if_python = [&](auto fact) {
    return thread.python ? std::optional(fact) : std::nullopt;
  };
  json_.id_field("tid", thread.tid);
  if (is_in_other_namespace(snapshot_, thread)) {
    json_.id_field("namespace_tid", thread.namespace_tid);
  }
  json_.field("ident", if_python(thread.ident));
  json_.text_or_null("name", thread.name);
  json_.text_or_null("os_name", thread.os_name);
  json_.field("interpreter", if_python(thread.interpreter));
  json_.field("main", thread.main);
  if (thread.runs_in) json_.field("runs_in", *thread.runs_in);
  json_.word_field("state", name_of(thread.state));
  json_.field("holds_gil", thread.holds_gil);
  json_.field("waits_for_gil", thread.waits_for_gil);
  const bool known = thread.os_state && is_letter(*thread.os_state);
  json_.word_or_null("os_state",
                     known ? std::optional(std::string_view(&*thread.os_state, 1)) : std::nullopt);
  json_.field("cpu_time_us", thread.cpu_time_us);
  if (thread.wait) {
    json_.object_field("wait", [&] { write_wait(*thread.wait); });
  } else {
    json_.field("wait", nullptr);
  }
  if (thread.lock) {
    json_.object_field("lock", [&] { write_lock(*thread.lock); });
  } else {
    json_.field("lock", nullptr);
  }
  const Activity activity = activities_.find(thread);
  json_.word_field("activity", describe_activity(snapshot_, thread, activity, origins_));
  const std::optional<Verdict> verdict = verdict_at_once(snapshot_, thread, activity);
  json_.word_or_null("verdict", verdict ? std::optional(verdict_name(*verdict)) : std::nullopt);
  json_.field("consistent", thread.consistent);
  json_.word_or_null("proof", name_of(thread.proof));
  if (!thread.consistent) json_.text_unless_empty("inconsistency", thread.inconsistency);
  json_.field("truncated", thread.truncated);
  if (thread.unchanged) json_.field("unchanged", *thread.unchanged);
  if (!thread.error.empty()) write_partial_error(json_, thread.error);
  const auto write_one = [&](const Frame& frame) { write_frame(frame); };
  json_.objects_field("frames", thread.frames, write_one);
  if (!thread.native_frames.empty()) {
    json_.objects_field("native_frames", thread.native_frames, write_one);
  }
  if (!thread.native_note.empty()) json_.text_field("native_note", thread.native_note);
  if (!thread.native_error.empty()) json_.text_field("native_error", thread.native_error);
}

void DumpJson::write_lock(const LockWait& lock) {
  write_lock_identity(json_, lock);
  json_.text_unless_empty("name", lock.name);
  json_.text_unless_empty("owner_object", lock.owner_object);
  json_.word_field("kind", lock.held == Held::NotALock ? "event" : "lock");
  json_.id_field("held_by", lock.held_by);
  json_.word_or_null("holder", name_of(lock.held));
  json_.text_unless_empty("detail", lock.lost.empty() ? lock.detail : lock.lost);
  write_servers(json_, lock);
  if (lock.taken_in && *lock.taken_in < codes_.size()) {
    json_.object_field("taken_in", [&] {
      write_code(lock.taken_in);
      json_.position_field("line", lock.taken_at);
    });
  } else {
    json_.field("taken_in", nullptr);
  }
  json_.field("timeout", lock.timed);
}

void DumpJson::write_wait(const Wait& wait) {
  json_.text_field("kind", wait.kind);
  json_.text_field("syscall", wait.system_call);
  json_.field("fd", wait.fd ? std::optional<std::int64_t>(*wait.fd) : std::nullopt);
  json_.text_unless_empty("target", wait.target);
  json_.field("timeout_us", wait.timeout_us);
  json_.field("left_us", wait.left_us);
}

/// Ids are id()s of objects, written as Python prints them: as addresses.
void write_ids(JsonWriter& json, std::string_view name, const std::vector<std::uint64_t>& ids) {
  json.list_field(name, ids, [&](std::uint64_t id) { json.word(fmt::format("{:#x}", id)); });
}

void DumpJson::write_tasks(std::span<const std::string> chosen) {
  write_capture(json_, kTasksSchema, snapshot_);
  json_.object_field("python", [&] { write_build(json_, snapshot_.python); });
  json_.object_field("capture", [&] { write_capture_stats(snapshot_.capture); });
  write_loops(chosen);
  write_warnings(json_, snapshot_.warnings);
}

void DumpJson::write_loops(std::span<const std::string> chosen) {
  std::unordered_map<std::uint64_t, std::vector<const SuspendedStack*>> tasks_of;  // by loop
  for (const SuspendedStack& stack : snapshot_.stacks) {
    if (stack.kind == StackKind::Task && is_chosen(stack, chosen))
      tasks_of[stack.loop].push_back(&stack);
  }
  json_.objects_field("loops", snapshot_.loops, [&](const EventLoop& loop) {
    json_.address_field("id", loop.id);
    json_.word_field("kind", "asyncio");
    json_.text_unless_empty("type", loop.type);
    json_.id_field("tid", loop.tid.value_or(0));
    json_.address_field("running_task", loop.running_task.value_or(0));
    json_.field("ready", loop.ready);
    json_.field("busy_us", loop.busy_us);
    json_.objects_field("tasks", tasks_of[loop.id],
                        [&](const SuspendedStack* task) { write_task(*task); });
  });
  const TaskTexts texts(snapshot_);
  json_.objects_field("findings", find_task_findings(snapshot_), [&](const TaskFinding& finding) {
    json_.word_field("kind", name_of(finding.kind));
    write_ids(json_, "tasks", finding.tasks);
    json_.field("proven", finding.proven);
    json_.field("ends_in_us", finding.ends_in_us);
    json_.field("ends_on_error", finding.ends_on_error);
    json_.word_field("text", texts.describe(finding));
  });
}

void DumpJson::write_task(const SuspendedStack& task) {
  json_.address_field("id", task.id);
  json_.text_field("name", task.name);
  json_.text_unless_empty("coroutine", task.coroutine);
  json_.word_field("state", task.state);
  json_.id_field("tid", task.mounted_on.value_or(0));
  write_ids(json_, "awaited_by", task.awaited_by);
  if (task.wait) {
    json_.object_field("waits_for", [&] { write_task_wait(*task.wait); });
  } else {
    json_.field("waits_for", nullptr);
  }
  json_.field("deadline_left_us", task.deadline_left_us);
  json_.field("cancel_requests", std::uint64_t{task.cancel_requests});
  json_.field("consistent", task.consistent);
  if (!task.error.empty()) write_partial_error(json_, task.error);
  json_.objects_field("frames", task.frames, [&](const Frame& frame) { write_frame(frame); });
}

void DumpJson::write_task_wait(const TaskWait& wait) {
  json_.word_field("kind", wait.kind);
  json_.text_unless_empty("what", wait.type);
  json_.address_field("address", wait.address);
  json_.text_unless_empty("name", wait.name);
  json_.text_unless_empty("detail", wait.detail);
  json_.field("left_us", wait.left_us);
  json_.field("fd", wait.fd ? std::optional<std::int64_t>(*wait.fd) : std::nullopt);
  json_.text_unless_empty("target", wait.target);
  json_.id_field("process", wait.process.value_or(0));
  write_ids(json_, "tasks", wait.tasks);
  json_.field("any", wait.any);
  json_.field("ends_on_error", wait.ends_on_error);
  write_ids(json_, "held_by", wait.held_by);
}

void DumpJson::write_frame(const Frame& frame) {
  switch (frame.kind) {
    case FrameKind::Shim:
      json_.word_field("kind", "shim");
      break;
    case FrameKind::Native:
      json_.word_field("kind", "native");
      write_native(frame);
      break;
    case FrameKind::Python:
      json_.word_field("kind", "python");
      write_python(frame);
      break;
  }
  if (frame.locals && *frame.locals < snapshot_.locals.size()) {
    write_locals(snapshot_.locals[*frame.locals]);
  }
  if (frame.moving) json_.field("moving", true);
  if (!frame.error.empty()) write_partial_error(json_, frame.error);
}

void DumpJson::write_python(const Frame& frame) {
  write_code(frame.code);
  json_.position_field("line", frame.position.line);
  json_.position_field("end_line", frame.position.end_line);
  json_.position_field("column", frame.position.column);
  json_.position_field("end_column", frame.position.end_column);
  if (!frame.source || *frame.source >= sources_.size()) return;
  const SourceLine& line = snapshot_.sources[*frame.source];
  if (line.changed) return json_.field("source_changed", true);
  auto& safe = sources_[*frame.source];
  if (!safe) safe = SafeText{escape(stripped(line.text), Tabs::Keep)};
  json_.key("source");
  json_.value(*safe);
}

void DumpJson::write_native(const Frame& frame) {
  const NativeLocation unknown;
  const NativeLocation* known = native_location(snapshot_, frame);
  const NativeLocation& location = known != nullptr ? *known : unknown;
  json_.text_unless_empty("function", location.function);
  json_.text_unless_empty("module", location.module);
  json_.address_field("offset", location.offset);
  json_.text_unless_empty("file", location.file);
  json_.position_field("line", location.line > 0 ? std::optional(location.line) : std::nullopt);
  if (frame.guessed) json_.field("guessed", true);
}

void DumpJson::write_locals(const Locals& locals) {
  json_.objects_field("locals", locals.variables, [&](const Local& local) {
    json_.text_field("name", local.name);
    json_.word_field("kind", name_of(local.kind));
    if (const std::string_view parameter = name_of(local.parameter); !parameter.empty()) {
      json_.word_field("parameter", parameter);
    }
    json_.text_field("type", local.type);
    json_.text_field("repr", local.repr);
    if (!local.detail.empty()) json_.text_field("detail", local.detail);
    json_.field("truncated", local.truncated);
  });
  if (!locals.consistent) {
    json_.word_field("locals_doubt", locals.half_done    ? "half_changed"
                                     : locals.same_twice ? "same_twice"
                                                         : "changed");
    json_.field("locals_changed", true);
  }
  if (!locals.error.empty()) {
    json_.text_field("locals_error", locals.error);
  } else if (!locals.complete) {
    json_.text_field("locals_error", "not all of them could be read");
  }
  if (locals.left_out > 0) json_.field("locals_left_out", std::uint64_t{locals.left_out});
}

void DumpJson::write_code(std::optional<std::uint32_t> index) {
  if (!index || *index >= codes_.size()) {
    json_.field("function", nullptr);
    json_.field("qualified_name", nullptr);
    json_.field("file", nullptr);
    return;
  }
  auto& safe = codes_[*index];
  if (!safe) {
    const Code& code = snapshot_.codes[*index];
    safe = SafeCode{{escape(code.function)}, {escape(code.qualified_name)}, {escape(code.file)}};
  }
  json_.key("function");
  json_.value(safe->function);
  json_.key("qualified_name");
  json_.value(safe->qualified_name);
  json_.key("file");
  json_.value(safe->file);
}

}  // namespace

std::string render_json(const Snapshot& snapshot, JsonStyle style) {
  return json_document(style, [&](JsonWriter& json) { DumpJson(json, snapshot).write(); });
}

void render_json(const Snapshot& snapshot, JsonStyle style, TextSink take) {
  write_json_document(style, std::move(take),
                      [&](JsonWriter& json) { DumpJson(json, snapshot).write(); });
}

std::string render_tasks_json(const Snapshot& snapshot, JsonStyle style,
                              std::span<const std::string> chosen) {
  std::string document;
  render_tasks_json(snapshot, style, chosen, [&](std::string_view piece) { document += piece; });
  return document;
}

void render_tasks_json(const Snapshot& snapshot, JsonStyle style,
                       std::span<const std::string> chosen, TextSink take) {
  write_json_document(style, std::move(take),
                      [&](JsonWriter& json) { DumpJson(json, snapshot).write_tasks(chosen); });
}

std::string render_json(pid_t pid, const Error& error, JsonStyle style, std::string_view schema) {
  return json_document(style, [&](JsonWriter& json) {
    write_subject(json, schema, pid);
    write_error(json, error);
  });
}

}  // namespace pyscope
