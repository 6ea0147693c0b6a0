// The text form, for people. All text of the target passes escape() on its way here.
//
// The order of threads is that of interest: somebody who was woken up by the service wants the
// unusual ones. Threads that do the same are printed once. Threads at rest come last, with a line
// each, and code that only calls the program's own has one line for all of its frames, unless all
// is asked for.

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file_name.hpp"
#include "base/thousands.hpp"
#include "format/advice.hpp"
#include "format/chain_text.hpp"
#include "format/duration.hpp"
#include "format/escape.hpp"
#include "format/frame_text.hpp"
#include "format/lock_text.hpp"
#include "format/paint.hpp"
#include "format/process_text.hpp"
#include "format/recursion.hpp"
#include "format/summary.hpp"
#include "format/tasks.hpp"
#include "format/timestamp.hpp"
#include "format/wait_text.hpp"
#include "format/wrap.hpp"
#include "model/origin.hpp"
#include "pyscope/render.hpp"
#include "verdict/activity.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxThreadNameColumns = 80;
constexpr std::size_t kCommBytes = 15;           // what the kernel keeps of a thread's name
constexpr std::uint64_t kMinCpuTimeUs = 10'000;  // one clock tick, the unit in which it is counted

bool is_comm_of(std::string_view os_name, std::string_view full_name) {
  return os_name == full_name.substr(0, kCommBytes);
}

/// Threads that are printed as one: they are in the same state and execute the same.
struct ThreadGroup {
  std::vector<const Thread*> members;
  std::string words;                          // of their state, without what each one waits for
  std::string lock;                           // what is said of what they wait for in Python
  std::vector<std::uint32_t> frames;          // numbers of FrameTexts, without the shims
  std::vector<std::uint32_t> native;          // of those that have no place among them
  std::size_t moving = 0;                     // so many of them changed while they were read
  Activity activity;                          // of the first of them
  ActivityKind rank = ActivityKind::Unknown;  // how interesting they are
  bool brief = false;                         // a line is enough for them
};

class TextRenderer {
 public:
  TextRenderer(const Snapshot& snapshot, const TextOptions& options)
      : snapshot_(snapshot),
        options_(options),
        painter_(options.color),
        frame_texts_(snapshot, painter_,
                     {.columns = options.columns,
                      .own_stand_out = !options.full,
                      .whole_paths = options.full}),
        activities_(snapshot),
        origins_(snapshot),
        chains_(snapshot) {
    const auto leader =
        std::find_if(snapshot.threads.begin(), snapshot.threads.end(),
                     [&](const Thread& thread) { return thread.tid == snapshot.pid; });
    if (leader != snapshot.threads.end()) process_os_name_ = leader->os_name;
  }

  std::string render() {
    append_deadlocks();
    TasksText tasks;
    if (options_.tasks) {
      tasks = describe_tasks(
          snapshot_, {.color = options_.color, .columns = options_.columns, .full = options_.full});
    }
    out_ += tasks.findings;
    if (!tasks.findings.empty()) out_ += '\n';
    append_wrapped(Style::Heading, summarize(snapshot_, options_.columns));
    out_ += tasks.summary;
    append_process(out_, snapshot_, painter_, options_.columns);
    append_capture(out_, snapshot_, painter_);
    append_banners();
    append_next_steps(out_, next_steps(snapshot_), painter_);
    const std::vector<ThreadGroup> groups = make_groups();
    reserve_for(groups);
    for (const ThreadGroup& group : groups) {
      if (!group.brief) append_group(group);
    }
    bool first = true;
    for (const ThreadGroup& group : groups) {
      if (!group.brief) continue;
      if (std::exchange(first, false)) out_ += '\n';
      append_brief(group);
    }
    if (!tasks.body.empty()) out_ += '\n' + tasks.body;
    return std::move(out_);
  }

 private:
  void append(Style style, std::string_view text) { painter_.append(out_, style, text); }
  void append_line(Style style, std::string_view text) {
    append(style, text);
    out_ += '\n';
  }

  /// In lines of the terminal's width.
  void append_wrapped(Style style, std::string_view text);

  void append_deadlocks();
  void append_banners();

