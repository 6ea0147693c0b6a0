#include "format/lock_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "format/escape.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMaxThreadColumns = 80;
constexpr std::size_t kMaxNameColumns = 80;
constexpr std::size_t kMaxPathColumns = 120;

const Thread* find_thread(const Snapshot& snapshot, pid_t tid) {
  const auto found = std::find_if(snapshot.threads.begin(), snapshot.threads.end(),
                                  [&](const Thread& thread) { return thread.tid == tid; });
  return tid == 0 || found == snapshot.threads.end() ? nullptr : &*found;
}

std::string label_of(const Snapshot& snapshot, pid_t tid) {
  const Thread* thread = find_thread(snapshot, tid);
  return thread == nullptr ? fmt::format("{}", tid) : thread_label(*thread);
}

bool is_join(const LockWait& lock) {
  return lock.held == Held::ByThread && lock.type == "threading.Thread";
}

/// threading.Lock 0x7f… "self.lock" of <Inventory at 0x7f…>
std::string describe_object(const LockWait& lock) {
  if (lock.type == "import lock") {
    return fmt::format("the import lock of \"{}\"", clip(escape(lock.name), kMaxNameColumns));
  }
  std::string text = clip(escape(lock.type), kMaxNameColumns);
  const auto to = std::back_inserter(text);
  if (lock.address != 0) fmt::format_to(to, " {:#x}", lock.address);
  if (!lock.name.empty()) {
    fmt::format_to(to, " \"{}\"", clip(escape(lock.name), kMaxNameColumns));
  }
  if (!lock.owner_object.empty()) {
    fmt::format_to(to, " of {}", clip(escape(lock.owner_object), kMaxNameColumns));
  }
  return text;
}

/// " in Inventory.reserve (/srv/shop/service.py:40)"; empty if the frame doesn't tell.
std::string describe_place(const Snapshot& snapshot, const Frame* frame,
                           std::optional<std::int32_t> line) {
  if (frame == nullptr || !frame->code || *frame->code >= snapshot.codes.size()) return {};
  const Code& code = snapshot.codes[*frame->code];
  std::string text = fmt::format(" in {} ({}", clip(escape(code.qualified_name), kMaxNameColumns),
                                 clip(escape(code.file), kMaxPathColumns));
  if (line) fmt::format_to(std::back_inserter(text), ":{}", *line);
  return text + ")";
}

std::string describe_holder(const Snapshot& snapshot, const LockWait& lock) {
  switch (lock.held) {
    case Held::ByThread:
      return ", held by " + label_of(snapshot, lock.held_by);
    case Held::LastSeen:
      return ", last seen in " + label_of(snapshot, lock.held_by);
    case Held::ByNobodyFound:
      return ", which no thread is seen to hold";
    case Held::Unknown:
    case Held::NotALock:
      return {};
  }
  return {};
}

}  // namespace

std::string thread_label(const Thread& thread) {
  std::string name;
  if (thread.tid != 0) name = std::to_string(thread.tid);
  if (thread.name) {
    if (!name.empty()) name += ' ';
    name += '"' + clip(escape(*thread.name), kMaxThreadColumns) + '"';
  }
  return name.empty() ? fmt::format("with ident {}", thread.ident) : name;
}

const Frame* find_holder_frame(const Snapshot& snapshot, const LockWait& lock) {
  const Thread* holder = find_thread(snapshot, lock.held_by);
  if (holder == nullptr || !lock.holder_frame || *lock.holder_frame >= holder->frames.size()) {
    return nullptr;
  }
  return &holder->frames[*lock.holder_frame];
}

std::string describe_wait(const Snapshot& snapshot, const LockWait& lock) {
  std::string text = is_join(lock)
                         ? fmt::format("thread {} to end", label_of(snapshot, lock.held_by))
                         : describe_object(lock) + describe_holder(snapshot, lock);
  if (lock.timed) text += ", with a timeout";
  return text;
}

std::string summarize_wait(const LockWait& lock) {
  std::string text = clip(escape(lock.type), kMaxNameColumns);
  if (!lock.name.empty()) text += fmt::format(" \"{}\"", clip(escape(lock.name), kMaxNameColumns));
  return text;
}

std::vector<std::string> describe_deadlock(const Snapshot& snapshot, const Deadlock& deadlock) {
  std::vector<std::string> lines;
  const bool alone = deadlock.threads.size() == 1;
  lines.push_back(alone ? std::string("Found a deadlock of a thread with itself:")
                        : fmt::format("Found a deadlock of {} threads:", deadlock.threads.size()));
  for (const std::uint32_t index : deadlock.threads) {
    if (index >= snapshot.threads.size() || !snapshot.threads[index].lock) continue;
    const Thread& thread = snapshot.threads[index];
    const LockWait& lock = *thread.lock;
    const Frame* waiting = lock.waiting_frame && *lock.waiting_frame < thread.frames.size()
                               ? &thread.frames[*lock.waiting_frame]
                               : nullptr;
    lines.push_back(
        fmt::format("  Thread {} waits{}", thread_label(thread),
                    describe_place(snapshot, waiting,
                                   waiting == nullptr ? std::nullopt : waiting->position.line)));
    if (is_join(lock)) {
      lines.push_back(fmt::format("    for thread {} to end", label_of(snapshot, lock.held_by)));
      continue;
    }
    lines.push_back(fmt::format("    for {},", describe_object(lock)));
    const Frame* taken = find_holder_frame(snapshot, lock);
    // Without a `with` statement all that is known is the function.
    const std::string place = describe_place(snapshot, taken, lock.taken_at);
    const std::string who = alone ? std::string("itself") : label_of(snapshot, lock.held_by);
    lines.push_back(
        fmt::format("    held by {}{}{}", who, place.empty() ? "" : ", which took it", place));
  }
  return lines;
}

}  // namespace pyscope
