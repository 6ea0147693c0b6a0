// The text form of tasks. Tasks are shown below the ones that await them; those that are alike are
// shown once.
#include "format/tasks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "format/advice.hpp"
#include "format/duration.hpp"
#include "format/escape.hpp"
#include "format/frame_text.hpp"
#include "format/lock_text.hpp"
#include "format/paint.hpp"
#include "format/process_text.hpp"
#include "format/task_text.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostGroupsInSummary = 6;
constexpr std::size_t kMostNamesOfGroup = 6;
constexpr std::size_t kMostIndents = 16;
constexpr std::string_view kIndent = "    ";

class TasksWriter {
 public:
  TasksWriter(const Snapshot& snapshot, const TasksTextOptions& options)
      : snapshot_(snapshot),
        options_(options),
        painter_(options.color),
        frame_texts_(snapshot, painter_,
                     {.columns = options.columns,
                      .own_stand_out = !options.full,
                      .whole_paths = options.full}),
        texts_(snapshot),
        findings_(find_task_findings(snapshot)) {
    for (const TaskFinding& finding : findings_) {
      if (finding.kind == TaskFinding::Kind::Deadlock)
        deadlocked_.insert(finding.tasks.begin(), finding.tasks.end());
    }
  }

  TasksText write() {
    TasksText text;
    for (const TaskFinding& finding : findings_)
      append_line(Style::Error, texts_.describe(finding));
    text.findings = std::exchange(out_, {});
    append_line(Style::Heading, summary());
    text.summary = std::exchange(out_, {});
    for (const EventLoop& loop : snapshot_.loops)
      append_line(Style::Plain, describe_loop(loop));
    if (options_.flat) {
      append_table();
    } else {
      append_tree();
    }
    text.body = std::move(out_);
    return text;
  }

 private:
  void append_line(Style style, std::string_view text) {
    painter_.append(out_, style, text);
    out_ += '\n';
  }

  [[nodiscard]] std::string words_of(const SuspendedStack& task) const {
    return deadlocked_.contains(task.id) ? "deadlocked" : kind_of_task(task);
  }

  [[nodiscard]] std::string summary() const {
    if (snapshot_.stacks.empty()) return "no tasks";
    std::unordered_map<std::string, std::size_t> counts;
    for (const SuspendedStack& task : snapshot_.stacks)
      ++counts[words_of(task)];
    std::vector<std::pair<std::string, std::size_t>> groups(counts.begin(), counts.end());
    std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
      const bool a_first = a.first == "deadlocked";
      const bool b_first = b.first == "deadlocked";
      if (a_first != b_first) return a_first;
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    const std::size_t all = snapshot_.stacks.size();
    std::string text = fmt::format("{} task{}: ", all, all == 1 ? "" : "s");
    std::size_t told = 0;
    for (std::size_t i = 0; i < std::min(groups.size(), kMostGroupsInSummary); ++i) {
      text += fmt::format("{}{} {}", i > 0 ? ", " : "", groups[i].second, groups[i].first);
      told += groups[i].second;
    }
    if (told < all) text += fmt::format(", {} more", all - told);
    return text;
  }

  [[nodiscard]] std::string describe_loop(const EventLoop& loop) const {
    std::string text = "Event loop";
    if (!loop.type.empty()) text += " " + escape(loop.type);
    if (!loop.tid) return text + ": runs in no thread that is known";
    const auto thread = std::find_if(snapshot_.threads.begin(), snapshot_.threads.end(),
                                     [&](const Thread& one) { return one.tid == *loop.tid; });
    text += " of thread " +
            (thread == snapshot_.threads.end() ? fmt::to_string(*loop.tid) : thread_label(*thread));
    if (loop.busy_us) {
      text += ": busy for " + format_duration(static_cast<std::uint64_t>(*loop.busy_us));
    } else if (loop.running_task) {
      text += ": busy";
    } else {
      text += ": waits for events";
    }
    if (loop.running_task) text += " with " + texts_.label(*loop.running_task);
    if (loop.ready) text += fmt::format(", {} ready", *loop.ready);
    return text;
  }