  [[nodiscard]] std::vector<ThreadGroup> make_groups();
  void choose_brief(std::vector<ThreadGroup>& groups) const;
  void name_one_lock(ThreadGroup& group);
  [[nodiscard]] std::string state_words(const Thread& thread, const Activity& activity,
                                        std::string_view wait, std::string_view lock) const;
  [[nodiscard]] std::string heading_words(const ThreadGroup& group) const;
  [[nodiscard]] bool is_os_name_news(const Thread& thread) const;

  void reserve_for(const std::vector<ThreadGroup>& groups);
  void append_group(const ThreadGroup& group);
  void append_brief(const ThreadGroup& group);
  [[nodiscard]] std::string thread_heading(const ThreadGroup& group) const;
  [[nodiscard]] std::string group_words(const ThreadGroup& group) const;
  [[nodiscard]] std::string members_within(const ThreadGroup& group, std::size_t columns) const;
  void append_frames(std::span<const std::uint32_t> frames);
  void append_repeated(std::span<const std::uint32_t> frames);
  void append_stack(const ThreadGroup& group);

  const Snapshot& snapshot_;
  const TextOptions& options_;
  Painter painter_;
  FrameTexts frame_texts_;
  ActivityFinder activities_;
  Origins origins_;
  ChainTexts chains_;
  std::optional<std::string> process_os_name_;  // that of its first thread
  std::string out_;
};

void TextRenderer::append_wrapped(Style style, std::string_view text) {
  const std::string wrapped = wrap(text, options_.columns);
  std::string_view rest = wrapped;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    append_line(style, rest.substr(0, end));  // pagers colour each line by itself
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

/// Deadlocks come first: a reader who finds one here needs to read no further.
void TextRenderer::append_deadlocks() {
  for (const Deadlock& deadlock : snapshot_.deadlocks) {
    const std::vector<std::string> lines = describe_deadlock(snapshot_, deadlock);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      append_line(i == 0 ? Style::Error : Style::Plain, lines[i]);
    }
    out_ += '\n';
  }
}

void TextRenderer::append_banners() {
  if (snapshot_.finalizing) {
    append_line(Style::Heading, snapshot_.shut_down
                                    ? "*** The interpreter has shut down: no Python can run ***"
                                    : "*** The interpreter is shutting down ***");
  }
  const bool several = snapshot_.interpreters.size() > 1;
  for (const Interpreter& interpreter : snapshot_.interpreters) {
    const std::string name =
        several ? fmt::format("Interpreter {}", interpreter.id) : std::string("The interpreter");
    if (interpreter.collecting_garbage) {
      append_line(Style::Plain, fmt::format("{} is collecting garbage", name));
    }
    // The thread itself says so if it is printed.
    const auto holder = interpreter.gil_held_by;
    const bool shown = std::any_of(snapshot_.threads.begin(), snapshot_.threads.end(),
                                   [&](const Thread& thread) { return thread.tid == holder; });
    if (holder && !shown) {
      append_line(
          Style::Plain,
          fmt::format("The GIL{} is held by thread {}, which isn't shown",
                      several ? fmt::format(" of interpreter {}", interpreter.id) : std::string(),
                      *holder));
    }
  }
  for (const std::string& warning : snapshot_.warnings) {
    append_line(Style::Error, fmt::format("Warning: {}", escape(warning)));
  }
}

/// On most systems a thread without a name of its own has the name of the process, which tells
/// nothing about the thread.
bool TextRenderer::is_os_name_news(const Thread& thread) const {
  if (!thread.os_name || thread.os_name->empty()) return false;
  const std::string& os_name = *thread.os_name;
  if (thread.name && is_comm_of(os_name, *thread.name)) return false;
  if (is_comm_of(os_name, file_name(snapshot_.executable))) return false;
  // A script with a #! line gives the process its own name.
  for (std::size_t i = 0; i < std::min<std::size_t>(2, snapshot_.command.size()); ++i) {
    if (is_comm_of(os_name, file_name(snapshot_.command[i]))) return false;
  }
  return thread.tid == snapshot_.pid || thread.os_name != process_os_name_;
}

/// The object of a thread's wait, as far as the words for its activity don't name it already.
std::string details_of(const Thread& thread, const Activity& activity) {
  const bool matters = activity.kind == ActivityKind::WaitingOutside ||
                       activity.kind == ActivityKind::Blocked ||
                       activity.kind == ActivityKind::NoFrames;
  return matters && thread.wait ? wait_details(*thread.wait) : std::string{};
}

