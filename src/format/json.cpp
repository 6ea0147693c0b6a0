// The JSON form, schema pyscope.dump/1; docs/schema/ gives the meaning of each field. The document
// is valid for any snapshot: text is escaped to UTF-8, and impossible numbers are null.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/escape.hpp"
#include "format/json_fields.hpp"
#include "format/timestamp.hpp"
#include "pyscope/render.hpp"

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

/// A code object with its texts escaped, once for all its frames.
struct SafeCode {
  SafeText function;
  SafeText qualified_name;
  SafeText file;
};

template <class Writer>
class JsonRenderer : private JsonFields<Writer> {
 public:
  explicit JsonRenderer(Writer& writer) : JsonFields<Writer>(writer) {}

  void write(const Snapshot& snapshot);
  void write(pid_t pid, const Error& error, std::string_view schema);

 private:
  using Fields = JsonFields<Writer>;
  using Fields::address_field;
  using Fields::ascii;
  using Fields::deadlocks_field;
  using Fields::error_field;
  using Fields::field;
  using Fields::id_field;
  using Fields::key;
  using Fields::position_field;
  using Fields::text;
  using Fields::text_field;
  using Fields::text_or_null;
  using Fields::text_unless_empty;
  using Fields::value;
  using Fields::writer_;

  void write_header(const Snapshot& snapshot);
  void write_thread(const Snapshot& snapshot, const Thread& thread);
  void write_wait(const std::optional<Wait>& wait);
  void write_lock(const Snapshot& snapshot, const LockWait& lock);
  void write_frame(const Snapshot& snapshot, const Frame& frame);
  void write_native(const Snapshot& snapshot, const Frame& frame);
  void write_locals(const Locals& locals);
  void write_code(const Snapshot& snapshot, std::optional<std::uint32_t> index);

  std::vector<std::optional<SafeCode>> codes_;  // made when first met
  std::vector<std::optional<SafeText>> sources_;
};

template <class Writer>
void JsonRenderer<Writer>::write(const Snapshot& snapshot) {
  codes_.resize(snapshot.codes.size());
  sources_.resize(snapshot.sources.size());
  writer_.StartObject();
  write_header(snapshot);
  key("interpreters");
  writer_.StartArray();
  for (const Interpreter& interpreter : snapshot.interpreters) {
    writer_.StartObject();
    field("id", interpreter.id);
    id_field("gil_held_by", interpreter.gil_held_by.value_or(0));
    field("collecting_garbage", interpreter.collecting_garbage);
    writer_.EndObject();
  }
  writer_.EndArray();
  key("threads");
  writer_.StartArray();
  for (const Thread& thread : snapshot.threads) {
    write_thread(snapshot, thread);
  }
  writer_.EndArray();
  deadlocks_field(snapshot.deadlocks);
  key("warnings");
  writer_.StartArray();
  for (const std::string& warning : snapshot.warnings) {
    text(warning);
  }
  writer_.EndArray();
  writer_.EndObject();
}

template <class Writer>
void JsonRenderer<Writer>::write_header(const Snapshot& snapshot) {
  key("schema");
  ascii(kDumpSchema);
  key("pyscope");
  ascii(PYSCOPE_VERSION);
  key("captured_at");
  ascii(format_utc(snapshot.captured_at));
  text_field("host", snapshot.host);
  id_field("pid", snapshot.pid);
  id_field("namespace_pid", snapshot.namespace_pid);
  key("command");
  writer_.StartArray();
  for (const std::string& argument : snapshot.command) {
    text(argument);
  }
  writer_.EndArray();
  text_field("executable", snapshot.executable);
  key("started_at");
  if (snapshot.started_at) {
    ascii(format_utc(*snapshot.started_at));
  } else {
    writer_.Null();
  }
  key("python");
  writer_.StartObject();
  text_field("version", snapshot.python.version);
  field("free_threaded", snapshot.python.free_threaded);
  field("debug_build", snapshot.python.debug_build);
  writer_.EndObject();
  field("finalizing", snapshot.finalizing);
  key("capture");
  writer_.StartObject();
  key("mode");
  ascii(snapshot.capture.paused_threads > 0 ? "paused" : "running");
  field("consistent", snapshot.capture.consistent);
  field("complete", snapshot.capture.complete);
  field("attempts", std::int64_t{snapshot.capture.attempts});
  field("duration_us", snapshot.capture.duration_us);
  field("paused_us", snapshot.capture.paused_us);
  field("paused_threads", std::uint64_t{snapshot.capture.paused_threads});
  writer_.EndObject();
}

