// The text and JSON forms of a list of processes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_name.hpp"
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
constexpr std::size_t kLeastDoingColumns = 16;

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

std::string command_of(const PythonProcess& process, bool whole) {
  std::string text;
  for (const std::string& word : process.command) {
    if (!text.empty()) text += ' ';
    // The column of the version tells the interpreters apart.
    text += escape(text.empty() && !whole ? file_name(word) : word);
  }
  return text.empty() ? escape(process.executable) : text;
}

/// "9/12": so many threads run Python, of all threads.
std::string threads_of(const PythonProcess& process) {
  if (!process.python_threads || *process.python_threads == process.threads) {
    return fmt::to_string(process.threads);
  }
  return fmt::format("{}/{}", *process.python_threads, process.threads);
}

struct Column {
  const char* heading;
  std::string (*text)(const PythonProcess&);
  bool right = false;  // aligned
};

/// A process in a tree: an index into the list, and the number of its ancestors in there.
struct TreeNode {
  std::size_t process = 0;
  std::size_t depth = 0;
};

/// What stands before the command of a process with so many ancestors.
std::string branch_of(std::size_t depth) {
  if (depth == 0) return {};
  constexpr std::size_t kDeepest = 8;
  return std::string(2 * (std::min(depth, kDeepest) - 1), ' ') + "\\_ ";
}

/// Each process below its parent, where that is in the list.
std::vector<TreeNode> tree_of(std::span<const PythonProcess> processes) {
  std::map<pid_t, std::size_t> index;
  for (std::size_t i = 0; i < processes.size(); ++i)
    index.emplace(processes[i].pid, i);
  std::map<std::size_t, std::vector<std::size_t>> children;
  std::vector<std::size_t> roots;
  for (std::size_t i = 0; i < processes.size(); ++i) {
    const auto parent = index.find(processes[i].parent_pid);
    if (parent == index.end() || parent->second == i) {
      roots.push_back(i);
    } else {
      children[parent->second].push_back(i);
    }
  }
  std::vector<TreeNode> tree;
  std::vector<TreeNode> next;
  std::vector<bool> seen(processes.size(), false);
  const auto push = [&](const std::vector<std::size_t>& some, std::size_t depth) {
    for (auto one = some.rbegin(); one != some.rend(); ++one)
      next.push_back({*one, depth});
  };
  push(roots, 0);
  while (!next.empty()) {
    const TreeNode node = next.back();
    next.pop_back();
    tree.push_back(node);
    seen[node.process] = true;
    push(children[node.process], node.depth + 1);
  }
  // The list was read while processes came and went, so that parents may go in a circle.
  for (std::size_t i = 0; i < processes.size(); ++i) {
    if (!seen[i]) tree.push_back({i, 0});
  }
  return tree;
}

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
  columns.push_back({"THREADS", threads_of, true});
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
  if (std::any_of(processes.begin(), processes.end(),
                  [](const PythonProcess& p) { return !p.activity.empty(); })) {
    columns.push_back({"DOING", [](const PythonProcess& p) {
                         return p.activity.empty() ? std::string("-") : p.activity;
                       }});
  }
  columns.push_back({"COMMAND", nullptr});  // in a tree
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
  json.field("python_threads", process.python_threads
                                   ? std::optional(std::uint64_t{*process.python_threads})
                                   : std::nullopt);
  json.word_or_null("activity", process.activity.empty()
                                    ? std::nullopt
                                    : std::optional<std::string_view>(process.activity));
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
  for (const TreeNode& node : tree_of(processes)) {
    const PythonProcess& process = processes[node.process];
    auto& row = cells.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      std::string text = columns[i].text == nullptr
                             ? branch_of(node.depth) + command_of(process, options.full)
                             : columns[i].text(process);
      const bool doing = std::string_view(columns[i].heading) == "DOING";
      if (doing && options.columns != 0) {
        text = clip_middle(text, std::max(kLeastDoingColumns, options.columns / 5));
      }
      widths[i] = std::max(widths[i], display_width(text));
      row.push_back(std::move(text));
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
        text = clip_middle(text, std::max(room, kLeastCommand));
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
