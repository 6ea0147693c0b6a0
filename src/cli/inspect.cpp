#include "cli/inspect.hpp"

#include <fmt/chrono.h>
#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/inspect.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

/// More of a value is shown than in a dump, since the user asked for this very value.
ValueLimits default_limits() {
  ValueLimits limits;
  limits.max_string = 10'000;
  limits.max_items = 200;
  limits.max_depth = 6;
  return limits;
}

constexpr std::size_t kColumnsOfFile = 100;          // of lines in a file or a pipe
constexpr std::size_t kMostOfValue = 1'000'000'000;  // characters, or items, with --full

struct InspectArguments {
  pid_t pid = 0;
  std::vector<std::string> paths;
  std::string thread;
  std::string frame;
  std::optional<double> watch;
  double timeout = 30;
  ValueLimits values = default_limits();
  bool list = false;
  bool one_line = false;
  bool full = false;
  bool pause = false;
  bool json = false;
  bool verbose = false;
  std::string color = "auto";
};

class InspectVerb {
 public:
  InspectVerb(const InspectArguments& arguments, const ErrorReport& report)
      : arguments_(arguments), report_(report), color_(wants_color(arguments.color)) {}

  /// Prints what is at the paths once.
  int print(const Inspector& inspector) {
    const auto inspection = inspector.read(arguments_.paths);
    if (!inspection) return report_(arguments_.pid, inspection.error());
    if (inspection->paused_us > 0 && !arguments_.json) {
      Message::print("pyscope: paused for {} us\n", inspection->paused_us);
    }
    const bool several = inspection->values.size() > 1;
    const JsonStyle style = several ? JsonStyle::Compact : JsonStyle::Pretty;
    InspectTextOptions text{.color = color_, .path = several};
    if (!arguments_.one_line) {
      const std::size_t columns = terminal_columns(STDOUT_FILENO);
      text.columns = columns > 0 ? columns : kColumnsOfFile;
    }
    for (const InspectedValue& value : inspection->values) {
      const std::string out =
          arguments_.json ? render_json(arguments_.pid, value, style) : render_text(value, text);
      if (!write_out(out)) return exit_status(ErrorKind::Failed);
      if (value.error) {
        print_error(*value.error);
      } else {
        print_notes(value);
      }
    }
    return exit_status(*inspection);
  }

  /// Prints a line whenever a value changes, until it is interrupted or the process ends.
  int watch(const Inspector& inspector, std::chrono::microseconds interval) {
    const InterruptCatcher interrupts;
    std::vector<std::string> last(arguments_.paths.size());
    while (!interrupts.caught()) {
      const auto inspection = inspector.read(arguments_.paths);
      if (interrupts.caught()) break;  // Ctrl-C may have ended the holder of --pause
      if (!inspection) return report_(arguments_.pid, inspection.error());
      for (std::size_t i = 0; i < inspection->values.size(); ++i) {
        const InspectedValue& value = inspection->values[i];
        const bool several = inspection->values.size() > 1;
        // A value that was changing when it was read doesn't count as another value.
        std::string seen = value.error ? "error: " + value.error->message : value.repr;
        if (seen == last[i]) continue;
        last[i] = std::move(seen);
        if (value.error) print_error(*value.error);
        if (value.error && !arguments_.json) continue;
        const std::string now = arguments_.json
                                    ? render_json(arguments_.pid, value, JsonStyle::Compact)
                                    : time_of_day(inspection->captured_at) + "  " +
                                          render_text(value, {.color = color_, .path = several});
        if (!write_out(now)) return exit_status(ErrorKind::Failed);
      }
      interrupts.sleep(interval);
    }
    return 0;
  }

 private:
  /// Notes for people, on stderr.
  void print_notes(const InspectedValue& value) const {
    if (arguments_.json) return;
    // __main__ is where names are looked for first, so it isn't mentioned.
    if (!value.origin.empty() && value.origin != "module __main__") {
      Message::print("pyscope: {}: found in {}\n", value.path, value.origin);
    }
    if (!value.consistent) {
      Message::print("pyscope: {} {}; --pause holds the process for a moment\n", value.path,
                     value.half_done    ? "may have been half changed each time that it was read"
                     : value.same_twice ? "was the same twice, but threads were running"
                                        : "changed each time that it was read");
    }
    if (value.truncated && !arguments_.full && !arguments_.list) {
      Message::print(
          "pyscope: {}: what is cut there is printed with --full, or with --max-items, "
          "--max-string and --max-depth\n",
          value.path);
    }
    if (value.unreadable && !value.error) {
      Message::print(
          "pyscope: {}: some of its memory couldn't be read, so what is missing here may "
          "be there\n",
          value.path);
    }
  }

