#include "cli/dump.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/parallel.hpp"
#include "base/unique_fd.hpp"
#include "base/watched.hpp"
#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/selection.hpp"
#include "cli/terminal.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/fit_output.hpp"
#include "pyscope/processes.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

struct DumpArguments {
  std::vector<pid_t> pids;
  ProcessFilter filter;
  bool all = false;
  bool children = false;
  std::optional<std::size_t> jobs;
  bool json = false;
  std::vector<std::string> threads;
  std::optional<std::size_t> frames;
  bool no_source = false;
  std::string pause;   // as given: "true" for a plain --pause
  std::string native;  // likewise
  bool locals = false;
  bool tasks = false;
  ValueLimits values;
  bool group = false;
  bool no_group = false;
  bool full = false;
  std::string color = "auto";
  std::optional<double> watch;
  double timeout = 30;
  bool timeout_given = false;
  bool verbose = false;
  std::string record;
  std::string replay;
};

// The exit status for several processes: 0 if all ended in 0, else 6 if any could be read, else the
// first process's status.
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
  bool named = true;  // on the command line; the end of any other process isn't reported
  /// Those that didn't answer while they were looked for: they aren't asked again.
  std::map<pid_t, Error> unanswering = {};
};

class Dumper {
 public:
  Dumper(const DumpArguments& options, CaptureOptions capture_options, const ErrorReport& report)
      : options_(options), capture_options_(std::move(capture_options)), report_(report) {
    text_.color = wants_color(options.color);
    text_.columns = terminal_columns(STDOUT_FILENO);
    if (options.group) text_.grouping = Grouping::Always;
    text_.tasks = options.tasks;
    if (options.no_group) text_.grouping = Grouping::Never;
    text_.full = options.full;
    // Who asks for a thread, or for more than a stack, wants to see it.
    text_.idle_stacks = !options.threads.empty() || options.locals || !options.native.empty();
  }

  int dump_one(pid_t pid) {
    if (!options_.json) return print(pid, capture_one(pid));
    auto snapshot = capture(pid, capture_options_);
    if (!snapshot) return report_(pid, snapshot.error(), style_);
    fit_output(*snapshot, OutputForm::Json);
    render_json(*snapshot, style_, [](std::string_view piece) { (void)write_out(piece); });
    return output_lost() ? exit_status(ErrorKind::Failed) : exit_status(*snapshot);
  }