/// The words for a thread's state. `wait` follows the words for the system call; `lock` describes
/// the object.
std::string TextRenderer::state_words(const Thread& thread, const Activity& activity,
                                      std::string_view wait, std::string_view lock) const {
  std::string words;
  const auto add = [&words](std::string_view word) {
    if (!words.empty()) words += ", ";
    words += word;
  };
  if (thread.main) add("main");
  if (has_ended(thread)) {
    add("ended");
  } else if (thread.runs_in) {
    add(fmt::format("in a call into interpreter {}", *thread.runs_in));
  } else if (thread.os_state == 'T') {
    add("stopped by a signal");
  } else if (thread.os_state == 't') {
    add("stopped by a tracer");
  } else {
    switch (thread.state) {
      case ThreadState::Running:
        add("running");
        break;
      case ThreadState::WaitingForGil:
        add("waiting for the GIL");
        break;
      case ThreadState::Blocked:
        // The object says more than the fact that the thread waits.
        if (thread.lock && activity.kind != ActivityKind::Idle &&
            (thread.lock->held != Held::NotALock ||
             activity.kind == ActivityKind::WaitingForLock)) {
          add("blocked");
          add(fmt::format("waiting for {}", lock));
        } else if (activity.kind == ActivityKind::Idle ||
                   activity.kind == ActivityKind::WaitingForEvent ||
                   activity.kind == ActivityKind::WaitingForLock ||
                   activity.kind == ActivityKind::WaitingOutside) {
          add("blocked");
          add(clip(escape(activity.words), kMaxWordsColumns));
          words += wait;
          // A worker at rest may wait for the lock of the queue that another worker reads.
          const bool is_told =
              thread.lock && thread.lock->held == Held::NotALock &&
              (activity.kind == ActivityKind::WaitingForEvent || !thread.lock->name.empty());
          if (is_told) add(fmt::format("on {}", lock));
        } else if (thread.wait && thread.wait->kind != "futex") {
          add(fmt::format("blocked in {}{}", escape(thread.wait->system_call), wait));
        } else {
          add("blocked");
          if (thread.system_call == SYS_futex && !thread.lock) {
            const std::string library = waiting_library(snapshot_, thread);
            add(fmt::format("{}{}", kWaitingInNativeCode, clip(escape(library), kMaxWordsColumns)));
          }
        }
        if (thread.os_state == 'D') add("uninterruptible");
        break;
      case ThreadState::Unknown:
        add("state unknown");
        break;
    }
  }
  if (thread.waits_for_gil.value_or(false) && thread.state != ThreadState::WaitingForGil) {
    add("waiting for the GIL");
  }
  if (thread.holds_gil.value_or(false)) add("holds the GIL");
  if (snapshot_.interpreters.size() > 1 && thread.python)
    add(fmt::format("interpreter {}", thread.interpreter));
  return words;
}

/// The words for the state of a group's threads, with the thing that they wait for. If that differs
/// among them, as with many connections to one server, the first thread's stands for all.
std::string TextRenderer::heading_words(const ThreadGroup& group) const {
  const Thread& first = *group.members.front();
  std::string wait = details_of(first, group.activity);
  if (wait.empty()) return group.words;
  const bool same = std::all_of(
      group.members.begin(), group.members.end(),
      [&](const Thread* member) { return details_of(*member, group.activity) == wait; });
  if (!same && !first.wait->fd && first.wait->target.empty()) return group.words;
  if (!same) wait.insert(0, ", the first");
  return state_words(first, group.activity, wait, group.lock);
}

