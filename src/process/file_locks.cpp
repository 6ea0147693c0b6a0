#include "process/file_locks.hpp"

#include "process/words.hpp"

namespace pyscope {
namespace {

/// "12: -> FLOCK  ADVISORY  WRITE 4711 fd:01:393243 0 EOF" is a waiter. A line without the arrow is
/// the lock's holder.
struct LockLine {
  std::string_view number;  // a lock and its waiters have the same number
  bool waits = false;
  pid_t pid = 0;
  std::string_view file;  // "major:minor:inode"
};

std::optional<LockLine> parse_lock(std::string_view text) {
  LockLine line;
  line.number = next_word(text);
  std::string_view kind = next_word(text);
  // A waiter for a waiter is indented further.
  line.waits = kind == "->";
  if (line.waits) kind = next_word(text);
  next_word(text);  // ADVISORY
  next_word(text);  // READ or WRITE
  const auto pid = to_number<pid_t>(next_word(text));
  line.file = next_word(text);
  if (!pid || line.file.find(':') == std::string_view::npos) return std::nullopt;
  line.pid = *pid;
  return line;
}

template <class Take>
void for_each_lock(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (const auto line = parse_lock(text.substr(0, end))) take(*line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

}  // namespace

std::optional<pid_t> find_lock_holder(std::string_view locks, pid_t waiter, std::uint64_t inode) {
  // The device number isn't compared: on some file systems stat(2) gives another one than this
  // table.
  std::string_view number;
  std::string_view file;
  bool is_unique = true;
  for_each_lock(locks, [&](const LockLine& line) {
    const auto line_inode = to_number<std::uint64_t>(line.file.substr(line.file.rfind(':') + 1));
    if (!line.waits || line.pid != waiter || line_inode != inode) return;
    if (!number.empty() && line.file != file) is_unique = false;
    number = line.number;
    file = line.file;
  });
  if (number.empty() || !is_unique) return std::nullopt;
  std::optional<pid_t> holder;
  for_each_lock(locks, [&](const LockLine& line) {
    if (!line.waits && line.number == number && line.pid > 0 && !holder) holder = line.pid;
  });
  return holder;
}

}  // namespace pyscope
