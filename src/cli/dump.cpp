#include "cli/dump.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iterator>
#include <optional>
#include <set>
#include <thread>

#include "base/parallel.hpp"
#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/processes.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

int report(pid_t pid, const Error& error, bool json, JsonStyle style) {
  print_error(error);
  if (json && !write_out(render_json(pid, error, style))) return exit_status(ErrorKind::Failed);
  return exit_status(error.kind);
}

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

/// The processes that are to be dumped.
struct Wanted {
  std::vector<pid_t> pids;
  bool named = true;  // on the command line; of others it is no news that they have ended
  bool one = false;   // there can't be more: a single document is printed
};

class Dumper {
 public:
  Dumper(const DumpOptions& options, CaptureOptions capture_options)
      : options_(options), capture_options_(std::move(capture_options)) {
    text_.color = wants_color(options.color);
    text_.columns = terminal_columns(STDOUT_FILENO);
    if (options.group) text_.grouping = Grouping::Always;
    if (options.no_group) text_.grouping = Grouping::Never;
  }

  /// All of them, several at a time; returns the exit status.
  int dump(const Wanted& wanted, std::size_t jobs) {
    style_ = wanted.one ? JsonStyle::Pretty : JsonStyle::Compact;
    std::vector<int> statuses;
    const auto read = [&](std::size_t i) {
      return render(capture(wanted.pids[i], capture_options_));
    };
    const auto print_one = [&](std::size_t i, const Rendered& rendered) {
      const bool gone = rendered.error && rendered.error->kind == ErrorKind::NoSuchProcess;
      if (gone && !wanted.named) return true;
      statuses.push_back(print(wanted.pids[i], rendered));
      return !output_lost();
    };
    // For people in the order in which they are listed, for scripts each as soon as it is read.
    run_parallel(wanted.pids.size(), jobs, !options_.json, read, print_one);
    if (statuses.empty()) {
      return report(0, {ErrorKind::NoSuchProcess, "all of the processes have ended meanwhile", ""},
                    options_.json, style_);
    }
    return combine(statuses);
  }
  /// A new dump at each interval, with what changed since the last, until it is interrupted or the
  /// process ends.
  int watch(pid_t pid, std::chrono::microseconds interval) {
    const InterruptCatcher interrupts;
    style_ = JsonStyle::Compact;
    std::optional<Snapshot> last;
    int status = 0;
    auto session = CaptureSession::attach(pid, capture_options_);
    if (!session) return print(pid, render(fail(session.error())));
    while (!interrupts.caught()) {
      auto snapshot = session->capture();
      // Ctrl-C may have taken the holder of --pause away in the middle.
      if (interrupts.caught() && (printed_ || !snapshot)) break;
      if (snapshot && last) mark_unchanged(*snapshot, *last);
      text_.columns = terminal_columns(STDOUT_FILENO);  // the window may have another size by now
      status = print(pid, render(snapshot));
      if (!snapshot || output_lost()) return status;
      last = *std::move(snapshot);
      interrupts.sleep(interval);
    }
    return status;
  }
  int dump_recording(const std::string& path) {
    return print(0, render(replay(path, capture_options_)));
  }

 private:
  struct Rendered {
    std::string text;
    int status = 0;
    std::optional<Error> error;
  };

  [[nodiscard]] Rendered render(const Result<Snapshot>& snapshot) const {
    if (!snapshot) return {{}, exit_status(snapshot.error().kind), snapshot.error()};
    return {options_.json ? render_json(*snapshot, style_) : render_text(*snapshot, text_),
            exit_status(*snapshot), std::nullopt};
  }

  int print(pid_t pid, const Rendered& rendered) {
    if (rendered.error) return report(pid, *rendered.error, options_.json, style_);
    const bool separate = printed_ && !options_.json;
    printed_ = true;
    return write_out(separate ? "\n" + rendered.text : rendered.text)
               ? rendered.status
               : exit_status(ErrorKind::Failed);
  }

  const DumpOptions& options_;
  CaptureOptions capture_options_;
  TextOptions text_;
  JsonStyle style_ = JsonStyle::Pretty;
  bool printed_ = false;
};

Result<std::vector<pid_t>> python_processes(const ProcessFilter& filter) {
  const auto processes = list_python_processes(filter);
  if (!processes) return fail(processes.error());
  std::vector<pid_t> pids;
  for (const PythonProcess& process : *processes)
    pids.push_back(process.pid);
  return pids;
}

Result<Wanted> select(const DumpOptions& options, std::vector<pid_t> named) {
  Wanted wanted{std::move(named), true, false};
  if (wanted.pids.empty()) {
    wanted.named = false;
    auto selected = python_processes(to_filter(options.selection, options.values));
    if (!selected) return fail(std::move(selected).error());
    wanted.pids = *std::move(selected);
    if (wanted.pids.empty()) {
      return fail(ErrorKind::NoSuchProcess,
                  options.all && options.selection.empty() ? "no Python process is to be seen here"
                                                           : "no Python process fits",
                  "list them all: pyscope ps");
    }
  }
  wanted.one = wanted.named && wanted.pids.size() == 1 && !options.children;
  if (!options.children) return wanted;
  const std::vector<pid_t> trees = find_trees(wanted.pids);
  ProcessFilter filter;
  filter.pids = trees;
  const auto python = python_processes(filter);
  if (!python) return fail(python.error());
  // Without any Python among them, why there is none is told of those that were named.
  if (python->empty()) return wanted;
  const std::set<pid_t> readable(python->begin(), python->end());
  wanted.pids.clear();
  std::copy_if(trees.begin(), trees.end(), std::back_inserter(wanted.pids),
               [&](pid_t pid) { return readable.contains(pid); });
  wanted.named = false;
  return wanted;
}

