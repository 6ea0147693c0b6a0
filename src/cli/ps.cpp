#include "cli/ps.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <memory>

#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/selection.hpp"
#include "cli/terminal.hpp"
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
  std::string out;
  if (arguments.json) {
    for (const PythonProcess& process : *processes)
      out += render_json(process);
  } else {
    out = render_text(*processes, {wants_color(arguments.color),
                                   arguments.full ? 0 : terminal_columns(STDOUT_FILENO)});
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
  add_full_option(*ps, arguments->full, "Command lines are not cut at the terminal's edge");
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
