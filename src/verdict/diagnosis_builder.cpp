#include "verdict/diagnosis_builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "base/file_name.hpp"
#include "base/thousands.hpp"
#include "model/standard_waits.hpp"
#include "verdict/activity.hpp"
#include "verdict/dispatched_work.hpp"
#include "verdict/trend.hpp"

namespace pyscope {
namespace {

using Clock = DiagnosisBuilder::Clock;

/// What a code object is across samples, of which each has numbers of its own.
struct CodeName {
  std::string name;
  std::string file;
  std::int32_t first_line = 0;

  [[nodiscard]] bool names(const Code& code) const {
    return first_line == code.first_line && file == code.file &&
           name == (code.qualified_name.empty() ? code.function : code.qualified_name);
  }
};

/// The names of the code objects of one sample. All frames of all threads that run one share its
/// name: a deep stack may run one with a long name a hundred thousand times.
class SharedNames {
 public:
  explicit SharedNames(const Snapshot& snapshot)
      : codes_(snapshot.codes), names_(snapshot.codes.size()) {}

  [[nodiscard]] std::shared_ptr<const CodeName> of(std::uint32_t index) {
    auto& name = names_[index];
    if (!name) {
      const Code& code = codes_[index];
      name = std::make_shared<const CodeName>(
          CodeName{code.qualified_name.empty() ? code.function : code.qualified_name, code.file,
                   code.first_line});
    }
    return name;
  }

 private:
  const std::vector<Code>& codes_;
  std::vector<std::shared_ptr<const CodeName>> names_;
};

/// In floating point: a sleep may be for longer than a clock can count.
std::string seconds(std::chrono::duration<double> time) {
  const double value = time.count();
  return value < 0.1 ? fmt::format("{:.0f} ms", value * 1000) : fmt::format("{:.1f} s", value);
}

std::string percent(double share) {
  return fmt::format("{:.0f} %", share * 100);
}

/// "1.9 k/s"
std::string rate_text(double per_second) {
  const double size = std::fabs(per_second);
  if (size >= 1e9) return fmt::format("{:.2g}/s", per_second);
  if (size >= 1e6) return fmt::format("{:.1f} M/s", per_second / 1e6);
  if (size >= 1e3) return fmt::format("{:.1f} k/s", per_second / 1e3);
  if (size >= 10) return fmt::format("{:.0f}/s", per_second);
  return fmt::format("{:.1f}/s", per_second);
}

std::string name_of(const Thread& thread) {
  return thread.name ? fmt::format("{} \"{}\"", thread.tid, *thread.name)
                     : fmt::to_string(thread.tid);
}

/// A share of the samples that is as good as all of them.
constexpr double kMostly = 0.8;

std::optional<std::int64_t> number_of(const std::string& repr) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(repr.data(), repr.data() + repr.size(), value);
  const bool whole = error == std::errc{} && end == repr.data() + repr.size();
  return whole ? std::optional(value) : std::nullopt;
}

/// The one thread that this thread's wait depends on; 0: none, or one of several.
pid_t waited_thread(const Thread& thread) {
  if (!thread.lock) return 0;
  if (thread.lock->held_by != 0) return thread.lock->held_by;
  return thread.lock->served_by.size() == 1 ? thread.lock->served_by.front().tid : 0;
}

bool is_io(std::string_view kind) {
  static constexpr std::string_view kOthers[] = {"futex", "sleep", "signal", "other"};
  return std::find(std::begin(kOthers), std::end(kOthers), kind) == std::end(kOthers);
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::Deadlocked:
      return "deadlocked";
    case Verdict::WaitingForLock:
      return "waiting_for_lock";
    case Verdict::Waiting:
      return "waiting";
    case Verdict::InNativeCode:
      return "in_native_code";
    case Verdict::Looping:
      return "looping";
    case Verdict::WaitingForGil:
      return "waiting_for_gil";
    case Verdict::WaitingForIo:
      return "waiting_for_io";
    case Verdict::Progressing:
      return "progressing";
    case Verdict::Sleeping:
      return "sleeping";
    case Verdict::Idle:
      return "idle";
  }
  return "progressing";
}

/// What one thread was seen to do.
class DiagnosisBuilder::ThreadHistory {
 public:
  void add(const Snapshot& snapshot, const Thread& thread, const StackMarks& marks,
           ActivityFinder& activities, const std::map<pid_t, std::string>& names,
           SharedNames& code_names, Clock::time_point at);

  /// The index of the innermost frame that was there in every sample, in the last sample's stack;
  /// if the thread wanted the CPU then.
  [[nodiscard]] std::optional<std::size_t> frame_to_look_into() const {
    if (!wanted_cpu_ || !innermost_index_ || levels_.empty()) return std::nullopt;
    return innermost_index_;
  }
  void add_variables(const Locals& locals, Clock::time_point at);

  [[nodiscard]] ThreadDiagnosis judge(const Snapshot& last, const Thread* thread) const;

