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
#include "verdict/activity.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxGroups = 8;
constexpr std::size_t kMaxColumns = 220;
constexpr std::size_t kMaxChainColumns = 400;  // what a process hangs on is worth a long line

/// Threads that do the same.
struct Group {
  Activity activity;
  std::size_t count = 0;
  std::string behind;  // the thread that all of them wait for, and what that one waits for
};

/// How exactly the places of threads that don't run are given. Places of running threads are always
/// given in full.
enum class Detail : std::uint8_t {
  Chains,     // as Lines, with what the thread is doing that they wait for in the end
  Lines,      // "in Store.save (app/store.py:31)"
  Functions,  // "in Store.save"
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

/// An OS thread that has called into another interpreter has a stack in each; its threads are
/// counted, not its stacks.
std::size_t count_threads(const Snapshot& snapshot) {
  return static_cast<std::size_t>(
      std::count_if(snapshot.threads.begin(), snapshot.threads.end(),
                    [](const Thread& thread) { return !thread.runs_in || has_ended(thread); }));
}

/// Groups that deserve attention come first; among those of the same kind, the larger ones.
std::vector<Group> make_groups(const Snapshot& snapshot, Detail detail) {
  ActivityFinder finder(snapshot);
  const auto is_deadlocked = [&](const Thread& thread) {
    return std::any_of(snapshot.deadlocks.begin(), snapshot.deadlocks.end(), [&](const auto& d) {
      return std::any_of(d.cycle.begin(), d.cycle.end(),
                         [&](const Deadlock::Member& member) { return member.is(thread); });
    });
  };
  std::vector<Group> groups;
  std::map<GroupKey, std::size_t> index;
  ChainTexts chains(snapshot);
  for (const Thread& thread : snapshot.threads) {
    Activity activity = finder.find(thread);
    if (activity.kind == ActivityKind::Elsewhere) continue;
    const bool nobody_left = thread.lock && thread.lock->held == Held::ByNobodyLeft;
    if (is_deadlocked(thread) || nobody_left) {
      activity.kind = ActivityKind::Deadlocked;
      activity.words = "deadlocked";
      if (activity.frame == nullptr) activity.frame = innermost_function(thread);
    }
    const auto [entry, is_new] = index.try_emplace(key_of(activity, detail), groups.size());
    std::string behind = chains.follow(thread);
    if (is_new) groups.push_back({activity, 0, behind});
    Group& group = groups[entry->second];
    ++group.count;
    if (group.behind != behind) group.behind.clear();
    if (!is_same_place(group.activity.frame, activity.frame)) group.activity.frame = nullptr;
  }
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    if (a.activity.kind != b.activity.kind) return a.activity.kind < b.activity.kind;
    return a.count > b.count;
  });
  return groups;
}

std::string describe(const Snapshot& snapshot, const Activity& activity, Detail detail) {
  const bool always = is_told_apart_by_place(activity.kind, Detail::Nothing);
  const std::string words = clip(escape(activity.words), kMaxWordsColumns);
  std::string place;
  if (always || detail == Detail::Lines || detail == Detail::Chains)
    place = short_place(snapshot, activity.frame);
  if (!always && detail == Detail::Functions) place = short_function(snapshot, activity.frame);
  switch (activity.kind) {
    case ActivityKind::Running:
    case ActivityKind::Unknown:
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
  if (snapshot.finalizing) text += ", interpreter shutting down";
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
    if (!text.empty()) text += detail == Detail::Chains ? "; " : ", ";
    if (count > 1) {
      // "3 threads: all idle" has one number less to compare than "3 threads: 3 idle".
      text += groups.size() == 1 ? std::string("all ") : fmt::format("{} ", group->count);
    }
    text += describe(snapshot, group->activity, detail);
    if (detail == Detail::Chains && !group->behind.empty()) text += " behind " + group->behind;
    left -= group->count;
  }
  if (left > 0) fmt::format_to(std::back_inserter(text), ", and {} more", left);
  return text;
}

}  // namespace

std::string summarize(const Snapshot& snapshot) {
  const std::string process = describe_process(snapshot);
  const std::string doubts = describe_doubts(snapshot);
  std::string line;
  for (const Detail detail : {Detail::Chains, Detail::Lines, Detail::Functions, Detail::Nothing}) {
    const std::vector<Group> groups = make_groups(snapshot, detail);
    if (groups.empty()) return process + doubts;
    const bool chains = std::any_of(groups.begin(), groups.end(),
                                    [](const Group& group) { return !group.behind.empty(); });
    if (detail == Detail::Chains && !chains) continue;
    // Places give way before groups do.
    const std::size_t most = std::min(kMaxGroups, groups.size());
    const std::size_t fewest = detail == Detail::Nothing ? 1 : groups.size();
    for (std::size_t shown = most; shown >= fewest; --shown) {
      line = fmt::format("{}: {}{}", process, describe_groups(snapshot, groups, shown, detail),
                         doubts);
      if (display_width(line) <= (detail == Detail::Chains ? kMaxChainColumns : kMaxColumns)) {
        return line;
      }
    }
  }
  return line;
}

}  // namespace pyscope
