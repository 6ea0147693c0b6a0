#include "format/process_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "format/duration.hpp"
#include "format/escape.hpp"
#include "format/timestamp.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostCommandBytes = 16'384;  // command lines can be megabytes long
constexpr std::size_t kLeastCommandColumns = 40;

std::uint64_t not_negative(std::int64_t value) {
  return value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

/// Quotes an argument as one would type it, so that the command line shows where each argument
/// ends.
std::string quote_argument(std::string_view argument) {
  constexpr std::string_view kNeedsQuotes = " \t\n\"'\\$`&|;<>()*?[]#~!{}";
  if (!argument.empty() && argument.find_first_of(kNeedsQuotes) == std::string_view::npos) {
    return escape(argument);
  }
  std::string quoted = "'";
  for (const char c : argument) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  quoted += '\'';
  return escape(quoted);
}

std::string command_line(const Snapshot& snapshot) {
  std::string line;
  for (const std::string& argument : snapshot.command) {
    if (!line.empty()) line += ' ';
    line += quote_argument(argument);
    if (line.size() > kMostCommandBytes) return line + " ...";
  }
  if (line.empty()) line = escape(snapshot.executable);
  return line;
}

}  // namespace

void append_process(std::string& out, const Snapshot& snapshot, const Painter& painter,
                    std::size_t columns) {
  const auto append_line = [&](Style style, std::string_view text) {
    painter.append(out, style, text);
    out += '\n';
  };
  std::string line = fmt::format("Process {}", snapshot.pid);
  const auto to = std::back_inserter(line);
  if (snapshot.namespace_pid != 0 && snapshot.namespace_pid != snapshot.pid) {
    fmt::format_to(to, " (pid {} in its own namespace)", snapshot.namespace_pid);
  }
  if (!snapshot.host.empty()) fmt::format_to(to, " on {}", escape(snapshot.host));
  const std::string command = command_line(snapshot);
  if (!command.empty()) fmt::format_to(to, ": {}", command);
  append_line(Style::Heading,
              columns == 0 ? line : clip(line, std::max(columns, kLeastCommandColumns)));

  line = "CPython";
  if (!snapshot.python.version.empty()) line += " " + escape(snapshot.python.version);
  if (snapshot.python.free_threaded) line += ", free-threaded";
  if (snapshot.python.debug_build.value_or(false)) line += ", debug build";
  if (!snapshot.executable.empty()) line += ", " + escape(snapshot.executable);
  if (snapshot.started_at && *snapshot.started_at <= snapshot.captured_at) {
    const auto age = std::chrono::floor<std::chrono::microseconds>(snapshot.captured_at) -
                     std::chrono::floor<std::chrono::microseconds>(*snapshot.started_at);
    line += ", up " + format_duration(not_negative(age.count()));
  }
  append_line(Style::Plain, line);
}

void append_capture(std::string& out, const Snapshot& snapshot, const Painter& painter) {
  const auto append_line = [&](Style style, std::string_view text) {
    painter.append(out, style, text);
    out += '\n';
  };
  const CaptureStats& capture = snapshot.capture;
  const std::string time = format_utc(snapshot.captured_at);
  std::string line = fmt::format("Read {} {} UTC in {}", time.substr(0, 10), time.substr(11, 8),
                                 format_duration(not_negative(capture.duration_us)));
  const auto to = std::back_inserter(line);
  if (capture.paused_threads > 0) {
    fmt::format_to(to, ", {} for {}",
                   capture.paused_threads == 1
                       ? std::string("1 thread paused")
                       : fmt::format("{} threads paused", capture.paused_threads),
                   format_duration(not_negative(capture.paused_us)));
  } else {
    line += " without stopping it";
  }
  const auto unverified = std::count_if(snapshot.threads.begin(), snapshot.threads.end(),
                                        [](const Thread& thread) { return !thread.consistent; });
  if (unverified > 0) {
    fmt::format_to(to, ", {} of {} threads not verified", unverified, snapshot.threads.size());
  } else {
    line += capture.consistent ? ", verified" : ", not verified";
  }
  line += "; innermost frame first";
  append_line(Style::Plain, line);
}

}  // namespace pyscope