 private:
  /// One frame of those that all samples have in common.
  struct Level {
    std::uint64_t id = 0;
    std::shared_ptr<const CodeName> code;
    std::map<std::int32_t, std::size_t> lines;  // how often it was seen at each
    Position position;                          // in the last sample
    bool came_back = false;                     // it was seen at a place that it had left before
    std::vector<Position> places;               // at which it was seen, in that order; a few
  };
  struct Variable {
    std::string type;
    std::string first;
    std::string last;
    Clock::time_point first_at;
    Clock::time_point last_at;
    std::size_t looks = 0;
    std::size_t changes = 0;
    std::vector<NumberSeen> numbers;  // of an int that fits
  };

  void add_stack(const Snapshot& snapshot, const Thread& thread,
                 const std::vector<std::uint64_t>& frame_ids, SharedNames& code_names);
  [[nodiscard]] double share(std::size_t count) const {
    return samples_ == 0 ? 0 : static_cast<double>(count) / static_cast<double>(samples_);
  }
  [[nodiscard]] double share_of_time(std::uint64_t microseconds) const {
    const double wall = std::chrono::duration<double>(last_at_ - first_at_).count();
    return wall <= 0 ? 0 : static_cast<double>(microseconds) / 1e6 / wall;
  }
  [[nodiscard]] double cpu_share() const { return share_of_time(last_cpu_ - first_cpu_); }
  /// The share of the time in which it could have run and had no processor.
  [[nodiscard]] double delay_share() const {
    if (!first_delay_ || !last_delay_ || *last_delay_ < *first_delay_) return 0;
    return share_of_time(*last_delay_ - *first_delay_);
  }
  [[nodiscard]] std::string of_samples(std::size_t count) const {
    return fmt::format("in {} of {} samples", count, samples_);
  }
  [[nodiscard]] bool grows() const;

  void judge_still(const Snapshot& last, const Thread& thread, ThreadDiagnosis& result) const;
  void judge_running(ThreadDiagnosis& result) const;
  void judge_mixed(ThreadDiagnosis& result) const;
  void tell_gil(ThreadDiagnosis& result) const;
  void tell_cpu(ThreadDiagnosis& result) const;
  void tell_lines(ThreadDiagnosis& result) const;
  void tell_variables(ThreadDiagnosis& result) const;

  DispatchedWork work_;
  std::size_t samples_ = 0;
  std::size_t running_ = 0;
  std::size_t waiting_for_gil_ = 0;
  std::size_t blocked_ = 0;
  std::size_t sleeping_ = 0;
  std::size_t idle_ = 0;
  std::size_t waiting_ = 0;
  std::size_t stopped_ = 0;
  std::size_t unverified_ = 0;
  std::size_t at_backward_jump_ = 0;
  std::map<std::string, std::size_t> gil_holders_;
  std::map<std::string, std::size_t> activities_;  // "running in f (file:line)"
  Clock::time_point first_at_;
  Clock::time_point last_at_;
  std::uint64_t first_cpu_ = 0;
  std::uint64_t last_cpu_ = 0;
  std::optional<std::uint64_t> first_delay_;
  std::optional<std::uint64_t> last_delay_;
  bool wanted_cpu_ = false;  // in the last sample

  std::vector<Level> levels_;  // from the outermost frame inwards
  bool still_ = true;          // the whole stack was the same in all samples
  std::optional<std::size_t> innermost_index_;
  std::size_t stacks_ = 0;  // that were added
  std::vector<std::size_t> depths_;
  std::optional<std::uint64_t> variables_of_;  // the frame's id
  std::map<std::string, Variable> variables_;
  bool left_out_ = false;  // some variables were not looked at
  std::string innermost_place_;
};

