#include "format/summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <vector>

#include "format/chain_text.hpp"
#include "format/escape.hpp"
#include "format/wrap.hpp"
#include "model/origin.hpp"
#include "pyscope/render.hpp"
#include "verdict/activity.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxGroups = 8;
constexpr std::size_t kMaxColumns = 220;
constexpr std::size_t kMaxChainColumns = 400;  // what a process hangs on is worth a long line
constexpr std::size_t kMostLines = 3;          // of a terminal
constexpr std::size_t kLeastColumns = 40;      // of a terminal, for the choice of words

/// Threads that do the same.
struct Group {
  Activity activity;             // its frame is where they are in the program's own code
  const Frame* inner = nullptr;  // what they execute; nullptr: they differ, or nobody knows
  std::size_t count = 0;
  std::string behind;  // the thread that all of them wait for, and what that one waits for
  std::string behind_briefly;
  bool told_by_chain = false;  // it is one thread, at the end of another group's `behind`
};

/// How exactly the places of threads that don't run are given. Places of running threads are always
/// given in full.
enum class Detail : std::uint8_t {
  Chains,       // as Lines, with what the thread is doing that they wait for in the end
  BriefChains,  // the same without the thing outside that this thread waits for
  Lines,        // "in Store.save (app/store.py:31)"
  Functions,    // "in Store.save"
  Nothing,
};

/// True if threads at different places are different news. Threads that are idle, or that wait for
/// the one GIL, are counted together wherever they are.
bool is_told_apart_by_place(ActivityKind kind, Detail detail) {
  switch (kind) {
    case ActivityKind::Deadlocked:
    case ActivityKind::Running:
    case ActivityKind::Unknown:
      return true;
    case ActivityKind::WaitingForLock:
    case ActivityKind::WaitingForEvent:
    case ActivityKind::WaitingOutside:
    case ActivityKind::Blocked:
    case ActivityKind::Stopped:
      return detail != Detail::Nothing;
    case ActivityKind::WaitingForGil:
    case ActivityKind::Unreadable:
    case ActivityKind::NoFrames:
    case ActivityKind::Elsewhere:
    case ActivityKind::Ended:
    case ActivityKind::Idle:
      return false;
  }
  return false;
}

/// Threads with equal keys are counted together.
using GroupKey = std::tuple<ActivityKind, std::string, std::optional<std::uint32_t>,
                            std::optional<std::int32_t>>;

GroupKey key_of(const Activity& activity, Detail detail) {
  if (activity.frame == nullptr || !is_told_apart_by_place(activity.kind, detail)) {
    return {activity.kind, activity.words, std::nullopt, std::nullopt};
  }
  return {activity.kind, activity.words, activity.frame->code, activity.frame->position.line};
}

bool is_same_place(const Frame* a, const Frame* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->code == b->code && a->position.line == b->position.line;
}

const Frame* innermost_function(const Thread& thread) {
  const auto frame = std::find_if(thread.frames.begin(), thread.frames.end(),
                                  [](const Frame& f) { return f.code.has_value(); });
  return frame == thread.frames.end() ? nullptr : &*frame;
}

Activity deadlocked(const Thread& thread, Activity activity) {
  activity.kind = ActivityKind::Deadlocked;
  activity.words = "deadlocked";
  if (activity.frame == nullptr) activity.frame = innermost_function(thread);
  return activity;
}

/// An OS thread that has called into another interpreter has a stack in each; its threads are
/// counted, not its stacks.
std::size_t count_threads(const Snapshot& snapshot) {
  return static_cast<std::size_t>(
      std::count_if(snapshot.threads.begin(), snapshot.threads.end(),
                    [](const Thread& thread) { return !thread.runs_in || has_ended(thread); }));
}

bool tells_chains(Detail detail) {
  return detail == Detail::Chains || detail == Detail::BriefChains;
}

/// Threads that have nothing to do are one group, whatever each of them waits in: a line for each
/// follows below the summary.
void join_idle(std::vector<Group>& groups) {
  const auto is_idle = [](const Group& group) { return group.activity.kind == ActivityKind::Idle; };
  const auto first = std::find_if(groups.begin(), groups.end(), is_idle);
  if (first == groups.end()) return;
  const auto others = std::remove_if(std::next(first), groups.end(), [&](const Group& group) {
    if (!is_idle(group)) return false;
    first->count += group.count;
    first->activity.words = "idle";
    return true;
  });
  groups.erase(others, groups.end());
}

