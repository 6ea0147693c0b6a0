#include "process/facts.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>

namespace pyscope {
namespace {

std::vector<std::string_view> split_words(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n";
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t start = text.find_first_not_of(kSpace);
    if (start == std::string_view::npos) return words;
    text.remove_prefix(start);
    const std::size_t end = text.find_first_of(kSpace);
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end);
  }
}

/// The fields of /proc/PID/stat from the third on (the state), by their numbers in proc(5).
class StatFields {
 public:
  /// The name before them may hold spaces and parentheses of its own: the last closing one ends it.
  explicit StatFields(std::string_view text) {
    const std::size_t close = text.rfind(')');
    if (close != std::string_view::npos) words_ = split_words(text.substr(close + 1));
  }
  [[nodiscard]] bool has(std::size_t number) const { return number < words_.size() + kFirst; }
  [[nodiscard]] std::string_view operator[](std::size_t number) const {
    return words_[number - kFirst];
  }

 private:
  static constexpr std::size_t kFirst = 3;
  std::vector<std::string_view> words_;
};

template <class T>
bool parse_number(std::string_view word, T& value, int base = 10) {
  if (base == 16 && word.starts_with("0x")) word.remove_prefix(2);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  return error == std::errc{} && end == word.data() + word.size();
}

}  // namespace

std::vector<std::string> parse_command_line(std::string_view text) {
  const bool cut = text.size() >= kMostCommandBytes;
  std::string_view rest = text.substr(0, kMostCommandBytes);
  std::vector<std::string> words;
  while (!rest.empty() && words.size() < kMostCommandWords) {
    const std::size_t end = rest.find('\0');
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  if (cut || !rest.empty()) words.emplace_back("…");
  return words;
}

std::optional<ProcStat> parse_stat(std::string_view text) {
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return std::nullopt;
  }
  const StatFields fields(text);
  constexpr std::size_t kStartTime = 22;
  if (!fields.has(kStartTime)) return std::nullopt;
  ProcStat stat;
  stat.comm = text.substr(open + 1, close - open - 1);
  stat.state = fields[3].front();
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  if (!parse_number(fields[4], stat.parent) || !parse_number(fields[9], stat.flags) ||
      !parse_number(fields[14], user) || !parse_number(fields[15], system) ||
      !parse_number(fields[kStartTime], stat.start_ticks)) {
    return std::nullopt;
  }
  stat.cpu_ticks = user + system;
  return stat;
}

std::uint64_t cpu_time_us(const ProcStat& stat) {
  static const auto microseconds_per_tick =
      1'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return stat.cpu_ticks * microseconds_per_tick;
}

std::optional<SchedulerStats> parse_schedstat(std::string_view text) {
  // Nanoseconds on a CPU, nanoseconds without one, and how often the thread was given one.
  const auto words = split_words(text);
  SchedulerStats stats;
  std::uint64_t nanoseconds = 0;
  if (words.size() < 3 || !parse_number(words[1], nanoseconds) ||
      !parse_number(words[2], stats.times_scheduled)) {
    return std::nullopt;
  }
  stats.run_delay_us = nanoseconds / 1000;
  return stats;
}

std::optional<SchedulingFacts> parse_scheduling(std::string_view stat) {
  constexpr std::size_t kCpu = 39;
  constexpr std::size_t kPolicy = 41;
  const StatFields fields(stat);
  SchedulingFacts facts;
  if (!fields.has(kPolicy) || !parse_number(fields[kCpu], facts.cpu) ||
      !parse_number(fields[kPolicy], facts.policy)) {
    return std::nullopt;
  }
  return facts;
}

std::optional<SystemCall> parse_system_call(std::string_view text) {
  const auto words = split_words(text);
  SystemCall call;
  if (words.empty() || !parse_number(words[0], call.number)) return std::nullopt;  // "running"
  for (std::size_t i = 0; call.number >= 0 && i < call.arguments.size(); ++i) {
    if (i + 1 >= words.size() || !parse_number(words[i + 1], call.arguments[i], 16)) {
      return std::nullopt;
    }
  }
  return call;
}

std::optional<std::int64_t> restarted_call(std::string_view wchan) {
  const auto is_in = [&](std::string_view function) {
    return wchan.find(function) != std::string_view::npos;
  };
  // Newer kernels say poll_schedule_timeout, hrtimer_nanosleep, futex_do_wait. Older kernels have
  // other names with the same words in them.
#ifdef SYS_poll
  if (is_in("poll")) return SYS_poll;
#endif
  if (is_in("nanosleep")) return SYS_clock_nanosleep;  // the C library uses it for both
  if (is_in("futex")) return SYS_futex;
  return std::nullopt;
}

std::optional<std::uint64_t> count_switches(std::string_view status) {
  std::uint64_t total = 0;
  for (const std::string_view key : {"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"}) {
    const auto words = status_words(status, key);
    std::uint64_t count = 0;
    if (words.empty() || !parse_number(words[0], count)) return std::nullopt;
    total += count;
  }
  return total;
}

std::vector<std::string_view> status_words(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    const std::size_t end = status.find('\n');
    const std::string_view line = status.substr(0, end);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      return split_words(line.substr(key.size() + 1));
    }
    if (end == std::string_view::npos) break;
    status.remove_prefix(end + 1);
  }
  return {};
}

}  // namespace pyscope