void DiagnosisBuilder::ThreadHistory::add(const Snapshot& snapshot, const Thread& thread,
                                          const StackMarks& marks, ActivityFinder& activities,
                                          const std::map<pid_t, std::string>& names,
                                          SharedNames& code_names, Clock::time_point at) {
  if (samples_ == 0) {
    first_at_ = at;
    first_cpu_ = thread.cpu_time_us.value_or(0);
  }
  ++samples_;
  last_at_ = at;
  last_cpu_ = std::max(last_cpu_, thread.cpu_time_us.value_or(0));
  if (thread.run_delay_us) {
    last_delay_ = thread.run_delay_us;
    if (!first_delay_) first_delay_ = last_delay_;
  }
  wanted_cpu_ = thread.state == ThreadState::Running || thread.state == ThreadState::WaitingForGil;
  running_ += thread.state == ThreadState::Running ? 1 : 0;
  blocked_ += thread.state == ThreadState::Blocked ? 1 : 0;
  if (thread.state == ThreadState::WaitingForGil) {
    ++waiting_for_gil_;
    for (const Interpreter& interpreter : snapshot.interpreters) {
      if (interpreter.id != thread.interpreter || !interpreter.gil_held_by) continue;
      const auto name = names.find(*interpreter.gil_held_by);
      ++gil_holders_[name != names.end() ? name->second : fmt::to_string(*interpreter.gil_held_by)];
    }
  }
  unverified_ += thread.consistent ? 0 : 1;
  const Activity activity = activities.find(thread);
  if (wanted_cpu_) work_.add_running(snapshot, thread, activity);
  work_.add_callback(marks.callback, at, marks.callback_read_at);
  idle_ += activity.kind == ActivityKind::Idle ? 1 : 0;
  waiting_ += activity.kind == ActivityKind::WaitingForEvent ? 1 : 0;
  stopped_ += activity.kind == ActivityKind::Stopped ? 1 : 0;
  sleeping_ += thread.wait && thread.wait->kind == "sleep" ? 1 : 0;
  std::string what(activity.words);
  if (activity.frame != nullptr && activity.frame->code &&
      *activity.frame->code < snapshot.codes.size()) {
    const Code& code = snapshot.codes[*activity.frame->code];
    what += fmt::format(" in {} ({}", code.qualified_name, file_name(code.file));
    what += activity.frame->position.line ? fmt::format(":{})", *activity.frame->position.line)
                                          : std::string(")");
  }
  constexpr std::size_t kMostActivities = 256;
  if (activities_.size() < kMostActivities || activities_.contains(what)) ++activities_[what];
  at_backward_jump_ += marks.at_backward_jump ? 1 : 0;
  add_stack(snapshot, thread, marks.frames, code_names);
}

void DiagnosisBuilder::ThreadHistory::add_stack(const Snapshot& snapshot, const Thread& thread,
                                                const std::vector<std::uint64_t>& frame_ids,
                                                SharedNames& code_names) {
  innermost_index_.reset();
  // From the outermost inwards; of a stack that isn't verified what held still.
  struct Seen {
    std::size_t index;
    std::uint32_t code;
  };
  std::vector<Seen> seen;
  for (std::size_t i = thread.frames.size(); i-- > 0;) {
    const Frame& frame = thread.frames[i];
    if (!thread.consistent && frame.moving) break;
    if (!frame.code || *frame.code >= snapshot.codes.size() || i >= frame_ids.size()) continue;
    seen.push_back({i, *frame.code});
  }
  // How deep it is can be told of one that moves as well.
  constexpr std::size_t kMostDepths = 100'000;
  if (thread.error.empty() && !thread.truncated && depths_.size() < kMostDepths) {
    depths_.push_back(static_cast<std::size_t>(
        std::count_if(thread.frames.begin(), thread.frames.end(),
                      [](const Frame& frame) { return frame.kind == FrameKind::Python; })));
  }
  // Nothing of it held still: that says nothing of the other samples.
  if (!thread.consistent && seen.empty()) {
    still_ = false;
    return;
  }
  const bool first = stacks_ == 0;
  ++stacks_;
  if (!thread.consistent) still_ = false;
  if (first) {
    for (const Seen& frame : seen)
      levels_.push_back({frame_ids[frame.index], code_names.of(frame.code), {}, {}, false, {}});
  }
  std::size_t common = 0;
  while (common < std::min(levels_.size(), seen.size())) {
    const Level& level = levels_[common];
    if (level.id != frame_ids[seen[common].index] ||
        !level.code->names(snapshot.codes[seen[common].code])) {
      break;
    }
    ++common;
    // A caller that went on has called anew: what lies within is another call.
    if (!first && !(level.position == thread.frames[seen[common - 1].index].position)) break;
  }
  if (common < levels_.size() || common < seen.size()) still_ = false;
  levels_.resize(common);
  for (std::size_t i = 0; i < common; ++i) {
    Level& level = levels_[i];
    const Position& position = thread.frames[seen[i].index].position;
    if (!first && !(position == level.position)) {
      still_ = false;
      level.came_back = level.came_back || std::find(level.places.begin(), level.places.end(),
                                                     position) != level.places.end();
    }
    constexpr std::size_t kMostPlaces = 1024;
    if ((first || !(position == level.position)) && level.places.size() < kMostPlaces) {
      level.places.push_back(position);
    }
    level.position = position;
    if (position.line) ++level.lines[*position.line];
  }
  if (common > 0) innermost_index_ = seen[common - 1].index;
  if (variables_of_ && (levels_.empty() || levels_.back().id != *variables_of_)) {
    variables_of_.reset();
    variables_.clear();
    left_out_ = false;
  }
}