/// Groups that deserve attention come first; among those of the same kind, the larger ones.
std::vector<Group> make_groups(const Snapshot& snapshot, Detail detail) {
  ActivityFinder finder(snapshot);
  Origins origins(snapshot);
  std::vector<Group> groups;
  std::map<GroupKey, std::size_t> index;
  ChainTexts chains(snapshot);
  std::set<const Thread*> ends;              // of chains
  std::vector<const Thread*> first_members;  // of each group
  for (const Thread& thread : snapshot.threads) {
    Activity activity = finder.find(thread);
    if (activity.kind == ActivityKind::Elsewhere) continue;
    if (is_deadlocked(snapshot, thread)) activity = deadlocked(thread, activity);
    const Frame* inner = activity.frame;
    activity.frame = origins.own_frame(thread, inner);
    const auto [entry, is_new] = index.try_emplace(key_of(activity, detail), groups.size());
    std::string behind = chains.follow(thread);
    std::string briefly = chains.follow(thread, ChainDetail::Brief);
    if (is_new) {
      groups.push_back({activity, inner, 0, behind, briefly, false});
      first_members.push_back(&thread);
    }
    Group& group = groups[entry->second];
    ++group.count;
    if (group.behind != behind) group.behind.clear();
    if (group.behind_briefly != briefly) group.behind_briefly.clear();
    if (!is_same_place(group.activity.frame, activity.frame)) group.activity.frame = nullptr;
    if (!is_same_place(group.inner, inner)) group.inner = nullptr;
    if (const Thread* end = chains.end_of(thread); end != nullptr) ends.insert(end);
  }
  for (std::size_t i = 0; i < groups.size(); ++i)
    groups[i].told_by_chain = groups[i].count == 1 && ends.contains(first_members[i]);
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    if (a.activity.kind != b.activity.kind) return a.activity.kind < b.activity.kind;
    return a.count > b.count;
  });
  join_idle(groups);
  return groups;
}

std::string describe(const Snapshot& snapshot, const Group& group, Detail detail) {
  const Activity& activity = group.activity;
  const bool always = is_told_apart_by_place(activity.kind, Detail::Nothing);
  const std::string words = clip(escape(activity.words), kMaxWordsColumns);
  std::string place;
  if (always || detail == Detail::Lines || tells_chains(detail))
    place = short_place(snapshot, activity.frame);
  if (!always && detail == Detail::Functions) place = short_function(snapshot, activity.frame);
  switch (activity.kind) {
    case ActivityKind::Running:
    case ActivityKind::Unknown:
      // A function of a library says little without the one of the program that needs it.
      if (!place.empty() && group.inner != nullptr && group.inner != activity.frame &&
          !is_same_place(group.inner, activity.frame)) {
        return fmt::format("{} {} for {}", words, short_function(snapshot, group.inner), place);
      }
      if (!place.empty()) return fmt::format("{} {}", words, place);
      // A lone "in" would say nothing.
      return activity.kind == ActivityKind::Unknown ? "in an unknown state" : words;
    default:
      return place.empty() ? words : fmt::format("{} in {}", words, place);
  }
}

std::string describe_process(const Snapshot& snapshot) {
  const std::size_t count = count_threads(snapshot);
  std::string text = count == 0   ? std::string("no Python threads")
                     : count == 1 ? std::string("1 thread")
                                  : fmt::format("{} threads", count);
  if (snapshot.interpreters.size() > 1) {
    fmt::format_to(std::back_inserter(text), " in {} interpreters", snapshot.interpreters.size());
  }
  if (snapshot.finalizing) {
    text += snapshot.shut_down ? ", interpreter has shut down" : ", interpreter shutting down";
  }
  if (std::any_of(snapshot.interpreters.begin(), snapshot.interpreters.end(),
                  [](const Interpreter& interpreter) { return interpreter.collecting_garbage; })) {
    text += ", collecting garbage";
  }
  return text;
}

/// The doubts about the snapshot. They stand at the end and are never left out.
std::string describe_doubts(const Snapshot& snapshot) {
  std::size_t unverified = 0;
  std::size_t partial = 0;
  for (const Thread& thread : snapshot.threads) {
    if (thread.frames.empty() && !thread.error.empty()) continue;  // "unreadable" says it
    const bool has_gap = std::any_of(thread.frames.begin(), thread.frames.end(),
                                     [](const Frame& frame) { return !frame.error.empty(); });
    if (!thread.error.empty() || has_gap) {
      ++partial;
    } else if (!thread.consistent) {
      ++unverified;
    }
  }
  std::string text;
  const auto to = std::back_inserter(text);
  if (partial > 0) fmt::format_to(to, "; {} read only in part", partial);
  if (unverified > 0) {
    fmt::format_to(to, "{} {} not verified", text.empty() ? ";" : ",", unverified);
  }
  return text;
}

