#include "cli/tasks.hpp"

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/fit_output.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

struct TasksArguments {
  pid_t pid = 0;
  std::vector<std::string> tasks;
  double timeout = 30;
  bool flat = false;
  bool full = false;
  bool no_source = false;
  bool locals = false;
  ValueLimits values;
  bool pause = false;
  bool json = false;
  bool verbose = false;
  std::string color = "auto";
};

int read_tasks(const TasksArguments& arguments, const CaptureOptions& options,
               const ErrorReport& report) {
  auto snapshot = capture(arguments.pid, options);
  if (!snapshot) return report(arguments.pid, snapshot.error());
  // Of tasks there may be tens of thousands, and all of them are wanted.
  // Bound (bytes): output of `tasks`
  constexpr std::uint64_t kMostOfTasks = std::uint64_t{96} << 20U;
  fit_output(*snapshot, arguments.json ? OutputForm::Json : OutputForm::Text, kMostOfTasks);
  const TasksTextOptions text{.color = wants_color(arguments.color),
                              .columns = terminal_columns(STDOUT_FILENO),
                              .flat = arguments.flat,
                              .full = arguments.full,
                              .tasks = arguments.tasks};
  if (arguments.json) {
    render_tasks_json(*snapshot, JsonStyle::Pretty, arguments.tasks,
                      [](std::string_view piece) { (void)write_out(piece); });
  } else {
    (void)write_out(render_tasks(*snapshot, text));
  }
  return output_lost() ? exit_status(ErrorKind::Failed) : exit_status(*snapshot);
}

int run_tasks(const TasksArguments& arguments, const ErrorReport& report) {
  if (arguments.pid == 0) return report.usage("tasks needs the PID of a process");
  CaptureOptions options;
  options.tasks = true;
  options.source = !arguments.no_source && !arguments.flat;
  options.locals = arguments.locals;
  options.values = arguments.values;
  options.timeout = milliseconds(arguments.timeout);
  if (arguments.pause) options.pause = Pause::All;
  if (arguments.verbose) options.log = print_step;
  enter_sandbox(arguments.pause ? Sandbox::HoldingThreads : Sandbox::Reading, options.log);
  return run_on(arguments.pid, options.timeout, report, [&](std::chrono::milliseconds left) {
    options.timeout = left;
    return read_tasks(arguments, options, report);
  });
}

}  // namespace

Verb add_tasks(CLI::App& app, const Invocation& invocation) {
  const auto arguments = std::make_shared<TasksArguments>();
  CLI::App* tasks = app.add_subcommand(
      "tasks", "Print the asyncio tasks of a process, and what each one waits for");
  add_pid_argument(*tasks, arguments->pid, "The process to look at");
  tasks->add_option("--task", arguments->tasks, "Only this task: a name or an id (repeatable)")
      ->type_name("NAME|ID")
      ->check(some_text());
  tasks->add_flag("--flat", arguments->flat, "Print a line for each task, in place of a tree");
  add_full_option(*tasks, arguments->full, "Each task on its own, with all source lines");
  tasks->add_flag("--no-source", arguments->no_source, "Leave out the source lines");
  tasks->add_flag("--locals", arguments->locals,
                  "Print the variables of each frame with their values");
  add_value_options(*tasks, arguments->values);
  tasks->add_flag("--pause", arguments->pause,
                  "Hold all threads for some milliseconds, for a picture of one moment");
  tasks->add_flag("--json", arguments->json, "Print JSON");
  add_timeout_option(*tasks, arguments->timeout, "How long it may take at the most");
  add_color_option(*tasks, arguments->color);
  add_verbose_option(*tasks, arguments->verbose);
  tasks->footer(R"(Examples:
  pyscope tasks 4711 --flat            a line for each task
  pyscope tasks 4711 --task mailer     one task, with all of its frames
  pyscope tasks 4711 --json | jq -r '.findings[].text')");
  const ErrorReport report(*tasks, invocation, kTasksSchema, JsonStyle::Pretty);
  return {tasks, report, [arguments, report] { return run_tasks(*arguments, report); }};
}

}  // namespace pyscope::cli