void DiagnosisBuilder::ThreadHistory::add_variables(const Locals& locals, Clock::time_point at) {
  if (levels_.empty()) return;
  variables_of_ = levels_.back().id;
  left_out_ = left_out_ || locals.left_out > 0;
  for (const Local& local : locals.variables) {
    Variable& variable = variables_[local.name];
    if (variable.looks++ == 0) {
      variable.first = local.repr;
      variable.first_at = at;
    } else if (variable.last != local.repr) {
      ++variable.changes;
    }
    variable.type = local.type;
    variable.last = local.repr;
    variable.last_at = at;
    constexpr std::size_t kMostNumbers = 1000;
    if (const auto number = number_of(local.repr);
        number && variable.numbers.size() < kMostNumbers) {
      variable.numbers.push_back(
          {std::chrono::duration<double>(at - variable.first_at).count(), *number});
    }
  }
}

/// Deeper and deeper, and never less deep.
bool DiagnosisBuilder::ThreadHistory::grows() const {
  constexpr std::size_t kFew = 5;
  constexpr std::size_t kMuch = 20;
  return depths_.size() >= kFew && std::is_sorted(depths_.begin(), depths_.end()) &&
         depths_.back() >= depths_.front() + kMuch;
}

void DiagnosisBuilder::ThreadHistory::tell_cpu(ThreadDiagnosis& result) const {
  if (last_at_ <= first_at_) return;
  result.evidence.push_back(
      fmt::format("used {} of one CPU in {}", percent(cpu_share()), seconds(last_at_ - first_at_)));
  constexpr double kMuch = 0.1;
  if (delay_share() >= kMuch) {
    result.evidence.push_back(fmt::format(
        "could have run for another {} of the time, and got no CPU: others had it, or its "
        "quota was used up",
        percent(std::min(delay_share(), std::max(0.0, 1 - cpu_share())))));
  }
}

void DiagnosisBuilder::ThreadHistory::tell_gil(ThreadDiagnosis& result) const {
  if (waiting_for_gil_ == 0) return;
  std::vector<std::pair<std::size_t, std::string>> holders;
  for (const auto& [name, count] : gil_holders_)
    holders.emplace_back(count, name);
  std::sort(holders.rbegin(), holders.rend());
  std::string text;
  constexpr std::size_t kMost = 3;
  for (std::size_t i = 0; i < std::min(kMost, holders.size()); ++i) {
    text += fmt::format(
        "{}{} had it ({})", i == 0 ? ": " : ", ", holders[i].second,
        percent(static_cast<double>(holders[i].first) / static_cast<double>(waiting_for_gil_)));
  }
  result.evidence.push_back(
      fmt::format("waited for the GIL {}{}", of_samples(waiting_for_gil_), text));
}

void DiagnosisBuilder::ThreadHistory::tell_lines(ThreadDiagnosis& result) const {
  if (levels_.empty()) return;
  const Level& level = levels_.back();
  std::vector<std::pair<std::size_t, std::int32_t>> lines;
  std::size_t all = 0;
  for (const auto& [line, count] : level.lines) {
    lines.emplace_back(count, line);
    all += count;
  }
  std::sort(lines.begin(), lines.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  constexpr std::size_t kMost = 6;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < std::min(kMost, lines.size()); ++i) {
    texts.push_back(
        fmt::format("{} ({})", lines[i].second,
                    percent(static_cast<double>(lines[i].first) / static_cast<double>(all))));
  }
  if (lines.size() > kMost) texts.push_back(fmt::format("{} more", lines.size() - kMost));
  result.evidence.push_back(fmt::format(
      "in {} ({}) all the time, at {} {}", level.code->name, file_name(level.code->file),
      lines.size() == 1 ? "line" : "lines", fmt::join(texts, ", ")));
}

void DiagnosisBuilder::ThreadHistory::tell_variables(ThreadDiagnosis& result) const {
  std::vector<std::string> changed;
  std::vector<std::string> unchanged;
  for (const auto& [name, variable] : variables_) {
    if (variable.looks < 2) continue;
    if (variable.changes == 0) {
      unchanged.push_back(name);
      continue;
    }
    if (const auto trend = trend_of(variable.numbers)) {
      changed.push_back(fmt::format("{}: {} → {}, about {}", name, with_separators(trend->first),
                                    with_separators(trend->last), rate_text(trend->per_second)));
    } else {
      changed.push_back(fmt::format("{}: {} → {}", name, variable.first, variable.last));
    }
  }
  constexpr std::size_t kMost = 6;
  for (std::size_t i = 0; i < std::min(kMost, changed.size()); ++i)
    result.evidence.push_back("changed: " + changed[i]);
  if (changed.size() > kMost) {
    result.evidence.push_back(fmt::format("{} more variables changed", changed.size() - kMost));
  }
  if (unchanged.empty()) return;
  const std::size_t more = unchanged.size() - std::min(kMost, unchanged.size());
  unchanged.resize(std::min(kMost, unchanged.size()));
  const std::string names =
      fmt::format("{}{}", fmt::join(unchanged, ", "),
                  more > 0 ? fmt::format(" and {} more", more) : std::string{});
  if (changed.empty()) {
    result.evidence.push_back(fmt::format(
        "no variable of that function changed ({}){}; what objects hold and what calls "
        "return was not compared",
        names, left_out_ ? ", of those that were looked at" : ", and no global that it names"));
  } else {
    result.evidence.push_back("unchanged: " + names);
  }
}

