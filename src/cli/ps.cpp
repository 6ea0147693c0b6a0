#include "cli/ps.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/shortage.hpp"
#include "base/watched.hpp"
#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/selection.hpp"
#include "cli/terminal.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/processes.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

struct PsArguments {
  ProcessFilter filter;
  ValueLimits values;  // what counts as a secret
  bool full = false;
  bool json = false;
  bool verbose = false;
  std::string color = "auto";
};

/// Finds out how many threads of each process run Python, and what the main thread does. What can't
/// be read soon stays unknown.
void look_into(std::vector<PythonProcess>& processes) {
  constexpr std::chrono::milliseconds kPatience{500};
  constexpr std::size_t kMostJobs = 8;
  CaptureOptions options;
  options.source = false;
  options.timeout = kPatience;
  std::vector<pid_t> pids;  // 0: not to be looked into
  for (const PythonProcess& process : processes)
    pids.push_back(process.refusal ? 0 : process.pid);
  // A process whose memory never answers is left behind, together with a thread of pyscope.
  const auto read = [pids, options](std::size_t i) -> std::optional<Snapshot> {
    if (pids[i] == 0) return std::nullopt;
    auto snapshot = capture(pids[i], options);
    if (!snapshot) return std::nullopt;
    return *std::move(snapshot);
  };
  const auto tell = [&](std::size_t i, std::optional<std::optional<Snapshot>> read_in_time) {
    const auto snapshot = read_in_time ? *std::move(read_in_time) : std::nullopt;
    if (!snapshot || !snapshot->capture.complete) return;
    processes[i].python_threads = static_cast<std::size_t>(
        std::count_if(snapshot->threads.begin(), snapshot->threads.end(),
                      [](const Thread& thread) { return thread.tid != 0 && !thread.runs_in; }));
    processes[i].activity = summarize_main_thread(*snapshot);
  };
  const std::size_t jobs =
      std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostJobs);
  run_watched(pids.size(), jobs, 2 * kPatience, read, tell);
}

int run(const PsArguments& arguments, const ErrorReport& report) {
  ProcessFilter filter = arguments.filter;
  filter.show_secrets = arguments.values.show_secrets;
  filter.secret_names = arguments.values.secret_names;
  if (arguments.verbose) filter.log = print_step;
  enter_sandbox(Sandbox::Reading, filter.log);
  auto processes = list_python_processes(filter);
  if (!processes) return report(0, processes.error());
  for (PythonProcess& process : *processes) {
    if (process.refusal) process.refusal = report.in_words(*std::move(process.refusal));
  }
  const ShortageWatch shortages;
  look_into(*processes);
  if (const auto seen = shortages.judge(Result<void>()); !seen) return report(0, seen.error());
  std::string out;
  if (arguments.json) {
    for (const PythonProcess& process : *processes)
      out += render_json(process);
  } else {
    const std::size_t columns = arguments.full ? 0 : terminal_columns(STDOUT_FILENO);
    out = render_text(
        *processes,
        {.color = wants_color(arguments.color), .columns = columns, .full = arguments.full});
  }
  if (processes->empty()) {
    Message::print("pyscope: no Python process {}\n",
                   selects(filter) ? "fits" : "is to be seen here");
  }
  return write_out(out) ? 0 : exit_status(ErrorKind::Failed);
}

}  // namespace

Verb add_ps(CLI::App& app, const Invocation& invocation) {
  const auto arguments = std::make_shared<PsArguments>();
  CLI::App* ps = app.add_subcommand("ps", "List the Python processes, and which can be read");
  ps->add_flag("--json", arguments->json, "Print JSON: an object a line for each process");
  add_full_option(*ps, arguments->full, "Whole command lines, not cut at the terminal's edge");
  add_selection_options(*ps, arguments->filter);
  add_secret_options(*ps, arguments->values);
  add_color_option(*ps, arguments->color);
  add_verbose_option(*ps, arguments->verbose);
  ps->footer(R"text(Examples:
  pyscope ps --unit shop     the processes of a service
  pyscope ps --full          with command lines that are not cut
  pyscope ps --json | jq -r 'select(.readable | not) | "\(.pid) \(.reason)"')text");
  const ErrorReport report(*ps, invocation, kPsSchema, JsonStyle::Compact);
  return {ps, report, [arguments, report] { return run(*arguments, report); }};
}

}  // namespace pyscope::cli