  /// A line for each task.
  void append_table() {
    out_ += '\n';
    for (const SuspendedStack& task : snapshot_.stacks) {
      if (!is_chosen(task, options_.tasks)) continue;
      painter_.append(out_, Style::Line, task_label(task));
      if (!task.coroutine.empty()) {
        out_ += "  ";
        painter_.append(out_, Style::Function, escape(task.coroutine));
      }
      out_ += "  " + texts_.describe(task) + place_of(task) + '\n';
    }
  }

  /// "  in Store.fetch (/srv/shop/db.py:31)": the innermost function that isn't asyncio's own.
  [[nodiscard]] std::string place_of(const SuspendedStack& task) const {
    for (const Frame& frame : task.frames) {
      if (!frame.code || *frame.code >= snapshot_.codes.size()) continue;
      const Code& code = snapshot_.codes[*frame.code];
      if (code.file.find("/asyncio/") != std::string::npos) continue;
      std::string text = fmt::format("  in {} ({}", escape(code.qualified_name), escape(code.file));
      if (frame.position.line) text += fmt::format(":{}", *frame.position.line);
      return text + ")";
    }
    return {};
  }

  /// In the order in which somebody who looks for trouble wants to read them.
  [[nodiscard]] int rank_of(const SuspendedStack& task) const {
    if (deadlocked_.contains(task.id)) return 0;
    if (task.state == "running") return 1;
    if (!task.wait) return 2;
    static constexpr std::array<std::string_view, 4> kLast = {"timer", "event", "queue", "server"};
    const auto found = std::find(kLast.begin(), kLast.end(), task.wait->kind);
    return found == kLast.end() ? 3 : 4 + static_cast<int>(found - kLast.begin());
  }

  void append_tree() {
    std::vector<const SuspendedStack*> roots;
    for (const SuspendedStack& task : snapshot_.stacks) {
      if (!options_.tasks.empty() ? is_chosen(task, options_.tasks) : task.awaited_by.empty())
        roots.push_back(&task);
    }
    std::stable_sort(roots.begin(), roots.end(),
                     [&](const SuspendedStack* a, const SuspendedStack* b) {
                       return rank_of(*a) < rank_of(*b);
                     });
    append_tasks(roots, 0);
    if (!options_.tasks.empty()) return;
    // Those that only wait for each other, in a circle, hang off no root.
    for (const SuspendedStack& task : snapshot_.stacks) {
      if (!printed_.contains(task.id)) append_tasks({&task}, 0);
    }
  }

  struct Group {
    std::vector<const SuspendedStack*> members;
    std::vector<std::uint32_t> frames;
  };

  void append_tasks(const std::vector<const SuspendedStack*>& tasks, std::size_t depth) {
    // What lies deeper is printed as if nobody awaited it.
    constexpr std::size_t kMostDepth = 200;
    if (depth == kMostDepth) return;
    std::vector<Group> groups;
    std::unordered_map<std::string, std::size_t> known;
    for (const SuspendedStack* task : tasks) {
      // A task that several others await stands below each of them, with its own frames only once.
      if (!printed_.insert(task->id).second) {
        out_.append(indent_of(depth));
        out_ += "Task " + task_label(*task) + ", above\n";
        continue;
      }
      Group group{{task}, {}};
      std::string key = words_of(*task) + '\n' + summarize_task(*task) + '\n' + task->coroutine +
                        '\n' + task->error + '\n';
      for (const Frame& frame : task->frames) {
        group.frames.push_back(frame_texts_.number(frame));
        key += fmt::format("{},", group.frames.back());
      }
      if (task->wait) {
        for (const std::uint64_t holder : task->wait->held_by)
          key += fmt::format("{:#x},", holder);
      }
      // What a task awaits is printed below it.
      const bool alone = options_.full || (task->wait && !task->wait->tasks.empty()) ||
                         !options_.tasks.empty() || deadlocked_.contains(task->id);
      if (alone) key += fmt::format("\n{:#x}", task->id);
      const auto [entry, fresh] = known.try_emplace(key, groups.size());
      if (fresh) {
        groups.push_back(std::move(group));
      } else {
        groups[entry->second].members.push_back(task);
      }
    }
    for (const Group& group : groups)
      append_group(group, depth);
  }