void DiagnosisBuilder::ThreadHistory::judge_still(const Snapshot& last, const Thread& thread,
                                                  ThreadDiagnosis& result) const {
  const std::string time = seconds(last_at_ - first_at_);
  ActivityFinder activities(last);
  const Activity activity = activities.find(thread);
  std::string where;
  if (activity.frame != nullptr && activity.frame->code) {
    const Code& code = last.codes[*activity.frame->code];
    where = fmt::format(" in {} ({}:{})", code.qualified_name, file_name(code.file),
                        activity.frame->position.line.value_or(0));
  }
  const auto waits_for = [&] {
    if (!thread.wait) return std::string{};
    std::string text = thread.wait->system_call;
    if (thread.wait->fd) text += fmt::format(" on fd {}", *thread.wait->fd);
    if (!thread.wait->target.empty()) text += ": " + thread.wait->target;
    return text;
  };
  result.evidence.push_back(
      fmt::format("its stack was the same in all {} samples, for {}", samples_, time));
  // A worker at rest may wait for the lock of the queue that another worker reads.
  const bool rests = activity.kind == ActivityKind::Idle;
  if (thread.lock && (!rests || thread.lock->held == Held::NotALock)) {
    const LockWait& lock = *thread.lock;
    std::string what = lock.name.empty() ? fmt::format("a {}", lock.type)
                                         : fmt::format("{} ({})", lock.name, lock.type);
    if (!lock.owner_object.empty()) {
      result.evidence.push_back(
          fmt::format("{} is an attribute of {}", lock.name, lock.owner_object));
    }
    if (lock.address != 0) {
      result.evidence.push_back(fmt::format("it is the {} at {:#x}", lock.type, lock.address));
    }
    if (lock.timed) result.evidence.emplace_back("the wait ends by itself after a time");
    const std::string holder = lock.holder_name
                                   ? fmt::format("{} \"{}\"", lock.held_by, *lock.holder_name)
                                   : fmt::to_string(lock.held_by);
    switch (lock.held) {
      case Held::ByThread:
        result.verdict = Verdict::WaitingForLock;
        result.summary = lock.type == "threading.Thread"
                             ? fmt::format("waiting{} for thread {} to end", where, holder)
                             : fmt::format("waiting{} for {}, held by {}", where, what, holder);
        return;
      case Held::LastSeen:
        result.verdict = Verdict::WaitingForLock;
        result.summary = fmt::format("waiting{} for {}, last seen in {}", where, what, holder);
        return;
      case Held::ByNobodyFound:
        result.verdict = Verdict::WaitingForLock;
        result.summary =
            fmt::format("waiting{} for {}, which no thread is seen to hold", where, what);
        result.evidence.emplace_back(
            !lock.lost.empty() ? lock.lost
            : lock.type.starts_with("multiprocessing.")
                ? "another process that shares it has taken it, or has ended with it"
                : "a lock that is taken by acquire(), and not in a with statement, doesn't tell "
                  "who "
                  "has it");
        return;
      case Held::ByNobodyLeft:
        result.verdict = Verdict::Deadlocked;
        result.summary =
            fmt::format("waiting{} for {}, which nobody is left to give back", where, what);
        result.evidence.push_back(lock.lost);
        return;
      case Held::Unknown:
        result.verdict = Verdict::WaitingForLock;
        result.summary = fmt::format("waiting{} for {}", where, what);
        return;
      case Held::NotALock:
        if (rests) {
          result.verdict = Verdict::Idle;
          result.summary = activity.words;
          return;
        }
        result.verdict = Verdict::Waiting;
        result.summary =
            fmt::format("{}{}, on {}",
                        activity.kind == ActivityKind::WaitingForEvent ? activity.words : "waiting",
                        where, what);
        if (!lock.detail.empty()) result.summary += fmt::format(" ({})", lock.detail);
        for (std::size_t i = 0; i < lock.served_by.size(); ++i) {
          constexpr std::size_t kMost = 4;
          if (i == kMost) {
            result.summary += fmt::format(" or {} others", lock.served_by.size() - kMost);
            break;
          }
          const LockWait::Server& server = lock.served_by[i];
          result.summary +=
              fmt::format("{}{}{}", i == 0 ? ", to come from " : " or ", server.tid,
                          server.name ? fmt::format(" \"{}\"", *server.name) : std::string{});
        }
        return;
    }
  }
  if (activity.kind == ActivityKind::Idle || activity.kind == ActivityKind::WaitingForEvent) {
    result.verdict = activity.kind == ActivityKind::Idle ? Verdict::Idle : Verdict::Waiting;
    result.summary = std::string(activity.words) + where;
    if (const std::string on = waits_for(); !on.empty() && thread.wait->kind != "futex") {
      result.evidence.push_back("blocked in " + on);
    }
    return;
  }
  const std::string kind = thread.wait ? thread.wait->kind : std::string{};
  if (kind == "sleep") {
    result.verdict = Verdict::Sleeping;
    result.summary = "sleeping" + where;
    if (thread.wait->left_us) {
      result.evidence.push_back(
          fmt::format("{} are left", seconds(std::chrono::duration<double, std::micro>(
                                         static_cast<double>(*thread.wait->left_us)))));
    }
    return;
  }
  if (kind == "database") {
    result.verdict = Verdict::WaitingForLock;
    result.summary = activity.words + where;
    result.evidence.emplace_back(
        "it sleeps as SQLite's busy handler does, and the kernel's table of locks tells who has "
        "the lock");
    return;
  }
  if (kind == "file_lock") {
    result.verdict = Verdict::WaitingForLock;
    result.summary = fmt::format("waiting for a file lock{}, for at least {}", where, time);
    result.evidence.push_back("blocked in " + waits_for());
    return;
  }
  if (activity.kind != ActivityKind::WaitingForLock && kind == "futex") {
    // A native thread that Python knows, and that runs nothing of Python's, is most often at rest.
    const bool rests_outside = activity.kind == ActivityKind::NoFrames;
    result.verdict = rests_outside ? Verdict::Idle : Verdict::Waiting;
    result.summary = std::string(kWaitingInNativeCode) + where;
    return;
  }
  if (activity.kind == ActivityKind::WaitingForLock) {
    result.verdict = Verdict::WaitingForLock;
    result.summary = "waiting for a lock" + where;
    return;
  }
  result.verdict = kind == "signal" ? Verdict::Idle : Verdict::WaitingForIo;
  result.summary = fmt::format("waiting for {}{}, for at least {}",
                               kind == "signal"  ? "a signal"
                               : kind == "child" ? "a child process"
                                                 : "I/O",
                               where, time);
  if (const std::string on = waits_for(); !on.empty()) {
    result.evidence.push_back("blocked in " + on);
  }
  if (!is_io(kind) && !kind.empty() && kind != "signal") {
    result.evidence.emplace_back("what that system call waits for isn't known");
  }
}

