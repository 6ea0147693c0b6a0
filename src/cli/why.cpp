#include "cli/why.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/render.hpp"
#include "pyscope/why.hpp"

namespace pyscope::cli {
namespace {

struct WhyArguments {
  pid_t pid = 0;
  std::vector<std::string> threads;
  std::optional<double> duration;
  double timeout = 30;
  std::optional<std::size_t> rate;
  ValueLimits values;
  bool native = false;
  bool full = false;
  bool json = false;
  bool verbose = false;
  std::string color = "auto";
};

/// A line on the terminal that shows how far the work is. It is erased at the end.
class Progress {
 public:
  Progress(double duration, bool wanted)
      : duration_(duration), shown_(wanted && ::isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) Message::print("\r\x1b[K");
  }
  void show(std::size_t samples) const {
    const double passed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    if (!shown_ || passed < kPatience) return;
    std::string line = fmt::format("pyscope: {} samples, {:.1f} of {:.1f} s; Ctrl-C ends it",
                                   samples, passed, duration_);
    // A part of the line behind the edge would wrap, and stay there. The last column is left free,
    // since some terminals wrap when it is written.
    const std::size_t columns = terminal_columns(STDERR_FILENO);
    if (columns > 0) line.resize(std::min(line.size(), columns - 1));
    Message::print("\r\x1b[K{}", line);
  }

 private:
  static constexpr double kPatience = 0.3;
  double duration_;
  bool shown_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

int look(const WhyArguments& arguments, WhyOptions options, const ErrorReport& report) {
  Result<Diagnosis> diagnosis = fail(ErrorKind::Failed, "nothing was looked at");
  {
    const Progress progress(std::chrono::duration<double>(options.duration).count(),
                            !arguments.verbose);
    const InterruptCatcher interrupts;
    options.go_on = [&](std::size_t samples) {
      progress.show(samples);
      end_if_unread();
      return !interrupts.caught();
    };
    diagnosis = diagnose(arguments.pid, options);
  }
  if (!diagnosis) return report(arguments.pid, diagnosis.error());
  const std::string out =
      arguments.json ? render_json(*diagnosis)
                     : render_text(*diagnosis,
                                   {.color = wants_color(arguments.color), .full = arguments.full});
  if (!write_out(out)) return exit_status(ErrorKind::Failed);
  return assess(diagnosis->last).complete ? 0 : exit_status(ErrorKind::Malformed);
}

int run(const WhyArguments& arguments, const ErrorReport& report) {
  if (arguments.pid == 0) return report.usage("why needs the PID of a process");
  WhyOptions options;
  options.threads = arguments.threads;
  if (arguments.duration) options.duration = microseconds(*arguments.duration);
  options.timeout = milliseconds(arguments.timeout);
  if (arguments.rate) {
    options.interval = std::chrono::microseconds(std::chrono::seconds(1)) / *arguments.rate;
  }
  options.values = arguments.values;
  if (arguments.verbose) options.log = print_step;
  options.native = arguments.native;
  enter_sandbox(options.native ? Sandbox::HoldingThreads : Sandbox::Reading, options.log);
  return run_on(arguments.pid, options.timeout, report, [&](std::chrono::milliseconds left) {
    WhyOptions now = options;
    now.timeout = left;
    return look(arguments, std::move(now), report);
  });
}

}  // namespace

Verb add_why(CLI::App& app, const Invocation& invocation) {
  const auto arguments = std::make_shared<WhyArguments>();
  CLI::App* why =
      app.add_subcommand("why", "Say what each thread of a process is doing, and why it is stuck");
  add_pid_argument(*why, arguments->pid, "The process to look at");
  add_thread_option(*why, arguments->threads);
  why->add_option("--duration", arguments->duration,
                  "For how long to look: 1s (default), 500ms, 2m")
      ->type_name("TIME")
      ->transform(duration());
  add_timeout_option(*why, arguments->timeout, "How long it may take beyond that at the most");
  constexpr std::uint64_t kMostRate = 10'000;
  why->add_option("--rate", arguments->rate, "Samples a second (100)")
      ->type_name("N")
      ->transform(whole_number(kMostRate));
  why->add_flag("--native", arguments->native,
                "Name the functions of C, C++ or Rust that threads are in; holds those threads\n"
                "for a moment, ten times");
  add_full_option(*why, arguments->full, "Threads at rest with their evidence, too");
  why->add_flag("--json", arguments->json, "Print JSON");
  add_value_options(*why, arguments->values);
  add_color_option(*why, arguments->color);
  add_verbose_option(*why, arguments->verbose);
  why->footer(R"(Examples:
  pyscope why 4711 --thread worker-1 --duration 5s   one thread, for longer
  pyscope why 4711 --native                          which function of which library
  pyscope why 4711 --json | jq -r '.threads[].verdict')");
  const ErrorReport report(*why, invocation, kWhySchema, JsonStyle::Pretty);
  return {why, report, [arguments, report] { return run(*arguments, report); }};
}

}  // namespace pyscope::cli
