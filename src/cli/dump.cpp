#include "cli/dump.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <tuple>

#include "pyscope/capture.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

template <class T>
std::optional<T> parse_positive(const std::string& text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value <= 0) return std::nullopt;
  return value;
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

bool wants_color(const std::string& choice) {
  if (choice == "always") return true;
  if (choice == "never") return false;
  // no-color.org: any value that isn't empty counts.
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (is_set("CLICOLOR_FORCE")) return true;
  const char* terminal = std::getenv("TERM");
  if (terminal != nullptr && std::strcmp(terminal, "dumb") == 0) return false;
  return ::isatty(STDOUT_FILENO) == 1;
}

/// Writes all of it. A reader that has closed the pipe has seen enough: that ends the program
/// quietly. False for any other failure, which is then reported.
bool write_out(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      if (errno == EPIPE) std::_Exit(0);
      fmt::print(stderr, "pyscope: writing the output failed: {}\n", std::strerror(errno));
      return false;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void print_error(const Error& error) {
  fmt::print(stderr, "pyscope: {}\n", error.message);
  if (!error.hint.empty()) fmt::print(stderr, "         {}\n", error.hint);
}

int report(pid_t pid, const Error& error, bool json, JsonStyle style) {
  print_error(error);
  if (json && !write_out(render_json(pid, error, style))) return exit_status(ErrorKind::Failed);
  return exit_status(error.kind);
}

class Dumper {
 public:
  Dumper(const DumpOptions& options, CaptureOptions capture_options)
      : options_(options), capture_options_(std::move(capture_options)) {
    text_.color = wants_color(options.color);
    if (options.group) text_.grouping = Grouping::Always;
    if (options.no_group) text_.grouping = Grouping::Never;
    style_ = options.pids.size() > 1 ? JsonStyle::Compact : JsonStyle::Pretty;
  }

  int dump(pid_t pid) { return print(pid, capture(pid, capture_options_)); }
  int dump_recording(const std::string& path) { return print(0, replay(path, capture_options_)); }

 private:
  int print(pid_t pid, const Result<Snapshot>& snapshot) {
    if (!snapshot) return report(pid, snapshot.error(), options_.json, style_);
    std::string out;
    if (options_.json) {
      out = render_json(*snapshot, style_);
    } else {
      out = printed_ ? "\n" : "";
      out += render_text(*snapshot, text_);
    }
    printed_ = true;
    return write_out(out) ? exit_status(*snapshot) : exit_status(ErrorKind::Failed);
  }

  const DumpOptions& options_;
  CaptureOptions capture_options_;
  TextOptions text_;
  JsonStyle style_ = JsonStyle::Pretty;
  bool printed_ = false;
};

// With several processes: 0 if all were, otherwise 6 if any could be read, otherwise the first
// one's.
int combine(const std::vector<int>& statuses) {
  int first_failure = 0;
  bool any_read = false;
  for (const int status : statuses) {
    if (status == 0 || status == exit_status(ErrorKind::Malformed)) any_read = true;
    if (status != 0 && first_failure == 0) first_failure = status;
  }
  if (statuses.size() == 1 || first_failure == 0) return first_failure;
  return any_read ? exit_status(ErrorKind::Malformed) : first_failure;
}

}  // namespace