/// Describes the groups that are `shown`: a prefix of `groups`, and perhaps the biggest idle group.
/// In a service with hundreds of idle threads, that group explains the number of threads.
std::string describe_groups(const Snapshot& snapshot, const std::vector<Group>& groups,
                            std::size_t shown, Detail detail) {
  std::vector<const Group*> picked;
  for (std::size_t i = 0; i < std::min(shown, groups.size()); ++i) {
    picked.push_back(&groups[i]);
  }
  if (detail == Detail::BriefChains) {
    std::erase_if(picked, [](const Group* group) { return group->told_by_chain; });
  }
  const auto idle = std::find_if(groups.begin(), groups.end(), [](const Group& group) {
    return group.activity.kind == ActivityKind::Idle;
  });
  if (shown > 1 && idle != groups.end() &&
      static_cast<std::size_t>(idle - groups.begin()) >= shown) {
    picked.back() = &*idle;
  }
  std::string text;
  const std::size_t count = count_threads(snapshot);
  std::size_t left = count;
  for (const Group* group : picked) {
    if (!text.empty()) text += tells_chains(detail) ? "; " : ", ";
    if (count > 1) {
      // "3 threads: all idle" has one number less to compare than "3 threads: 3 idle".
      text += groups.size() == 1 ? std::string("all ") : fmt::format("{} ", group->count);
    }
    text += describe(snapshot, *group, detail);
    const std::string& behind = detail == Detail::Chains ? group->behind : group->behind_briefly;
    if (tells_chains(detail) && !behind.empty()) text += " behind " + behind;
    left -= group->count;
  }
  if (detail == Detail::BriefChains) {
    for (const Group& group : groups)
      left -= group.told_by_chain ? 1 : 0;
  }
  if (left > 0) fmt::format_to(std::back_inserter(text), ", and {} more", left);
  return text;
}

}  // namespace

bool is_deadlocked(const Snapshot& snapshot, const Thread& thread) {
  if (thread.lock && thread.lock->held == Held::ByNobodyLeft) return true;
  return std::any_of(snapshot.deadlocks.begin(), snapshot.deadlocks.end(), [&](const auto& d) {
    return std::any_of(d.cycle.begin(), d.cycle.end(),
                       [&](const Deadlock::Member& member) { return member.is(thread); });
  });
}

std::string describe_activity(const Snapshot& snapshot, const Thread& thread,
                              const Activity& activity, Origins& origins) {
  Group group;
  group.activity = is_deadlocked(snapshot, thread) ? deadlocked(thread, activity) : activity;
  group.inner = group.activity.frame;
  group.activity.frame = origins.own_frame(thread, group.inner);
  return describe(snapshot, group, Detail::Lines);
}

std::string summarize_main_thread(const Snapshot& snapshot) {
  const auto main = std::find_if(snapshot.threads.begin(), snapshot.threads.end(),
                                 [](const Thread& thread) { return thread.main; });
  if (main == snapshot.threads.end()) return {};
  Origins origins(snapshot);
  Activity activity = ActivityFinder(snapshot).find(*main);
  if (is_deadlocked(snapshot, *main)) activity = deadlocked(*main, activity);
  const std::string words = clip(escape(activity.words), kMaxWordsColumns);
  const std::string function = short_function(snapshot, origins.own_frame(*main, activity.frame));
  if (function.empty()) return words;
  return fmt::format("{}{}{}", words, activity.kind == ActivityKind::Running ? " " : " in ",
                     function);
}

std::optional<Verdict> verdict_at_once(const Snapshot& snapshot, const Thread& thread,
                                       const Activity& activity) {
  if (is_deadlocked(snapshot, thread)) return Verdict::Deadlocked;
  const std::string_view kind = thread.wait ? std::string_view(thread.wait->kind) : "";
  switch (activity.kind) {
    case ActivityKind::Idle:
      return Verdict::Idle;
    case ActivityKind::WaitingForEvent:
      return Verdict::Waiting;
    case ActivityKind::WaitingForLock: {
      const bool event = thread.lock && thread.lock->held == Held::NotALock;
      return event ? Verdict::Waiting : Verdict::WaitingForLock;
    }
    case ActivityKind::WaitingOutside:
    case ActivityKind::Blocked:
      if (kind == "sleep") return Verdict::Sleeping;
      if (kind == "signal") return Verdict::Idle;
      if (kind == "file_lock" || kind == "database") return Verdict::WaitingForLock;
      if (kind == "futex") return Verdict::Waiting;
      if (kind.empty() || kind == "other") return std::nullopt;
      return Verdict::WaitingForIo;
    default:
      return std::nullopt;
  }
}

std::string summarize(const Snapshot& snapshot, std::size_t columns) {
  const std::string process = describe_process(snapshot);
  const std::string doubts = describe_doubts(snapshot);
  const auto fits = [&](const std::string& text, Detail detail) {
    if (columns > 0) return count_lines(wrap(text, std::max(columns, kLeastColumns))) <= kMostLines;
    return display_width(text) <= (tells_chains(detail) ? kMaxChainColumns : kMaxColumns);
  };
  std::string line;
  for (const Detail detail :
       {Detail::Chains, Detail::BriefChains, Detail::Lines, Detail::Functions, Detail::Nothing}) {
    const std::vector<Group> groups = make_groups(snapshot, detail);
    if (groups.empty()) return process + doubts;
    const bool chains = std::any_of(groups.begin(), groups.end(),
                                    [](const Group& group) { return !group.behind.empty(); });
    if (tells_chains(detail) && !chains) continue;
    // Places give way before groups do.
    const std::size_t most = std::min(kMaxGroups, groups.size());
    const std::size_t fewest = detail == Detail::Nothing ? 1 : groups.size();
    for (std::size_t shown = most; shown >= fewest; --shown) {
      line = fmt::format("{}: {}{}", process, describe_groups(snapshot, groups, shown, detail),
                         doubts);
      if (fits(line, detail)) return line;
    }
  }
  return line;
}

}  // namespace pyscope
