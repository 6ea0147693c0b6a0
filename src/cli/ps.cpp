#include "cli/ps.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/processes.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

int report(const PsArguments& arguments, const Error& error) {
  print_error(error);
  if (arguments.json && !write_out(render_json(0, error, JsonStyle::Compact, kPsSchema))) {
    return exit_status(ErrorKind::Failed);
  }
  return exit_status(error.kind);
}

}  // namespace

CLI::App* add_ps(CLI::App& app, PsArguments& arguments) {
  CLI::App* ps = app.add_subcommand("ps", "List the Python processes, and which can be read");
  ps->add_flag("--json", arguments.json, "Print JSON: an object a line for each process");
  add_selection_options(*ps, arguments.selection);
  add_secret_options(*ps, arguments.values);
  ps->add_option("--color", arguments.color, "auto (default), always or never")->type_name("WHEN");
  ps->add_flag("-v,--verbose", arguments.verbose, "Tell on stderr what is tried");
  return ps;
}

int report_usage(const PsArguments& arguments, const std::string& message) {
  return report(arguments, {ErrorKind::Usage, message, "see: pyscope ps --help"});
}

int run_ps(const PsArguments& arguments) {
  if (arguments.color != "auto" && arguments.color != "always" && arguments.color != "never") {
    return report_usage(
        arguments, fmt::format("--color takes auto, always or never, not '{}'", arguments.color));
  }
  ProcessFilter filter = to_filter(arguments.selection, arguments.values);
  if (arguments.verbose) {
    filter.log = print_step;
  }
  enter_sandbox(Sandbox::Reading, filter.log);
  const auto processes = list_python_processes(filter);
  if (!processes) return report(arguments, processes.error());
  std::string out;
  if (arguments.json) {
    for (const PythonProcess& process : *processes)
      out += render_json(process);
  } else {
    out = render_text(*processes, {wants_color(arguments.color), terminal_columns(STDOUT_FILENO)});
  }
  if (processes->empty()) {
    print_message(fmt::format("pyscope: no Python process {}\n",
                              arguments.selection.empty() ? "is to be seen here" : "fits"));
  }
  return write_out(out) ? 0 : exit_status(ErrorKind::Failed);
}

}  // namespace pyscope::cli