Result<std::size_t> jobs_of(const DumpOptions& options) {
  constexpr std::size_t kMostJobs = 64;
  // A process that is forked to hold threads, and steps that are told, come one at a time.
  if (!options.pause.empty() || !options.native.empty() || options.verbose) return 1;
  if (options.jobs.empty()) {
    constexpr std::size_t kMostByDefault = 8;
    return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostByDefault);
  }
  const auto jobs = parse_positive<std::size_t>(options.jobs);
  if (!jobs || *jobs > kMostJobs) {
    return fail(ErrorKind::Usage, fmt::format("--jobs takes a number from 1 to {}, not '{}'",
                                              kMostJobs, options.jobs));
  }
  return *jobs;
}

}  // namespace

CLI::App* add_dump(CLI::App& app, DumpOptions& options) {
  CLI::App* dump =
      app.add_subcommand("dump", "Print the Python stack of every thread of a process");
  dump->add_option("PID", options.pids, "The processes to read")->type_name("");
  add_selection_options(*dump, options.selection);
  dump->add_flag("--all", options.all, "All Python processes of this machine");
  dump->add_flag("--children", options.children,
                 "And the Python processes that descend from the processes");
  dump->add_flag("--json", options.json,
                 "Print JSON: one document, or one a line for several PIDs");
  dump->add_option("--thread", options.threads, "Only this thread, by tid or name (repeatable)")
      ->type_name("TID|NAME")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  dump->add_option("--frames", options.frames, "Only the innermost N frames of each thread")
      ->type_name("N");
  dump->add_flag("--no-source", options.no_source, "Leave out the source lines");
  dump->add_flag("--locals", options.locals, "Print the variables of each frame with their values");
  add_value_options(*dump, options.values, ValueLimits{});
  // A flag takes a value only behind "=", so that a PID may follow it.
  dump->add_flag("--pause", options.pause,
                 "Hold threads that could not be verified for about a millisecond, to read\n"
                 "them exactly; --pause=all: all threads, for a picture of one moment");
  dump->add_flag("--native", options.native,
                 "Show the functions of C, C++ or Rust below the Python lines, too; holds the\n"
                 "threads for a moment; --native=full: with the interpreter's own functions,\n"
                 "--native=all: and threads that run no Python");
  dump->add_flag("--group", options.group,
                 "Print threads with the same stack once (default above 16 threads)");
  dump->add_flag("--no-group", options.no_group, "Print each thread on its own");
  dump->add_option("--watch", options.watch,
                   "Print a new dump every so often, with what changed since the last")
      ->type_name("SECONDS");
  dump->add_option("--jobs", options.jobs, "Read so many processes at a time (processors)")
      ->type_name("N");
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
    capture_options.log = print_step;
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
  auto limits = value_limits(options.values, ValueLimits{});
  if (!limits) return report_usage(options, limits.error().message);
  capture_options.values = *std::move(limits);
  if (options.pause == "all") {
    capture_options.pause = Pause::All;
  } else if (options.pause == "true") {
    capture_options.pause = Pause::Unverified;
  } else if (!options.pause.empty()) {
    return report_usage(options,
                        fmt::format("--pause takes no value, or all, not '{}'", options.pause));
  }
  if (options.native == "true") {
    capture_options.native = Native::Folded;
  } else if (options.native == "full") {
    capture_options.native = Native::Full;
  } else if (options.native == "all") {
    capture_options.native = Native::All;
  } else if (!options.native.empty()) {
    return report_usage(
        options, fmt::format("--native takes no value, full or all, not '{}'", options.native));
  }
  // A recording is a file that is written.
  if (options.record.empty()) {
    const bool holds =
        capture_options.pause != Pause::Never || capture_options.native != Native::Off;
    enter_sandbox(holds ? Sandbox::HoldingThreads : Sandbox::Reading, capture_options.log);
  }
  Dumper dumper(options, std::move(capture_options));
  if (!options.replay.empty()) {
    if (!options.pids.empty()) return report_usage(options, "--replay takes no PID");
    return dumper.dump_recording(options.replay);
  }
  std::vector<pid_t> pids;
  for (const std::string& text : options.pids) {
    const auto pid = parse_positive<pid_t>(text);
    if (!pid) return report_usage(options, fmt::format("'{}' is not a PID", text));
    pids.push_back(*pid);
  }
  const bool selects = options.all || !options.selection.empty();
  if (pids.empty() && !selects) {
    return report_usage(options,
                        "dump needs the PID of a process, --match, --user, --unit, "
                        "--container or --all");
  }
  if (!pids.empty() && selects) {
    return report_usage(options,
                        "PIDs name the processes, and --match, --user, --unit, --container "
                        "and --all select them: give one or the other");
  }
  const bool one = pids.size() == 1 && !options.children;
  if (!options.record.empty() && !one) return report_usage(options, "--record takes one PID");
  if (!options.watch.empty()) {
    const auto interval = parse_duration(options.watch);
    if (!interval) {
      return report_usage(options, fmt::format("--watch takes a time from 1ms to a day, such as "
                                               "0.5, 500ms or 2s, not '{}'",
                                               options.watch));
    }
    if (!one) return report_usage(options, "--watch takes one PID");
    return dumper.watch(pids.front(), *interval);
  }
  const auto jobs = one ? Result<std::size_t>(1) : jobs_of(options);
  if (!jobs) return report_usage(options, jobs.error().message);
  const auto wanted = select(options, std::move(pids));
  if (!wanted) return report(0, wanted.error(), options.json, JsonStyle::Compact);
  return dumper.dump(*wanted, *jobs);
}

}  // namespace pyscope::cli