std::vector<ThreadGroup> TextRenderer::make_groups() {
  const bool grouped = options_.grouping == Grouping::Always ||
                       (options_.grouping == Grouping::Automatic && !options_.full);
  std::vector<ThreadGroup> groups;
  groups.reserve(snapshot_.threads.size());
  std::unordered_map<std::string, std::size_t> index;
  for (const Thread& thread : snapshot_.threads) {
    const Activity activity = activities_.find(thread);
    std::string lock = !thread.lock ? std::string()
                       : grouped    ? summarize_wait(*thread.lock)
                                    : describe_wait(thread, chains_.follow_from_holder(thread));
    std::string words = state_words(thread, activity, {}, lock);
    ThreadGroup group{{&thread}, std::move(words), std::move(lock), {}, {}, 0, activity};
    group.rank = is_deadlocked(snapshot_, thread) ? ActivityKind::Deadlocked : activity.kind;
    group.frames.reserve(thread.frames.size());
    for (const Frame& frame : thread.frames) {
      if (frame.kind == FrameKind::Shim) continue;
      group.frames.push_back(frame_texts_.number(frame));
      if (frame.moving) ++group.moving;
    }
    for (const Frame& frame : thread.native_frames)
      group.native.push_back(frame_texts_.number(frame));
    if (grouped) {
      // The key holds everything that is printed below the heading, and the state in the heading.
      std::string key = fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n", thread.interpreter,
                                    group.words, thread.consistent, escape(thread.inconsistency),
                                    thread.truncated, escape(thread.error), group.moving,
                                    thread.unchanged.value_or(false), static_cast<int>(group.rank));
      for (const std::uint32_t frame : group.frames) {
        fmt::format_to(std::back_inserter(key), "{},", frame);
      }
      fmt::format_to(std::back_inserter(key), "\n{}\n{}\n", escape(thread.native_note),
                     escape(thread.native_error));
      for (const std::uint32_t frame : group.native) {
        fmt::format_to(std::back_inserter(key), "{},", frame);
      }
      const auto [entry, is_new] = index.try_emplace(std::move(key), groups.size());
      if (!is_new) {
        groups[entry->second].members.push_back(&thread);
        continue;
      }
    }
    groups.push_back(std::move(group));
  }
  if (grouped) {
    for (ThreadGroup& group : groups)
      name_one_lock(group);
  }
  std::stable_sort(groups.begin(), groups.end(), [](const ThreadGroup& a, const ThreadGroup& b) {
    if (a.rank != b.rank) return a.rank < b.rank;
    return a.members.size() > b.members.size();
  });
  choose_brief(groups);
  return groups;
}

/// For threads at rest a line is enough. If all are at rest, the main thread is shown whole.
void TextRenderer::choose_brief(std::vector<ThreadGroup>& groups) const {
  if (options_.full || options_.idle_stacks) return;
  bool any_stack = false;
  for (ThreadGroup& group : groups) {
    const Thread& first = *group.members.front();
    group.brief = group.rank == ActivityKind::Idle && first.consistent && first.error.empty() &&
                  first.native_error.empty() && group.native.empty();
    any_stack = any_stack || (!group.brief && !group.frames.empty());
  }
  if (any_stack) return;
  const auto has_main = [](const ThreadGroup& group) {
    return std::any_of(group.members.begin(), group.members.end(),
                       [](const Thread* thread) { return thread->main; });
  };
  const auto shown = std::find_if(groups.begin(), groups.end(), has_main);
  if (shown != groups.end()) {
    shown->brief = false;
  } else if (!groups.empty()) {
    groups.front().brief = false;
  }
}

/// Names the object that a group waits for, if all its threads wait for the same one.
void TextRenderer::name_one_lock(ThreadGroup& group) {
  const Thread& first = *group.members.front();
  if (!first.lock) return;
  const bool one =
      std::all_of(group.members.begin(), group.members.end(), [&](const Thread* thread) {
        return thread->lock && thread->lock->address != 0 &&
               thread->lock->address == first.lock->address &&
               thread->lock->held_by == first.lock->held_by;
      });
  if (!one && group.members.size() > 1) return;
  group.lock = describe_wait(first, chains_.follow_from_holder(first));
  group.words = state_words(first, group.activity, {}, group.lock);
}

std::string TextRenderer::thread_heading(const ThreadGroup& group) const {
  const Thread& thread = *group.members.front();
  std::string line = fmt::format("Thread {} ({}", thread_label(thread), heading_words(group));
  const auto to = std::back_inserter(line);
  if (is_os_name_news(thread)) {
    fmt::format_to(to, ", os name \"{}\"", clip(escape(*thread.os_name), kMaxThreadNameColumns));
  }
  if (thread.namespace_tid != 0 && thread.namespace_tid != thread.tid) {
    fmt::format_to(to, ", native id {}", thread.namespace_tid);
  }
  if (thread.cpu_time_us.value_or(0) >= kMinCpuTimeUs) {
    fmt::format_to(to, ", {} CPU", format_duration(*thread.cpu_time_us));
  }
  return line + ')';
}

