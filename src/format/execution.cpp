// The JSON form of what became of code, and the code's output as it may be shown.
#include <fmt/format.h>

#include "format/escape.hpp"
#include "format/json_parts.hpp"
#include "format/json_writer.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

void write_json(JsonWriter& json, const Execution& execution) {
  const auto output = [&](std::string_view name, const std::optional<std::string>& text) {
    json.key(name);
    if (text) {
      json.value(SafeText{render_output(*text)});
    } else {
      json.null();
    }
  };
  const bool known = execution.ran.value_or(false);
  write_subject(json, kExecSchema, execution.pid);
  json.id_field("tid", execution.tid);
  json.text_or_null("name", execution.name);
  json.field("ran", execution.ran);
  output("stdout", known ? std::optional(execution.out) : std::nullopt);
  output("stderr", known ? std::optional(execution.err) : std::nullopt);
  output("repr", execution.repr);
  json.key("exception");
  if (execution.exception) {
    json.object([&] {
      json.text_field("type", execution.exception->type);
      output("message", execution.exception->message);
      output("traceback", execution.exception->traceback);
    });
  } else {
    json.null();
  }
  json.field("truncated", execution.truncated);
  json.field("paused_us", execution.paused_us);
  if (execution.error) write_error(json, *execution.error);
}

}  // namespace

std::string render_output(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    append_escaped(out, text.substr(0, end), Tabs::Keep);
    if (end == std::string_view::npos) break;
    out += '\n';
    text.remove_prefix(end + 1);
  }
  return out;
}

std::string render_json(const Execution& execution, JsonStyle style) {
  return json_document(style, [&](JsonWriter& json) { write_json(json, execution); });
}

}  // namespace pyscope