template <class Writer>
void JsonRenderer<Writer>::write_thread(const Snapshot& snapshot, const Thread& thread) {
  writer_.StartObject();
  id_field("tid", thread.tid);
  if (is_in_other_namespace(snapshot, thread)) {
    id_field("namespace_tid", thread.namespace_tid);
  }
  field("ident", thread.python ? std::optional(thread.ident) : std::nullopt);
  text_or_null("name", thread.name);
  text_or_null("os_name", thread.os_name);
  field("interpreter", thread.python ? std::optional(thread.interpreter) : std::nullopt);
  field("main", thread.main);
  if (thread.runs_in) field("runs_in", *thread.runs_in);
  key("state");
  ascii(name_of(thread.state));
  field("holds_gil", thread.holds_gil);
  field("waits_for_gil", thread.waits_for_gil);
  key("os_state");
  if (thread.os_state && is_letter(*thread.os_state)) {
    ascii(std::string_view(&*thread.os_state, 1));
  } else {
    writer_.Null();
  }
  field("cpu_time_us", thread.cpu_time_us);
  write_wait(thread.wait);
  if (thread.lock) {
    key("lock");
    write_lock(snapshot, *thread.lock);
  } else {
    field("lock", nullptr);
  }
  field("consistent", thread.consistent);
  key("proof");
  if (const auto proof = name_of(thread.proof)) {
    ascii(*proof);
  } else {
    writer_.Null();
  }
  if (!thread.consistent) text_unless_empty("inconsistency", thread.inconsistency);
  field("truncated", thread.truncated);
  if (thread.unchanged) field("unchanged", *thread.unchanged);
  if (!thread.error.empty()) error_field("partial", thread.error);
  key("frames");
  writer_.StartArray();
  for (const Frame& frame : thread.frames) {
    write_frame(snapshot, frame);
  }
  writer_.EndArray();
  if (!thread.native_frames.empty()) {
    key("native_frames");
    writer_.StartArray();
    for (const Frame& frame : thread.native_frames) {
      write_frame(snapshot, frame);
    }
    writer_.EndArray();
  }
  if (!thread.native_note.empty()) text_field("native_note", thread.native_note);
  if (!thread.native_error.empty()) {
    key("native_error");
    text(thread.native_error);
  }
  writer_.EndObject();
}

template <class Writer>
void JsonRenderer<Writer>::write_lock(const Snapshot& snapshot, const LockWait& lock) {
  writer_.StartObject();
  text_field("type", lock.type);
  address_field("address", lock.address);
  text_unless_empty("name", lock.name);
  text_unless_empty("owner_object", lock.owner_object);
  key("kind");
  ascii(lock.held == Held::NotALock ? "event" : "lock");
  id_field("held_by", lock.held_by);
  key("holder");
  if (const auto holder = name_of(lock.held)) {
    ascii(*holder);
  } else {
    writer_.Null();
  }
  key("taken_in");
  if (lock.taken_in && *lock.taken_in < codes_.size()) {
    writer_.StartObject();
    write_code(snapshot, lock.taken_in);
    position_field("line", lock.taken_at);
    writer_.EndObject();
  } else {
    writer_.Null();
  }
  field("timeout", lock.timed);
  writer_.EndObject();
}

template <class Writer>
void JsonRenderer<Writer>::write_wait(const std::optional<Wait>& wait) {
  if (!wait) return field("wait", nullptr);
  key("wait");
  writer_.StartObject();
  text_field("kind", wait->kind);
  text_field("syscall", wait->system_call);
  field("fd", wait->fd ? std::optional<std::int64_t>(*wait->fd) : std::nullopt);
  text_unless_empty("target", wait->target);
  field("timeout_us", wait->timeout_us);
  field("left_us", wait->left_us);
  writer_.EndObject();
}