  /// All of them, several at a time; returns the exit status.
  int dump(const Wanted& wanted, std::size_t jobs) {
    style_ = JsonStyle::Compact;
    std::vector<int> statuses;
    const auto job = std::make_shared<const Dumper>(*this);
    const auto read = [&](std::size_t i) {
      const pid_t pid = wanted.pids[i];
      const auto known = wanted.unanswering.find(pid);
      if (known != wanted.unanswering.end()) return render(fail(known->second));
      return jobs == 1 ? capture_one(pid) : capture_in_time(job, pid);
    };
    const auto print_one = [&](std::size_t i, const Rendered& rendered) {
      const bool gone = rendered.error && rendered.error->kind == ErrorKind::NoSuchProcess;
      if (gone && !wanted.named) return true;
      statuses.push_back(print(wanted.pids[i], rendered));
      return !output_lost();
    };
    if (jobs == 1) {
      // One that stands still is read anew, and then the ones behind it.
      std::size_t next = 0;
      const auto rest = [&](std::chrono::milliseconds) {
        while (next < wanted.pids.size()) {
          const Rendered rendered = read(next);
          if (!print_one(next++, rendered)) break;
        }
        return status_of(statuses);
      };
      return run_on(0, capture_options_.timeout, report_, rest);
    }
    // People get the processes in the order of the list, scripts get each as soon as it is read.
    run_parallel(wanted.pids.size(), jobs, !options_.json, read, print_one);
    return status_of(statuses);
  }
  /// The exit status of all processes together.
  int status_of(const std::vector<int>& statuses) const {
    if (statuses.empty()) {
      return report_(0, {ErrorKind::NoSuchProcess, "all of the processes have ended meanwhile", ""},
                     style_);
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

  [[nodiscard]] Rendered capture_one(pid_t pid) const {
    return render(capture(pid, capture_options_));
  }

  /// Leaves a process behind that never answers, together with a thread of pyscope.
  [[nodiscard]] static Rendered capture_in_time(const std::shared_ptr<const Dumper>& job,
                                                pid_t pid) {
    // Reading ends by itself at its deadline, unless it stands still.
    constexpr std::chrono::seconds kBeyond{1};
    const auto patience = job->capture_options_.timeout + kBeyond;
    Rendered rendered;
    run_watched(
        1, 1, patience, [job, pid](std::size_t) { return job->capture_one(pid); },
        [&](std::size_t, std::optional<Rendered> done) {
          rendered =
              done ? *std::move(done)
                   : job->render(fail(ErrorKind::Malformed,
                                      fmt::format("process {} could not be read within {} ms: its "
                                                  "memory, or the files that it maps, may be on "
                                                  "something that doesn't answer",
                                                  pid, patience.count())));
        });
    return rendered;
  }

  [[nodiscard]] Rendered render(Result<Snapshot> snapshot) const {
    if (!snapshot) return {{}, exit_status(snapshot.error().kind), snapshot.error()};
    fit_output(*snapshot, options_.json ? OutputForm::Json : OutputForm::Text);
    return {options_.json ? render_json(*snapshot, style_) : render_text(*snapshot, text_),
            exit_status(*snapshot), std::nullopt};
  }

  int print(pid_t pid, const Rendered& rendered) {
    if (rendered.error) return report_(pid, *rendered.error, style_);
    const bool separate = printed_ && !options_.json;
    printed_ = true;
    return write_out(separate ? "\n" + rendered.text : rendered.text)
               ? rendered.status
               : exit_status(ErrorKind::Failed);
  }

  DumpArguments options_;  // a copy, as threads that are left behind outlive the verb
  CaptureOptions capture_options_;
  const ErrorReport& report_;
  TextOptions text_;
  JsonStyle style_ = JsonStyle::Pretty;
  bool printed_ = false;
};

Result<std::vector<pid_t>> python_processes(const ProcessFilter& filter,
                                            std::map<pid_t, Error>& unanswering) {
  const auto processes = list_python_processes(filter);
  if (!processes) return fail(processes.error());
  std::vector<pid_t> pids;
  for (const PythonProcess& process : *processes) {
    pids.push_back(process.pid);
    if (process.refusal && process.refusal->kind == ErrorKind::Failed) {
      unanswering.emplace(process.pid, *process.refusal);
    }
  }
  return pids;
}

Result<Wanted> select(const DumpArguments& options) {
  Wanted wanted{options.pids, true};
  if (wanted.pids.empty()) {
    wanted.named = false;
    auto selected = python_processes(options.filter, wanted.unanswering);
    if (!selected) return fail(std::move(selected).error());
    wanted.pids = *std::move(selected);
    if (wanted.pids.empty()) {
      return fail(ErrorKind::NoSuchProcess,
                  options.all && !selects(options.filter) ? "no Python process is to be seen here"
                                                          : "no Python process fits",
                  "list them all: pyscope ps");
    }
  }
  if (!options.children) return wanted;
  const std::vector<pid_t> trees = find_trees(wanted.pids);
  ProcessFilter filter;
  filter.pids = trees;
  const auto python = python_processes(filter, wanted.unanswering);
  if (!python) return fail(python.error());
  // If none of them is Python, the processes that were named are read, to say why each isn't.
  if (python->empty()) return wanted;
  const std::set<pid_t> readable(python->begin(), python->end());
  wanted.pids.clear();
  std::copy_if(trees.begin(), trees.end(), std::back_inserter(wanted.pids),
               [&](pid_t pid) { return readable.contains(pid); });
  wanted.named = false;
  return wanted;
}

std::size_t jobs_of(const DumpArguments& options) {
  // Threads are held by one process at a time, and steps are printed for one process at a time.
  if (!options.pause.empty() || !options.native.empty() || options.verbose) return 1;
  constexpr std::size_t kMostByDefault = 8;
  return options.jobs.value_or(
      std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostByDefault));
}

CaptureOptions capture_options(const DumpArguments& options) {
  CaptureOptions capture;
  capture.threads = options.threads;
  capture.max_frames = options.frames;
  capture.locals = options.locals;
  capture.tasks = options.tasks;
  capture.values = options.values;
  capture.source = !options.no_source;
  if (!options.pause.empty()) {
    capture.pause = options.pause == "all" ? Pause::All : Pause::Unverified;
  }
  if (!options.native.empty()) {
    capture.native = options.native == "full"  ? Native::Full
                     : options.native == "all" ? Native::All
                                               : Native::Folded;
  }
  // Of processes that nobody named, none keeps the others waiting for long.
  constexpr double kForSelected = 2;
  const bool selected = options.pids.empty() && options.replay.empty();
  capture.timeout =
      milliseconds(selected && !options.timeout_given ? kForSelected : options.timeout);
  if (options.verbose) capture.log = print_step;
  return capture;
}

/// What is wrong with the options together; empty if nothing is.
std::string wrong_together(const DumpArguments& options) {
  if (options.group && options.no_group) return "--group and --no-group exclude each other";
  if (!options.replay.empty()) return options.pids.empty() ? "" : "--replay takes no PID";
  const bool by_selection = options.all || selects(options.filter);
  if (options.pids.empty() && !by_selection) {
    return "dump needs the PID of a process, --match, --user, --unit, --container or --all";
  }
  if (!options.pids.empty() && by_selection) {
    return "PIDs name the processes, and --match, --user, --unit, --container and --all select "
           "them: give one or the other";
  }
  const bool one = options.pids.size() == 1 && !options.children;
  if (!options.record.empty() && !one) return "--record takes one PID";
  if (!options.record.empty() && options.watch) return "--record and --watch exclude each other";
  if (options.watch && !one) return "--watch takes one PID";
  return "";
}

int run(const DumpArguments& options, const ErrorReport& report) {
  if (const std::string wrong = wrong_together(options); !wrong.empty()) {
    return report.usage(wrong);
  }
  CaptureOptions capture = capture_options(options);
  // In the sandbox no file can be made.
  UniqueFd recording;
  if (!options.record.empty()) {
    // A new file, which nobody else may read: nothing is written over, and no link is followed.
    recording =
        UniqueFd{::open(options.record.c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR)};
    if (!recording) {
      return report(options.pids.front(), {ErrorKind::Failed,
                                           fmt::format("the recording {} can't be written: {}",
                                                       options.record, std::strerror(errno)),
                                           ""});
    }
    capture.record_to = recording.get();
  }
  const bool holds = capture.pause != Pause::Never || capture.native != Native::Off;
  enter_sandbox(holds ? Sandbox::HoldingThreads : Sandbox::Reading, capture.log);
  if (!options.replay.empty()) {
    return Dumper(options, std::move(capture), report).dump_recording(options.replay);
  }
  if (options.pids.size() == 1 && !options.children) {
    const pid_t pid = options.pids.front();
    return run_on(pid, capture.timeout, report, [&](std::chrono::milliseconds left) {
      CaptureOptions now = capture;
      now.timeout = left;
      Dumper dumper(options, std::move(now), report);
      return options.watch ? dumper.watch(pid, microseconds(*options.watch)) : dumper.dump_one(pid);
    });
  }
  Dumper dumper(options, std::move(capture), report);
  const auto wanted = select(options);
  if (!wanted) return report(0, wanted.error(), JsonStyle::Compact);
  return dumper.dump(*wanted, jobs_of(options));
}

}  // namespace

