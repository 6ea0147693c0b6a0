// The kernel's facts about a process and its threads, as plain data. They are the part of a capture
// that doesn't come from the target's memory; a recording holds them beside the memory.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pyscope {

struct SystemCall {
  std::int64_t number = -1;  // -1: in the kernel, but not in a system call
  std::array<std::uint64_t, 6> arguments{};
};

struct Task {
  pid_t tid = 0;
  pid_t namespace_tid = 0;  // the same thread in the target's own pid namespace
  std::string os_name;      // comm; at most 15 bytes, any bytes
  char state = '?';
  std::uint64_t cpu_time_us = 0;
  /// For how long the thread could have run but had no processor, and how often it was given one.
  /// Known where the kernel counts (CONFIG_SCHED_INFO).
  std::optional<std::uint64_t> run_delay_us = {};
  std::optional<std::uint64_t> times_scheduled = {};
  std::optional<SystemCall> system_call;  // empty: running, or not read
};

struct ProcessFacts {
  pid_t pid = 0;
  pid_t namespace_pid = 0;
  std::string host;
  std::vector<std::string> command;
  std::string executable;
  std::optional<std::chrono::system_clock::time_point> started_at;
  std::chrono::system_clock::time_point captured_at;
  std::vector<Task> tasks;
};

/// The fields of /proc/PID/stat or /proc/PID/task/TID/stat that pyscope uses.
struct ProcStat {
  std::string comm;
  char state = '?';
  pid_t parent = 0;
  std::uint64_t flags = 0;
  std::uint64_t cpu_ticks = 0;    // utime + stime, in clock ticks
  std::uint64_t start_ticks = 0;  // since boot, in clock ticks
};

[[nodiscard]] std::optional<ProcStat> parse_stat(std::string_view text);
/// User and system time.
[[nodiscard]] std::uint64_t cpu_time_us(const ProcStat& stat);
/// /proc/PID/task/TID/schedstat. Kernels without CONFIG_SCHED_INFO have no such file, or zeros.
struct SchedulerStats {
  std::uint64_t run_delay_us = 0;     // could have run, and had no CPU
  std::uint64_t times_scheduled = 0;  // was given a CPU
};
[[nodiscard]] std::optional<SchedulerStats> parse_schedstat(std::string_view text);

/// Where a thread is, and how it is scheduled.
struct SchedulingFacts {
  unsigned cpu = 0;     // that it runs on, or ran on last
  unsigned policy = 0;  // SCHED_OTHER, …
};
/// Fields 39 and 41 of /proc/PID/task/TID/stat.
[[nodiscard]] std::optional<SchedulingFacts> parse_scheduling(std::string_view stat);

/// Parses /proc/PID/task/TID/syscall. Empty for "running" and for text that can't be parsed.
[[nodiscard]] std::optional<SystemCall> parse_system_call(std::string_view text);

/// A stopped thread's system call goes on as restart_syscall afterwards. This is the number of the
/// original call, found by where the thread sleeps: the text of /proc/PID/task/TID/wchan. Empty if
/// that text doesn't tell. Only poll, futex and timed sleeps are restarted so.
[[nodiscard]] std::optional<std::int64_t> restarted_call(std::string_view wchan);

/// How often a thread was switched off a CPU, voluntarily or not, by the text of
/// /proc/PID/task/TID/status; empty if that text doesn't say.
[[nodiscard]] std::optional<std::uint64_t> count_switches(std::string_view status);

/// The words of the text of /proc/PID/cmdline. A process can make it any length, and all of it
/// NULs, each of which ends a word: behind the bounds stands one last word, "…".
[[nodiscard]] std::vector<std::string> parse_command_line(std::string_view text);
// Bound (bytes): command line
constexpr std::size_t kMostCommandBytes = std::size_t{1} << 20U;
// Bound: words of a command line
constexpr std::size_t kMostCommandWords = 16'384;

/// The words after `key:` in the text of /proc/PID/status; empty if the key isn't there.
[[nodiscard]] std::vector<std::string_view> status_words(std::string_view status,
                                                         std::string_view key);

}  // namespace pyscope