  [[nodiscard]] static std::string indent_of(std::size_t depth) {
    std::string text;
    for (std::size_t i = 0; i < std::min(depth, kMostIndents); ++i)
      text += kIndent;
    return text;
  }

  void append_group(const Group& group, std::size_t depth) {
    const SuspendedStack& first = *group.members.front();
    const std::string indent = indent_of(depth);
    if (depth == 0) out_ += '\n';
    std::string heading = "Task " + task_label(first);
    if (group.members.size() > 1) {
      heading = fmt::format("{} tasks: ", group.members.size());
      for (std::size_t i = 0; i < std::min(group.members.size(), kMostNamesOfGroup); ++i)
        heading += (i > 0 ? ", " : "") + task_label(*group.members[i]);
      if (group.members.size() > kMostNamesOfGroup)
        heading += fmt::format(" and {} more", group.members.size() - kMostNamesOfGroup);
    }
    if (!first.coroutine.empty()) heading += " (" + escape(first.coroutine) + ")";
    heading += ": ";
    heading += group.members.size() > 1 ? describe_group(first) : texts_.describe(first);
    if (deadlocked_.contains(first.id)) heading += ", deadlocked";
    out_ += indent;
    append_line(Style::Heading, heading);
    if (!first.error.empty()) {
      out_ += indent + "  ";
      append_line(Style::Error, "[" + escape(first.error) + "]");
    }
    for (const std::uint32_t frame : group.frames)
      append_indented(frame_texts_.text(frame), indent);
    if (!first.wait) return;
    std::vector<const SuspendedStack*> awaited;
    for (const std::uint64_t id : first.wait->tasks) {
      if (const SuspendedStack* task = texts_.find(id)) awaited.push_back(task);
    }
    append_tasks(awaited, depth + 1);
  }

  /// Of tasks that are alike.
  [[nodiscard]] std::string describe_group(const SuspendedStack& first) const {
    std::string text = summarize_task(first);
    if (first.wait && !first.wait->held_by.empty()) {
      text += ", held by ";
      for (std::size_t i = 0; i < std::min(first.wait->held_by.size(), kMostNamesOfGroup); ++i)
        text += (i > 0 ? ", " : "") + texts_.label(first.wait->held_by[i]);
    }
    return text;
  }

  void append_indented(std::string_view lines, std::string_view indent) {
    while (!lines.empty()) {
      const std::size_t end = std::min(lines.find('\n'), lines.size() - 1) + 1;
      out_ += indent;
      out_ += lines.substr(0, end);
      lines.remove_prefix(end);
    }
  }

  const Snapshot& snapshot_;
  const TasksTextOptions& options_;
  Painter painter_;
  FrameTexts frame_texts_;
  TaskTexts texts_;
  std::vector<TaskFinding> findings_;
  std::unordered_set<std::uint64_t> deadlocked_;
  std::unordered_set<std::uint64_t> printed_;
  std::string out_;
};

}  // namespace

TasksText describe_tasks(const Snapshot& snapshot, const TasksTextOptions& options) {
  return TasksWriter(snapshot, options).write();
}

std::string render_tasks(const Snapshot& snapshot, const TasksTextOptions& options) {
  const Painter painter(options.color);
  const TasksText tasks = describe_tasks(snapshot, options);
  std::string out = tasks.findings;
  if (!out.empty()) out += '\n';
  out += tasks.summary;
  append_process(out, snapshot, painter, options.columns);
  append_capture(out, snapshot, painter);
  for (const std::string& warning : snapshot.warnings) {
    painter.append(out, Style::Error, "Warning: " + escape(warning));
    out += '\n';
  }
  if (!advice(snapshot).empty()) {
    append_next_steps(out,
                      {{fmt::format("pyscope tasks {} --pause", snapshot.pid),
                        "holds all threads for some milliseconds"}},
                      painter);
  }
  return out + tasks.body;
}

}  // namespace pyscope