  static std::string time_of_day(std::chrono::system_clock::time_point time) {
    const auto since = time.time_since_epoch();
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(since).count() % 1000;
    return fmt::format("{:%H:%M:%S}.{:03}",
                       fmt::localtime(std::chrono::system_clock::to_time_t(time)), milliseconds);
  }

  const InspectArguments& arguments_;
  const ErrorReport& report_;
  bool color_;
};

int run(const InspectArguments& arguments, const ErrorReport& report) {
  if (arguments.pid == 0) return report.usage("inspect needs the PID of a process");
  if (arguments.paths.empty() && !arguments.list) {
    return report.usage("inspect needs a PATH, or --list for all that there is");
  }
  if (arguments.watch && (arguments.list || arguments.paths.empty())) {
    return report.usage("--watch and --list exclude each other");
  }
  InspectOptions options;
  options.thread = arguments.thread;
  options.frame = arguments.frame;
  options.list = arguments.list;
  options.pause = arguments.pause;
  options.values = arguments.values;
  if (arguments.full) {
    options.values.max_string = kMostOfValue;
    options.values.max_items = kMostOfValue;
    options.values.max_depth = ValueLimits::kDeepest;
  }
  options.timeout = milliseconds(arguments.timeout);
  if (arguments.verbose) options.log = print_step;
  enter_sandbox(arguments.pause ? Sandbox::HoldingThreads : Sandbox::Reading, options.log);
  return run_on(arguments.pid, options.timeout, report, [&](std::chrono::milliseconds left) {
    InspectOptions now = options;
    now.timeout = left;
    InspectVerb verb(arguments, report);
    const auto inspector = Inspector::attach(arguments.pid, now);
    if (!inspector) return report(arguments.pid, inspector.error());
    return arguments.watch ? verb.watch(*inspector, microseconds(*arguments.watch))
                           : verb.print(*inspector);
  });
}

}  // namespace

Verb add_inspect(CLI::App& app, const Invocation& invocation) {
  const auto arguments = std::make_shared<InspectArguments>();
  CLI::App* inspect = app.add_subcommand("inspect", "Print the values of variables of a process");
  add_pid_argument(*inspect, arguments->pid, "The process to read");
  inspect
      ->add_option("PATH", arguments->paths,
                   "module.name.attr['key'][3]; without a module a name of __main__;\n"
                   "THREAD/FRAME:name for a variable of a frame")
      ->type_name("");
  inspect->add_flag("--json", arguments->json, "Print JSON: an object for each PATH");
  inspect
      ->add_option("--thread", arguments->thread,
                   "PATHs begin at variables of this thread's frames")
      ->type_name("TID|NAME")
      ->check(some_text());
  inspect
      ->add_option("--frame", arguments->frame,
                   "in this frame: 0 is the innermost; or the one of this function")
      ->type_name("N|FUNCTION")
      ->check(some_text());
  inspect->add_flag("--list", arguments->list,
                    "Print what is there, too: names, attributes, keys, items");
  inspect
      ->add_option("--watch", arguments->watch,
                   "Look every so often, and print the value when it has changed")
      ->type_name("SECONDS")
      ->transform(duration());
  add_timeout_option(*inspect, arguments->timeout, "How long each reading may take at the most");
  inspect->add_flag("--pause", arguments->pause,
                    "Hold the process while it is read, for about a millisecond");
  inspect->add_flag("--one-line", arguments->one_line,
                    "Print each value on one line, as repr() does");
  add_full_option(*inspect, arguments->full, "All of each value, whatever its size");
  add_value_options(*inspect, arguments->values);
  add_color_option(*inspect, arguments->color);
  add_verbose_option(*inspect, arguments->verbose);
  inspect->footer(R"(Examples:
  pyscope inspect 4711 --list shop.orders              what is there
  pyscope inspect 4711 "worker-1/fetch:row['total']"   a variable of a frame
  pyscope inspect 4711 --watch 1 shop.counter          a line whenever it changes)");
  const ErrorReport report(*inspect, invocation, kInspectSchema, JsonStyle::Pretty);
  return {inspect, report, [arguments, report] { return run(*arguments, report); }};
}

}  // namespace pyscope::cli