/// The words for a group, in parentheses.
std::string TextRenderer::group_words(const ThreadGroup& group) const {
  std::string words = heading_words(group);
  std::uint64_t cpu_time_us = 0;
  for (const Thread* thread : group.members) {
    cpu_time_us += thread->cpu_time_us.value_or(0);
  }
  if (cpu_time_us >= kMinCpuTimeUs) {
    fmt::format_to(std::back_inserter(words), ", {} CPU together", format_duration(cpu_time_us));
  }
  return fmt::format("({})", words);
}

/// The group's threads, as many as fit; 0 columns: all.
std::string TextRenderer::members_within(const ThreadGroup& group, std::size_t columns) const {
  std::string text;
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const std::string member = thread_label(*group.members[i]);
    const std::string rest =
        fmt::format(", and {} more", with_separators(group.members.size() - i));
    const std::size_t room = i + 1 < group.members.size() ? rest.size() : 0;  // for the next ones
    if (columns > 0 && i > 0 && display_width(text) + 2 + display_width(member) + room > columns) {
      return text + rest;
    }
    text += (i > 0 ? ", " : "") + member;
  }
  return text;
}

/// The colour of a heading, by how much the thread matters.
Style style_of(const ThreadGroup& group) {
  switch (group.rank) {
    case ActivityKind::Deadlocked:
      return Style::Deadlock;
    case ActivityKind::WaitingForLock:
    case ActivityKind::WaitingForEvent:
    case ActivityKind::Blocked:
    case ActivityKind::Stopped:
      return Style::Waiting;
    case ActivityKind::WaitingOutside: {
      // A sleep ends.
      const Thread& first = *group.members.front();
      const bool sleeps = first.wait && first.wait->kind == "sleep";
      return sleeps ? Style::Heading : Style::Waiting;
    }
    case ActivityKind::Running:
      return Style::Running;
    case ActivityKind::Idle:
      return Style::Note;
    default:
      return Style::Heading;
  }
}

/// Reserves memory for the output: copying tens of megabytes would take longer than writing them.
void TextRenderer::reserve_for(const std::vector<ThreadGroup>& groups) {
  constexpr std::size_t kHeadingBytes = 200;
  constexpr std::size_t kMaxBytes = std::size_t{64} << 20U;  // collapsed recursion needs far less
  std::size_t bytes = 0;
  for (const ThreadGroup& group : groups) {
    bytes += kHeadingBytes;
    for (const std::uint32_t frame : group.frames) {
      bytes += frame_texts_.text(frame).size();
    }
  }
  out_.reserve(out_.size() + std::min(bytes, kMaxBytes));
}

void TextRenderer::append_group(const ThreadGroup& group) {
  out_ += '\n';
  if (group.members.size() == 1) {
    append_wrapped(style_of(group), thread_heading(group));
  } else {
    append_wrapped(style_of(group),
                   fmt::format("{} threads {}", group.members.size(), group_words(group)));
    append_line(Style::Plain,
                "  " + members_within(group, options_.columns > 2 ? options_.columns - 2 : 0));
  }
  const Thread& thread = *group.members.front();
  if (!thread.consistent) {
    out_ += "  ";
    append_line(Style::Error,
                thread.inconsistency.empty()
                    ? std::string("[not verified]")
                    : fmt::format("[not verified: {}]", escape(thread.inconsistency)));
  }
  if (!thread.error.empty()) {
    out_ += "  ";
    append_line(Style::Error, fmt::format("[not read completely: {}]", escape(thread.error)));
  }
  append_stack(group);
}

