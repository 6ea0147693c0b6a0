#include "format/lock_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "format/escape.hpp"
#include "model/origin.hpp"
#include "verdict/activity.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxThreadColumns = 80;
constexpr std::size_t kMaxNameColumns = 80;
constexpr std::size_t kMaxPathColumns = 120;
constexpr std::size_t kMaxWaitColumns = 240;

std::string label_of_holder(const LockWait& lock) {
  return thread_label(lock.held_by, lock.holder_name);
}

bool is_join(const LockWait& lock) {
  return lock.held == Held::ByThread && lock.type == "threading.Thread";
}

/// threading.Lock 0x7f… "self.lock" of <Inventory at 0x7f…>
std::string describe_object(const LockWait& lock) {
  if (lock.type == "import lock") {
    return fmt::format("the import lock of \"{}\"", clip(escape(lock.name), kMaxNameColumns));
  }
  if (lock.type == "GIL") return "the GIL";
  std::string text = clip(escape(lock.type), kMaxNameColumns);
  const auto to = std::back_inserter(text);
  if (lock.address != 0) fmt::format_to(to, " {:#x}", lock.address);
  if (!lock.name.empty()) {
    fmt::format_to(to, " \"{}\"", clip(escape(lock.name), kMaxNameColumns));
  }
  if (!lock.owner_object.empty()) {
    fmt::format_to(to, " of {}", clip(escape(lock.owner_object), kMaxNameColumns));
  }
  if (!lock.detail.empty()) fmt::format_to(to, " ({})", lock.detail);
  return text;
}

/// " in Inventory.reserve (shop/service.py:40)"; empty if the place isn't known.
std::string describe_place(const Snapshot& snapshot, std::optional<std::uint32_t> index,
                           std::optional<std::int32_t> line) {
  if (!index || *index >= snapshot.codes.size()) return {};
  const Code& code = snapshot.codes[*index];
  std::string text = fmt::format(" in {} ({}", clip(escape(code.qualified_name), kMaxNameColumns),
                                 clip(escape(telling_path(code.file)), kMaxPathColumns));
  if (line) fmt::format_to(std::back_inserter(text), ":{}", *line);
  return text + ")";
}

/// 4712 "work_0" or 4713 "work_1"
std::string list_servers(const LockWait& lock) {
  constexpr std::size_t kMost = 4;
  const std::size_t count = lock.served_by.size();
  std::string text;
  for (std::size_t i = 0; i < std::min(count, kMost); ++i) {
    if (i > 0) text += i + 1 == count ? " or " : ", ";
    text += thread_label(lock.served_by[i].tid, lock.served_by[i].name);
  }
  if (count > kMost) text += fmt::format(" or {} others", count - kMost);
  return text;
}

std::string describe_holder(const Thread& waiter, const LockWait& lock) {
  switch (lock.held) {
    case Held::ByThread:
      if (lock.held_by == waiter.tid) return ", which it holds itself";
      return ", held by " + label_of_holder(lock);
    case Held::LastSeen:
      return ", last seen in " + label_of_holder(lock);
    case Held::ByNobodyFound:
      if (!lock.lost.empty()) return ", which no thread is seen to hold: " + escape(lock.lost);
      return lock.type.starts_with("multiprocessing.") ? ", which no thread of this process holds"
                                                       : ", which no thread is seen to hold";
    case Held::ByNobodyLeft:
      return ", which nobody is left to give back: " + escape(lock.lost);
    case Held::NotALock:
      return lock.served_by.empty() ? std::string{} : ", to come from " + list_servers(lock);
    case Held::Unknown:
      return {};
  }
  return {};
}

/// The place where a thread of this process waits, as the programmer knows it: the function that
/// called the library's waiting function.
std::string describe_waiting_place(const Snapshot& snapshot, const Deadlock::Member& member) {
  const auto thread = std::find_if(snapshot.threads.begin(), snapshot.threads.end(),
                                   [&](const Thread& t) { return member.is(t); });
  if (thread != snapshot.threads.end()) {
    const Frame* frame = ActivityFinder(snapshot).find(*thread).frame;
    if (frame != nullptr && frame->code) {
      return describe_place(snapshot, frame->code, frame->position.line);
    }
  }
  return describe_place(snapshot, member.lock.waits_in, member.lock.waits_at);
}