template <class Writer>
void JsonRenderer<Writer>::write_frame(const Snapshot& snapshot, const Frame& frame) {
  writer_.StartObject();
  key("kind");
  if (frame.kind == FrameKind::Shim) {
    ascii("shim");
  } else if (frame.kind == FrameKind::Native) {
    ascii("native");
    write_native(snapshot, frame);
  } else {
    ascii("python");
    write_code(snapshot, frame.code);
    position_field("line", frame.position.line);
    position_field("end_line", frame.position.end_line);
    position_field("column", frame.position.column);
    position_field("end_column", frame.position.end_column);
    if (frame.source && *frame.source < sources_.size()) {
      const SourceLine& line = snapshot.sources[*frame.source];
      if (line.changed) {
        field("source_changed", true);
      } else {
        auto& safe = sources_[*frame.source];
        if (!safe) safe = SafeText{escape(stripped(line.text), Tabs::Keep)};
        key("source");
        value(*safe);
      }
    }
  }
  if (frame.locals && *frame.locals < snapshot.locals.size()) {
    write_locals(snapshot.locals[*frame.locals]);
  }
  if (frame.moving) field("moving", true);
  if (!frame.error.empty()) error_field("partial", frame.error);
  writer_.EndObject();
}

template <class Writer>
void JsonRenderer<Writer>::write_native(const Snapshot& snapshot, const Frame& frame) {
  const NativeLocation unknown;
  const NativeLocation* known = native_location(snapshot, frame);
  const NativeLocation& location = known != nullptr ? *known : unknown;
  text_unless_empty("function", location.function);
  text_unless_empty("module", location.module);
  address_field("offset", location.offset);
  text_unless_empty("file", location.file);
  position_field("line", location.line > 0 ? std::optional(location.line) : std::nullopt);
  if (frame.guessed) field("guessed", true);
}

template <class Writer>
void JsonRenderer<Writer>::write_locals(const Locals& locals) {
  key("locals");
  writer_.StartArray();
  for (const Local& local : locals.variables) {
    writer_.StartObject();
    text_field("name", local.name);
    key("kind");
    ascii(name_of(local.kind));
    if (const std::string_view parameter = name_of(local.parameter); !parameter.empty()) {
      key("parameter");
      ascii(parameter);
    }
    text_field("type", local.type);
    text_field("repr", local.repr);
    if (!local.detail.empty()) text_field("detail", local.detail);
    field("truncated", local.truncated);
    writer_.EndObject();
  }
  writer_.EndArray();
  if (!locals.consistent) field("locals_changed", true);
  if (!locals.error.empty()) {
    text_field("locals_error", locals.error);
  } else if (!locals.complete) {
    text_field("locals_error", "not all of them could be read");
  }
  if (locals.left_out > 0) field("locals_left_out", std::uint64_t{locals.left_out});
}

template <class Writer>
void JsonRenderer<Writer>::write_code(const Snapshot& snapshot,
                                      std::optional<std::uint32_t> index) {
  if (!index || *index >= codes_.size()) {
    field("function", nullptr);
    field("qualified_name", nullptr);
    field("file", nullptr);
    return;
  }
  auto& safe = codes_[*index];
  if (!safe) {
    const Code& code = snapshot.codes[*index];
    safe = SafeCode{{escape(code.function)}, {escape(code.qualified_name)}, {escape(code.file)}};
  }
  key("function");
  value(safe->function);
  key("qualified_name");
  value(safe->qualified_name);
  key("file");
  value(safe->file);
}

template <class Writer>
void JsonRenderer<Writer>::write(pid_t pid, const Error& error, std::string_view schema) {
  writer_.StartObject();
  key("schema");
  ascii(schema);
  id_field("pid", pid);
  error_field(error);
  writer_.EndObject();
}

}  // namespace

std::string render_json(const Snapshot& snapshot, JsonStyle style) {
  return json_text(style, [&](auto& writer) { JsonRenderer(writer).write(snapshot); });
}

std::string render_json(pid_t pid, const Error& error, JsonStyle style, std::string_view schema) {
  return json_text(style, [&](auto& writer) { JsonRenderer(writer).write(pid, error, schema); });
}

}  // namespace pyscope