void DiagnosisBuilder::ThreadHistory::judge_running(ThreadDiagnosis& result) const {
  const Level* level = levels_.empty() ? nullptr : &levels_.back();
  if (still_ && share(at_backward_jump_) < kMostly) {
    // Of what goes on in C, the caller of the standard library's function tells more.
    for (auto outer = levels_.rbegin(); outer != levels_.rend(); ++outer) {
      const CodeName& code = *outer->code;
      if (wraps_native_code({.function = {}, .qualified_name = code.name, .file = code.file}))
        continue;
      level = &*outer;
      break;
    }
  }
  const std::string place = level == nullptr ? std::string{}
                                             : fmt::format(" in {} ({}:{})", level->code->name,
                                                           file_name(level->code->file),
                                                           level->position.line.value_or(0));
  if (still_ && level != nullptr && share(at_backward_jump_) >= kMostly) {
    // `while True: pass` never is anywhere else.
    result.verdict = Verdict::Looping;
    result.summary = "looping on one line" + place;
    result.evidence.push_back(fmt::format("at the end of that loop, about to begin it again, {}",
                                          of_samples(at_backward_jump_)));
    tell_cpu(result);
    tell_variables(result);
    tell_gil(result);
    return;
  }
  if (still_ && level != nullptr) {
    // Nothing of Python moved: it is below that line.
    result.verdict = Verdict::InNativeCode;
    result.summary = "in native code, called" + place;
    result.evidence.push_back(
        fmt::format("that line and all its callers were the same in all {} samples", samples_));
    tell_cpu(result);
    tell_gil(result);
    return;
  }
  if (grows()) {
    result.verdict = Verdict::Looping;
    result.summary = fmt::format("in a recursion that grows, now {} frames deep",
                                 with_separators(depths_.back()));
    result.evidence.push_back(fmt::format(
        "from {} to {} frames in {}, and never less than before", with_separators(depths_.front()),
        with_separators(depths_.back()), seconds(last_at_ - first_at_)));
    tell_cpu(result);
    return;
  }
  const auto is_dispatcher_code = [](const CodeName& code) {
    return is_dispatcher({.function = {}, .qualified_name = code.name, .file = code.file});
  };
  if (level != nullptr && is_dispatcher_code(*level->code)) {
    work_.judge(fmt::format("{} ({})", level->code->name, file_name(level->code->file)), result);
    tell_cpu(result);
    tell_gil(result);
    return;
  }
  const bool loops = level != nullptr && level->came_back;
  result.verdict = loops ? Verdict::Looping : Verdict::Progressing;
  result.summary =
      level == nullptr ? std::string("running")
      : loops ? fmt::format("looping in {} ({})", level->code->name, file_name(level->code->file))
              : "running" + place;
  tell_cpu(result);
  tell_lines(result);
  tell_variables(result);
  tell_gil(result);
}