/// Threads at rest, on one line: who, what, and where in the program's own code.
void TextRenderer::append_brief(const ThreadGroup& group) {
  const Thread& first = *group.members.front();
  std::string line;
  if (group.members.size() == 1) {
    line = thread_heading(group);
  } else {
    line = fmt::format("{} threads {}: {}", group.members.size(), group_words(group),
                       members_within(group, 0));
    if (options_.columns > 0 && display_width(line) > options_.columns) {
      line = fmt::format("{} threads, {} … {} {}", group.members.size(), thread_label(first),
                         thread_label(*group.members.back()), group_words(group));
    }
  }
  const auto innermost =
      std::find_if(first.frames.begin(), first.frames.end(),
                   [](const Frame& frame) { return frame.kind == FrameKind::Python; });
  if (innermost != first.frames.end()) {
    const Frame* own = origins_.own_frame(first, &*innermost);
    if (origins_.is_own(*own)) line += " in " + short_place(snapshot_, own);
  }
  append_line(Style::Note, options_.columns > 0 ? clip(line, options_.columns) : line);
}

/// Frames in their order. Several frames of machinery that follow each other have one line, but for
/// the innermost frame of all, which is what the thread executes.
void TextRenderer::append_frames(std::span<const std::uint32_t> frames) {
  std::size_t begin = 0;  // of those that aren't printed yet
  for (std::size_t at = options_.full ? frames.size() : 1; at < frames.size();) {
    std::size_t end = at;
    std::vector<std::string_view> names;
    for (; end < frames.size(); ++end) {
      const std::string_view name = frame_texts_.machinery(frames[end]);
      if (name.empty()) break;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    if (end - at < 2) {
      at = end + 1;
      continue;
    }
    append_repeated(frames.subspan(begin, at - begin));
    std::string list;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (i > 0) list += i + 1 == names.size() ? " and " : ", ";
      list += names[i];
    }
    out_ += "  ";
    append_line(Style::Note,
                fmt::format("… {} frames of {}", with_separators(end - at), escape(list)));
    begin = at = end;
  }
  append_repeated(frames.subspan(begin));
}

/// Frames with a recursion collapsed.
void TextRenderer::append_repeated(std::span<const std::uint32_t> frames) {
  std::vector<std::uint32_t> lines;
  lines.reserve(frames.size());
  for (const std::uint32_t frame : frames) {
    lines.push_back(frame_texts_.line_key(frame));
  }
  for (const Stretch& stretch : collapse_recursion(lines)) {
    for (std::size_t i = 0; i < stretch.shown; ++i) {
      out_ += frame_texts_.text(frames[stretch.begin + i]);
    }
    if (stretch.repeats == 0) continue;
    const std::string what =
        stretch.period == 1 ? std::string("frame") : fmt::format("{} frames", stretch.period);
    out_ += "  ";
    append_line(Style::Note, fmt::format("[Previous {} repeated {} more {}]", what,
                                         with_separators(stretch.repeats),
                                         stretch.repeats == 1 ? "time" : "times"));
  }
}

void TextRenderer::append_stack(const ThreadGroup& group) {
  if (group.members.front()->unchanged.value_or(false)) {
    out_ += "  ";
    append_line(Style::Note, "[as before]");
    return;
  }
  const std::span<const std::uint32_t> frames = group.frames;
  append_frames(frames.first(group.moving));
  if (group.moving > 0 && group.moving < frames.size()) {
    out_ += "  ";
    append_line(Style::Note, "[what is above changed while it was read, what is below held still]");
  }
  append_frames(frames.subspan(group.moving));
  const Thread& thread = *group.members.front();
  if (thread.truncated) {
    out_ += "  ";
    append_line(Style::Note, "... outer frames left out");
  } else if (group.frames.empty() && thread.error.empty() && thread.native_error.empty()) {
    out_ += "  ";
    append_line(Style::Note, "(no Python frames)");
  }
  if (!group.native.empty()) {
    out_ += "  ";
    append_line(Style::Note, fmt::format("[native frames apart, since their places above are not "
                                         "known: {}]",
                                         escape(thread.native_note)));
    append_frames(group.native);
  }
  if (!thread.native_error.empty()) {
    out_ += "  ";
    append_line(Style::Error, fmt::format("[{}]", escape(thread.native_error)));
  }
}

}  // namespace

std::string render_line(std::string_view message) {
  return escape(message);
}

std::string render_text(const Snapshot& snapshot, const TextOptions& options) {
  return TextRenderer(snapshot, options).render();
}

}  // namespace pyscope