CLI::App* add_dump(CLI::App& app, DumpOptions& options) {
  CLI::App* dump =
      app.add_subcommand("dump", "Print the Python stack of every thread of a process");
  dump->add_option("PID", options.pids, "The processes to read")->type_name("");
  dump->add_flag("--json", options.json,
                 "Print JSON: one document, or one a line for several PIDs");
  dump->add_option("--thread", options.threads, "Only this thread, by tid or name (repeatable)")
      ->type_name("TID|NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  dump->add_option("--frames", options.frames, "Only the innermost N frames of each thread")
      ->type_name("N");
  dump->add_flag("--no-source", options.no_source, "Leave out the source lines");
  dump->add_flag("--locals", options.locals, "Print the variables of each frame with their values");
  dump->add_option("--max-string", options.max_string,
                   "Characters of a string that are printed (200)")
      ->type_name("N");
  dump->add_option("--max-items", options.max_items, "Items of a container that are printed (20)")
      ->type_name("N");
  dump->add_option("--max-depth", options.max_depth,
                   "Containers within containers that are printed (4)")
      ->type_name("N");
  dump->add_flag("--show-secrets", options.show_secrets,
                 "Print values that are named like passwords, tokens or keys");
  // A flag takes a value only behind "=", so that a PID may follow it.
  dump->add_flag("--pause", options.pause,
                 "Hold threads that could not be verified for about a millisecond, to read\n"
                 "them exactly; --pause=all: all threads, for a picture of one moment");
  dump->add_flag("--group", options.group,
                 "Print threads with the same stack once (default above 16 threads)");
  dump->add_flag("--no-group", options.no_group, "Print each thread on its own");
  dump->add_option("--color", options.color, "auto (default), always or never")->type_name("WHEN");
  dump->add_flag("-v,--verbose", options.verbose, "Tell on stderr what is tried");
  // For reports of failures and for tests; a recording holds parts of the target's memory.
  dump->add_option("--record", options.record)->group("");
  dump->add_option("--replay", options.replay)->group("");
  return dump;
}

int report_usage(const DumpOptions& options, const std::string& message) {
  return report(0, {ErrorKind::Usage, message, "see: pyscope dump --help"}, options.json,
                JsonStyle::Pretty);
}

int run_dump(const DumpOptions& options) {
  CaptureOptions capture_options;
  capture_options.threads = options.threads;
  capture_options.source = !options.no_source;
  capture_options.record_path = options.record;
  if (options.verbose) {
    capture_options.log = [](const std::string& step) {
      fmt::print(stderr, "pyscope: {}\n", step);
    };
  }
  if (options.color != "auto" && options.color != "always" && options.color != "never") {
    return report_usage(
        options, fmt::format("--color takes auto, always or never, not '{}'", options.color));
  }
  if (options.group && options.no_group) {
    return report_usage(options, "--group and --no-group exclude each other");
  }
  if (!options.frames.empty()) {
    capture_options.max_frames = parse_positive<std::size_t>(options.frames);
    if (!capture_options.max_frames) {
      return report_usage(
          options, fmt::format("--frames takes a number from 1 on, not '{}'", options.frames));
    }
  }
  capture_options.locals = options.locals;
  capture_options.values.show_secrets = options.show_secrets;
  const auto number = [](const std::string& text, std::size_t& into) {
    if (text.empty()) return true;
    const auto value = parse_positive<std::size_t>(text);
    into = value.value_or(into);
    return value.has_value();
  };
  for (const auto& [name, text, into] :
       {std::tuple{"--max-string", &options.max_string, &capture_options.values.max_string},
        std::tuple{"--max-items", &options.max_items, &capture_options.values.max_items},
        std::tuple{"--max-depth", &options.max_depth, &capture_options.values.max_depth}}) {
    if (!number(*text, *into)) {
      return report_usage(options,
                          fmt::format("{} takes a number from 1 on, not '{}'", name, *text));
    }
  }
  if (options.pause == "all") {
    capture_options.pause = Pause::All;
  } else if (options.pause == "true") {
    capture_options.pause = Pause::Unverified;
  } else if (!options.pause.empty()) {
    return report_usage(options,
                        fmt::format("--pause takes no value, or all, not '{}'", options.pause));
  }
  Dumper dumper(options, std::move(capture_options));
  if (!options.replay.empty()) {
    if (!options.pids.empty()) return report_usage(options, "--replay takes no PID");
    return dumper.dump_recording(options.replay);
  }
  if (options.pids.empty()) return report_usage(options, "dump needs the PID of a process");
  if (!options.record.empty() && options.pids.size() > 1) {
    return report_usage(options, "--record takes one PID");
  }
  std::vector<pid_t> pids;
  for (const std::string& text : options.pids) {
    const auto pid = parse_positive<pid_t>(text);
    if (!pid) return report_usage(options, fmt::format("'{}' is not a PID", text));
    pids.push_back(*pid);
  }
  std::vector<int> statuses;
  statuses.reserve(pids.size());
  for (const pid_t pid : pids)
    statuses.push_back(dumper.dump(pid));
  return combine(statuses);
}

}  // namespace pyscope::cli