void DiagnosisBuilder::ThreadHistory::judge_mixed(ThreadDiagnosis& result) const {
  std::vector<std::pair<std::size_t, std::string>> often;
  for (const auto& [what, count] : activities_)
    often.emplace_back(count, what);
  std::sort(often.rbegin(), often.rend());
  constexpr std::size_t kMost = 4;
  for (std::size_t i = 0; i < std::min(kMost, often.size()); ++i) {
    result.evidence.push_back(fmt::format("{} {}", often[i].second, of_samples(often[i].first)));
  }
  if (often.size() > kMost) {
    result.evidence.push_back(fmt::format("{} other places", often.size() - kMost));
  }
  tell_cpu(result);
  const std::string& most = often.front().second;
  if (share(idle_) >= kMostly) {
    result.verdict = Verdict::Idle;
    result.summary = "idle most of the time: " + most;
  } else if (share(waiting_) >= kMostly) {
    result.verdict = Verdict::Waiting;
    result.summary = "waiting most of the time: " + most;
  } else if (share(sleeping_) >= kMostly) {
    result.verdict = Verdict::Sleeping;
    result.summary = "sleeping again and again: " + most;
  } else {
    result.verdict = Verdict::Progressing;
    result.summary = "progressing: most often " + most;
  }
}

ThreadDiagnosis DiagnosisBuilder::ThreadHistory::judge(const Snapshot& last,
                                                       const Thread* thread) const {
  constexpr double kHalf = 0.5;
  ThreadDiagnosis result;
  result.samples = samples_;
  if (thread == nullptr) {
    result.summary =
        fmt::format("ended while it was looked at, after {}", seconds(last_at_ - first_at_));
    return result;
  }
  result.tid = thread->tid;
  result.name = thread->name;
  result.interpreter = thread->interpreter;
  if (thread->runs_in) {
    result.summary = fmt::format("in a call into interpreter {}", *thread->runs_in);
    return result;
  }
  if (share(stopped_) > kHalf) {
    result.summary = "stopped, by a signal or a debugger";
    return result;
  }
  if (still_ && share(blocked_) >= kMostly && thread->state == ThreadState::Blocked) {
    judge_still(last, *thread, result);
  } else if (share(waiting_for_gil_) > kHalf && waiting_for_gil_ > running_) {
    result.verdict = Verdict::WaitingForGil;
    result.summary =
        fmt::format("waiting for the GIL {} of the time", percent(share(waiting_for_gil_)));
    tell_gil(result);
    tell_cpu(result);
    tell_lines(result);
  } else if (share(running_ + waiting_for_gil_) >= kMostly &&
             (cpu_share() + delay_share() >= kHalf || waiting_for_gil_ > 0 || still_)) {
    judge_running(result);
  } else if (!activities_.empty()) {
    judge_mixed(result);
  }
  if (result.verdict && result.verdict != Verdict::Idle) work_.tell_blocking(result);
  if (unverified_ > 0) {
    result.evidence.push_back(
        fmt::format("{}, its stack could not be verified: only the part that held still is used",
                    of_samples(unverified_)));
  }
  return result;
}

const Thread* find_thread(const Snapshot& snapshot, const ThreadDiagnosis& judged) {
  const auto found =
      std::find_if(snapshot.threads.begin(), snapshot.threads.end(), [&](const Thread& thread) {
        return stack_id(thread) == StackId{judged.tid, judged.thread_state};
      });
  return found == snapshot.threads.end() ? nullptr : &*found;
}

DiagnosisBuilder::DiagnosisBuilder() = default;
DiagnosisBuilder::~DiagnosisBuilder() = default;

void DiagnosisBuilder::add(Snapshot snapshot, const std::vector<StackMarks>& stacks,
                           Clock::time_point at) {
  if (samples_++ == 0) first_at_ = at;
  last_at_ = at;
  last_ = std::move(snapshot);
  std::map<pid_t, std::string> names;
  for (const Thread& thread : last_.threads)
    names.emplace(thread.tid, name_of(thread));
  ActivityFinder activities(last_);
  SharedNames code_names(last_);
  of_last_.clear();
  for (std::size_t i = 0; i < last_.threads.size(); ++i) {
    const Thread& thread = last_.threads[i];
    if (has_ended(thread) || i >= stacks.size()) {
      of_last_.push_back(nullptr);
      continue;
    }
    auto& history = stacks_[stack_id(thread)];
    if (!history) history = std::make_unique<ThreadHistory>();
    history->add(last_, thread, stacks[i], activities, names, code_names, at);
    of_last_.push_back(history.get());
  }
}

std::vector<DiagnosisBuilder::Place> DiagnosisBuilder::frames_to_look_into() const {
  constexpr std::size_t kMost = 16;
  std::vector<Place> places;
  for (std::size_t i = 0; i < of_last_.size() && places.size() < kMost; ++i) {
    if (of_last_[i] == nullptr) continue;
    if (const auto frame = of_last_[i]->frame_to_look_into()) places.push_back({i, *frame});
  }
  return places;
}