Verb add_dump(CLI::App& app, const Invocation& invocation) {
  const auto arguments = std::make_shared<DumpArguments>();
  DumpArguments& options = *arguments;
  CLI::App* dump =
      app.add_subcommand("dump", "Print the Python stack of every thread of a process");
  dump->add_option("PID", options.pids, "The processes to read")
      ->type_name("")
      ->transform(whole_number(std::numeric_limits<pid_t>::max()));
  add_pid_option(*dump);
  add_selection_options(*dump, options.filter);
  dump->add_flag("--all", options.all, "All Python processes of this machine");
  dump->add_flag("--children", options.children,
                 "And the Python processes that descend from the processes");
  dump->add_flag("--json", options.json,
                 "Print JSON: one document, or one a line for several PIDs");
  add_thread_option(*dump, options.threads);
  constexpr std::uint64_t kMostFrames = 1'000'000'000;
  dump->add_option("--frames", options.frames, "Only the innermost N frames of each thread")
      ->type_name("N")
      ->transform(whole_number(kMostFrames));
  dump->add_flag("--no-source", options.no_source, "Leave out the source lines");
  dump->add_flag("--locals", options.locals, "Print the variables of each frame with their values");
  add_value_options(*dump, options.values);
  dump->add_flag("--tasks", options.tasks, "And the tasks of asyncio, as pyscope tasks shows them");
  // A flag takes a value only behind "=", so that a PID may follow it. Without one it is "true".
  dump->add_flag("--pause", options.pause,
                 "Hold threads that could not be verified for about a millisecond, to read\n"
                 "them exactly; --pause=all: all threads, for a picture of one moment")
      ->check(worded(CLI::IsMember({"true", "all"}), "no value, or all"));
  dump->add_flag("--native", options.native,
                 "Show the functions of C, C++ or Rust below the Python lines, too; holds the\n"
                 "threads for a moment; --native=full: with the interpreter's own functions,\n"
                 "--native=all: and threads that run no Python")
      ->check(worded(CLI::IsMember({"true", "full", "all"}), "no value, full or all"));
  add_full_option(*dump, options.full, "All frames of all threads, each thread on its own");
  dump->add_flag("--group", options.group, "Print threads with the same stack once (the default)");
  dump->add_flag("--no-group", options.no_group, "Print each thread on its own");
  dump->add_option("--watch", options.watch,
                   "Print a new dump every so often, with what changed since the last")
      ->type_name("SECONDS")
      ->transform(duration());
  add_timeout_option(*dump, options.timeout,
                     "How long each process may take; 2 for --all, --match …");
  constexpr std::uint64_t kMostJobs = 64;
  dump->add_option("--jobs", options.jobs, "Read so many processes at a time (processors)")
      ->type_name("N")
      ->transform(whole_number(kMostJobs));
  add_color_option(*dump, options.color);
  add_verbose_option(*dump, options.verbose);
  dump->footer(R"(Examples:
  pyscope dump 4711 --thread MainThread --locals   one thread, with its variables
  pyscope dump 4711 --full | less                  all there is
  pyscope dump --unit shop --json                  a service's processes, a document a line
  pyscope dump 4711 --watch 2                      again and again, with what changed)");
  // For reports of failures and for tests; a recording holds parts of the target's memory.
  dump->add_option("--record", options.record)->group("")->check(some_text());
  dump->add_option("--replay", options.replay)->group("")->check(some_text());
  const ErrorReport report(*dump, invocation, kDumpSchema, JsonStyle::Pretty);
  return {dump, report, [arguments, report, dump] {
            arguments->timeout_given = dump->count("--timeout") > 0;
            return run(*arguments, report);
          }};
}

}  // namespace pyscope::cli