/// A cycle of processes.
std::vector<std::string> describe_processes(const Snapshot& snapshot, const Deadlock& deadlock) {
  const std::size_t count = deadlock.cycle.size();
  std::vector<std::string> lines;
  lines.push_back(count == 1 ? std::string("Found a deadlock of a process with itself:")
                             : fmt::format("Found a deadlock of {} processes:", count));
  for (const Deadlock::Member& member : deadlock.cycle) {
    std::string line =
        fmt::format("  Process {} ({})", member.pid, clip(escape(member.process), kMaxNameColumns));
    if (member.name) line += ", thread " + thread_label(member.tid, member.name) + ",";
    line += " waits" + describe_waiting_place(snapshot, member);
    lines.push_back(std::move(line));
    if (member.lock.address != 0) {
      lines.push_back(fmt::format("    for {}:", describe_object(member.lock)));
    }
    lines.push_back("    " + clip(escape(member.waits), kMaxWaitColumns));
  }
  if (!deadlock.handlers.empty()) {
    lines.push_back("  unless the handler of a signal ends it: " +
                    clip(escape(deadlock.handlers), kMaxWaitColumns));
  }
  return lines;
}

}  // namespace

std::string thread_label(pid_t tid, const std::optional<std::string>& name) {
  Thread thread;
  thread.tid = tid;
  thread.name = name;
  return thread_label(thread);
}

std::string thread_label(const Thread& thread) {
  std::string name;
  if (thread.tid != 0) name = std::to_string(thread.tid);
  if (thread.name) {
    if (!name.empty()) name += ' ';
    name += '"' + clip(escape(*thread.name), kMaxThreadColumns) + '"';
  }
  return name.empty() ? fmt::format("with ident {}", thread.ident) : name;
}

std::string describe_wait(const Thread& thread, std::string_view chain) {
  if (!thread.lock) return {};
  const LockWait& lock = *thread.lock;
  std::string text = is_join(lock) ? fmt::format("thread {} to end", label_of_holder(lock))
                                   : describe_object(lock) + describe_holder(thread, lock);
  text += chain;
  if (lock.timed) text += ", with a timeout";
  return text;
}

std::string summarize_wait(const LockWait& lock) {
  std::string text = clip(escape(lock.type), kMaxNameColumns);
  if (!lock.name.empty()) text += fmt::format(" \"{}\"", clip(escape(lock.name), kMaxNameColumns));
  return text;
}

std::vector<std::string> describe_deadlock(const Snapshot& snapshot, const Deadlock& deadlock) {
  if (deadlock.of_processes()) return describe_processes(snapshot, deadlock);
  std::vector<std::string> lines;
  const bool alone = deadlock.cycle.size() == 1;
  const bool through_gil =
      std::any_of(deadlock.cycle.begin(), deadlock.cycle.end(),
                  [](const Deadlock::Member& member) { return member.lock.type == "GIL"; });
  lines.push_back(alone ? std::string("Found a deadlock of a thread with itself:")
                        : fmt::format("Found a deadlock of {} threads{}:", deadlock.cycle.size(),
                                      through_gil ? " through the GIL" : ""));
  for (const Deadlock::Member& member : deadlock.cycle) {
    const LockWait& lock = member.lock;
    lines.push_back(fmt::format("  Thread {} waits{}", thread_label(member.tid, member.name),
                                describe_place(snapshot, lock.waits_in, lock.waits_at)));
    if (is_join(lock)) {
      lines.push_back(fmt::format("    for thread {} to end", label_of_holder(lock)));
      continue;
    }
    lines.push_back(fmt::format("    for {},", describe_object(lock)));
    if (lock.held == Held::NotALock) {
      lines.push_back(
          fmt::format("    to come from {}", alone ? std::string("itself") : list_servers(lock)));
      continue;
    }
    const std::string place = describe_place(snapshot, lock.taken_in, lock.taken_at);
    const std::string who = alone ? std::string("itself") : label_of_holder(lock);
    lines.push_back(
        fmt::format("    held by {}{}{}", who, place.empty() ? "" : ", which took it", place));
  }
  return lines;
}

}  // namespace pyscope