void DiagnosisBuilder::add_variables(const Place& place, const Locals& locals,
                                     Clock::time_point at) {
  if (of_last_[place.thread] != nullptr) of_last_[place.thread]->add_variables(locals, at);
}

Diagnosis DiagnosisBuilder::finish() {
  Diagnosis diagnosis;
  diagnosis.samples = samples_;
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(last_at_ - first_at_);
  diagnosis.duration_us = took.count();
  if (samples_ > 1) {
    diagnosis.interval_us = took.count() / static_cast<std::int64_t>(samples_ - 1);
  }
  std::map<StackId, const Thread*> of_last;
  for (const Thread& thread : last_.threads)
    of_last.emplace(stack_id(thread), &thread);
  const auto find = [&](const StackId& id) {
    const auto found = of_last.find(id);
    return found == of_last.end() ? nullptr : found->second;
  };
  const auto thread_of = [&](const ThreadDiagnosis& judged) {
    return find({judged.tid, judged.thread_state});
  };
  const auto is_alive = [&](pid_t tid) {
    const auto first = of_last.lower_bound({tid, 0});
    return first != of_last.end() && first->first.tid == tid;
  };
  for (const auto& [id, history] : stacks_) {
    const Thread* thread = find(id);
    // A call into another interpreter has ended, and the thread's other stack tells more.
    if (thread == nullptr && is_alive(id.tid)) continue;
    ThreadDiagnosis judged = history->judge(last_, thread);
    judged.tid = id.tid;
    judged.thread_state = id.thread_state;
    diagnosis.threads.push_back(std::move(judged));
  }
  const auto is_deadlocked = [&](pid_t tid) {
    return std::any_of(last_.deadlocks.begin(), last_.deadlocks.end(), [&](const Deadlock& d) {
      return std::any_of(d.cycle.begin(), d.cycle.end(),
                         [&](const Deadlock::Member& member) { return member.tid == tid; });
    });
  };
  for (const Deadlock& deadlock : last_.deadlocks) {
    for (const Deadlock::Member& member : deadlock.cycle) {
      for (ThreadDiagnosis& judged : diagnosis.threads) {
        const Thread* thread = thread_of(judged);
        if (thread == nullptr || !member.is(*thread) || thread->runs_in) continue;
        judged.verdict = Verdict::Deadlocked;
        judged.summary = "deadlocked: " + judged.summary;
      }
    }
  }
  // What a lock's holder is doing is why one waits for it, and so on to the end of the chain.
  const auto judged_of = [&](pid_t tid) -> const ThreadDiagnosis* {
    for (const ThreadDiagnosis& judged : diagnosis.threads) {
      // Of several stacks of a thread, the one that it executes tells why it goes on.
      const Thread* thread = judged.tid == tid ? thread_of(judged) : nullptr;
      if (thread != nullptr && !thread->runs_in && !judged.summary.empty()) return &judged;
    }
    return nullptr;
  };
  std::vector<std::vector<std::string>> followed(diagnosis.threads.size());
  for (std::size_t i = 0; i < diagnosis.threads.size(); ++i) {
    constexpr int kMostSteps = 8;
    const ThreadDiagnosis* at = &diagnosis.threads[i];
    for (int step = 0; step < kMostSteps; ++step) {
      if (at->verdict != Verdict::WaitingForLock && at->verdict != Verdict::Waiting) break;
      const Thread* thread = thread_of(*at);
      const pid_t next = thread == nullptr ? 0 : waited_thread(*thread);
      at = next == 0 ? nullptr : judged_of(next);
      if (at == nullptr || at == &diagnosis.threads[i]) {
        if (next != 0 && at == nullptr && is_deadlocked(next)) {
          followed[i].push_back(fmt::format("thread {} is deadlocked", next));
        }
        break;
      }
      followed[i].push_back(
          fmt::format("thread {}{} is {}", at->tid,
                      at->name ? fmt::format(" \"{}\"", *at->name) : std::string{}, at->summary));
    }
  }
  for (std::size_t i = 0; i < followed.size(); ++i) {
    auto& evidence = diagnosis.threads[i].evidence;
    evidence.insert(evidence.end(), followed[i].begin(), followed[i].end());
  }
  const auto rank = [](const ThreadDiagnosis& judged) {
    return judged.verdict ? static_cast<int>(*judged.verdict) : static_cast<int>(Verdict::Idle);
  };
  std::stable_sort(
      diagnosis.threads.begin(), diagnosis.threads.end(),
      [&](const ThreadDiagnosis& a, const ThreadDiagnosis& b) { return rank(a) < rank(b); });
  diagnosis.last = std::move(last_);
  return diagnosis;
}

}  // namespace pyscope
