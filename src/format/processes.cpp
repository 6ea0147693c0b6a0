// The text and JSON forms of a list of processes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "format/duration.hpp"
#include "format/escape.hpp"
#include "format/json_parts.hpp"
#include "format/json_writer.hpp"
#include "format/paint.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostNameColumns = 32;
constexpr std::size_t kMostRefusals = 8;  // that are told in full

/// "3.14.8", with a "t" behind it for a free-threaded build and a "d" for a debug build, as in
/// sys.abiflags.
std::string version_of(const PythonProcess& process) {
  if (!process.python || process.python->version.empty()) return "?";
  std::string text = escape(process.python->version);
  if (process.python->free_threaded) text += 't';
  if (process.python->debug_build.value_or(false)) text += 'd';
  return text;
}

std::uint64_t age_us(const PythonProcess& process) {
  if (!process.started_at || *process.started_at > process.captured_at) return 0;
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        process.captured_at - *process.started_at)
                                        .count());
}

/// The process's share of one processor since it was started.
std::string cpu_of(const PythonProcess& process) {
  const std::uint64_t age = age_us(process);
  if (age == 0) return "?";
  return fmt::format("{:.1f}%",
                     100.0 * static_cast<double>(process.cpu_time_us) / static_cast<double>(age));
}

/// The manager of a process: a container by its id as its runtime shows it, or a unit.
std::string manager_of(const PythonProcess& process) {
  constexpr std::size_t kShortId = 12;
  std::string text =
      process.container.size() == 64 ? process.container.substr(0, kShortId) : process.container;
  if (!process.unit.empty()) {
    if (!text.empty()) text += '/';
    text += process.unit;
  }
  return text.empty() ? "-" : clip(escape(text), kMostNameColumns);
}

std::string command_of(const PythonProcess& process) {
  std::string text;
  for (const std::string& word : process.command) {
    if (!text.empty()) text += ' ';
    text += escape(word);
  }
  return text.empty() ? escape(process.executable) : text;
}

struct Column {
  const char* heading;
  std::string (*text)(const PythonProcess&);
  bool right = false;  // aligned
};

std::vector<Column> columns_for(std::span<const PythonProcess> processes) {
  std::vector<Column> columns = {
      {"PID", [](const PythonProcess& p) { return fmt::to_string(p.pid); }, true}};
  // A column that says nothing only takes room.
  if (std::any_of(processes.begin(), processes.end(),
                  [](const PythonProcess& p) { return p.namespace_pid != p.pid; })) {
    columns.push_back(
        {"INSIDE", [](const PythonProcess& p) { return fmt::to_string(p.namespace_pid); }, true});
  }
  columns.push_back({"USER", [](const PythonProcess& p) {
                       return p.user.empty() ? fmt::to_string(p.uid)
                                             : clip(escape(p.user), kMostNameColumns);
                     }});
  columns.push_back({"PYTHON", version_of});
  columns.push_back(
      {"THREADS", [](const PythonProcess& p) { return fmt::to_string(p.threads); }, true});
  columns.push_back({"CPU", cpu_of, true});
  columns.push_back(
      {"UP", [](const PythonProcess& p) { return format_duration(age_us(p)); }, true});
  if (std::any_of(processes.begin(), processes.end(),
                  [](const PythonProcess& p) { return !p.container.empty() || !p.unit.empty(); })) {
    columns.push_back({"UNIT", manager_of});
  }
  if (std::any_of(processes.begin(), processes.end(),
                  [](const PythonProcess& p) { return p.refusal.has_value(); })) {
    columns.push_back(
        {"READABLE", [](const PythonProcess& p) { return std::string(p.refusal ? "no" : "yes"); }});
  }
  columns.push_back({"COMMAND", command_of});
  return columns;
}

/// Appends the reasons why processes couldn't be read. A hint is printed only where it differs from
/// the one before.
void append_refusals(std::string& out, std::span<const PythonProcess> processes,
                     const Painter& painter) {
  std::size_t told = 0;
  std::size_t more = 0;
  std::string hint;
  for (const PythonProcess& process : processes) {
    if (!process.refusal) continue;
    if (told == kMostRefusals) {
      ++more;
      continue;
    }
    if (told++ == 0) out += '\n';
    painter.append(out, Style::Error, escape(process.refusal->message));
    out += '\n';
    std::string next = render_hint(*process.refusal);
    if (!next.empty() && next != hint) {
      hint = std::move(next);
      out += "  ";
      painter.append(out, Style::Note, escape(hint));
      out += '\n';
    }
  }
  if (more > 0) fmt::format_to(std::back_inserter(out), "and {} more that can't be read\n", more);
}

void write_json(JsonWriter& json, const PythonProcess& process) {
  write_capture(json, kPsSchema, process);
  json.id_field("parent_pid", process.parent_pid);
  json.text_unless_empty("user", process.user);
  json.field("uid", std::uint64_t{process.uid});
  if (process.python) {
    json.object_field("python", [&] { write_build(json, *process.python); });
  } else {
    json.field("python", nullptr);
  }
  json.text_unless_empty("executable", process.executable);
  json.texts_field("command", process.command);
  json.field("threads", std::uint64_t{process.threads});
  json.field("cpu_time_us", process.cpu_time_us);
  write_start_time(json, process.started_at);
  json.text_unless_empty("container", process.container);
  json.text_unless_empty("unit", process.unit);
  json.field("readable", !process.refusal.has_value());
  if (process.refusal) {
    json.text_field("reason", process.refusal->message);
    write_error(json, *process.refusal);
  } else {
    json.field("reason", nullptr);
  }
}

}  // namespace

std::string render_text(std::span<const PythonProcess> processes,
                        const ProcessListOptions& options) {
  std::string out;
  if (processes.empty()) return out;
  const Painter painter(options.color);
  const std::vector<Column> columns = columns_for(processes);
  std::vector<std::vector<std::string>> cells;
  std::vector<std::size_t> widths;
  for (const Column& column : columns)
    widths.push_back(display_width(column.heading));
  for (const PythonProcess& process : processes) {
    auto& row = cells.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      row.push_back(columns[i].text(process));
      widths[i] = std::max(widths[i], display_width(row.back()));
    }
  }
  std::size_t before_last = 0;  // columns that all but the last take, with the space behind them
  for (std::size_t i = 0; i + 1 < widths.size(); ++i)
    before_last += widths[i] + 2;
  constexpr std::size_t kLeastCommand = 16;
  const auto append_row = [&](const auto& text_of, Style style) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      std::string text = text_of(i);
      const bool last = i + 1 == columns.size();
      if (last && options.columns != 0) {
        const std::size_t room = options.columns > before_last ? options.columns - before_last : 0;
        text = clip(text, std::max(room, kLeastCommand));
      }
      const std::size_t width = display_width(text);
      const std::size_t padding = last || width > widths[i] ? 0 : widths[i] - width;
      if (columns[i].right) out.append(padding, ' ');
      painter.append(out, style, text);
      if (last) continue;
      if (!columns[i].right) out.append(padding, ' ');
      out += "  ";
    }
    out += '\n';
  };
  append_row([&](std::size_t i) { return std::string(columns[i].heading); }, Style::Heading);
  for (const auto& row : cells)
    append_row([&](std::size_t i) { return row[i]; }, Style::Plain);
  append_refusals(out, processes, painter);
  return out;
}

std::string render_json(const PythonProcess& process) {
  return json_document(JsonStyle::Compact, [&](JsonWriter& json) { write_json(json, process); });
}

}  // namespace pyscope
