#include "cli/why.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <string>

#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/render.hpp"
#include "pyscope/why.hpp"

namespace pyscope::cli {
namespace {

int report(pid_t pid, const Error& error, bool json) {
  print_error(error);
  if (json && !write_out(render_json(pid, error, JsonStyle::Pretty, kWhySchema))) {
    return exit_status(ErrorKind::Failed);
  }
  return exit_status(error.kind);
}

/// A line on the terminal that is written over, and gone at the end.
class Progress {
 public:
  Progress(double duration, bool wanted)
      : duration_(duration), shown_(wanted && ::isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) print_message("\r\x1b[K");
  }
  void show(std::size_t samples) const {
    const double passed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    if (!shown_ || passed < kPatience) return;
    std::string line = fmt::format("pyscope: {} samples, {:.1f} of {:.1f} s; Ctrl-C ends it",
                                   samples, passed, duration_);
    // What goes over the edge would stay there. The last column is left free: some terminals wrap
    // when it is written.
    const std::size_t columns = terminal_columns(STDERR_FILENO);
    if (columns > 0) line.resize(std::min(line.size(), columns - 1));
    print_message("\r\x1b[K" + line);
  }

 private:
  static constexpr double kPatience = 0.3;
  double duration_;
  bool shown_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

CLI::App* add_why(CLI::App& app, WhyArguments& arguments) {
  CLI::App* why =
      app.add_subcommand("why", "Say what each thread of a process is doing, and why it is stuck");
  why->add_option("PID", arguments.pid, "The process to look at")->type_name("");
  why->add_option("--thread", arguments.threads, "Only this thread, by tid or name (repeatable)")
      ->type_name("TID|NAME")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  why->add_option("--duration", arguments.duration, "For how long to look: 1s (default), 500ms, 2m")
      ->type_name("TIME");
  why->add_option("--rate", arguments.rate, "Samples a second (100)")->type_name("N");
  why->add_flag("--native", arguments.native,
                "Name the functions of C, C++ or Rust that threads are in; holds those threads\n"
                "for a moment, ten times");
  why->add_flag("--json", arguments.json, "Print JSON");
  add_value_options(*why, arguments.values, ValueLimits{});
  why->add_option("--color", arguments.color, "auto (default), always or never")->type_name("WHEN");
  why->add_flag("-v,--verbose", arguments.verbose, "Tell on stderr what is tried");
  return why;
}

int report_usage(const WhyArguments& arguments, const std::string& message) {
  return report(0, {ErrorKind::Usage, message, "see: pyscope why --help"}, arguments.json);
}

int run_why(const WhyArguments& arguments) {
  if (arguments.pid.empty()) return report_usage(arguments, "why needs the PID of a process");
  const auto pid = parse_positive<pid_t>(arguments.pid);
  if (!pid) return report_usage(arguments, fmt::format("'{}' is not a PID", arguments.pid));
  if (arguments.color != "auto" && arguments.color != "always" && arguments.color != "never") {
    return report_usage(
        arguments, fmt::format("--color takes auto, always or never, not '{}'", arguments.color));
  }
  WhyOptions options;
  options.threads = arguments.threads;
  if (!arguments.duration.empty()) {
    const auto duration = parse_duration(arguments.duration);
    if (!duration) {
      return report_usage(
          arguments, fmt::format("--duration takes a time from 1ms to a day, such as 500ms, 2s or "
                                 "1m, not '{}'",
                                 arguments.duration));
    }
    options.duration = *duration;
  }
  if (!arguments.rate.empty()) {
    constexpr std::size_t kMostRate = 10'000;
    const auto rate = parse_positive<std::size_t>(arguments.rate);
    if (!rate || *rate > kMostRate) {
      return report_usage(arguments, fmt::format("--rate takes a number from 1 to {}, not '{}'",
                                                 kMostRate, arguments.rate));
    }
    options.interval = std::chrono::microseconds(1'000'000 / *rate);
  }
  auto limits = value_limits(arguments.values, ValueLimits{});
  if (!limits) return report_usage(arguments, limits.error().message);
  options.values = *std::move(limits);
  if (arguments.verbose) {
    options.log = print_step;
  }
  options.native = arguments.native;
  enter_sandbox(options.native ? Sandbox::HoldingThreads : Sandbox::Reading, options.log);
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
    diagnosis = diagnose(*pid, options);
  }
  if (!diagnosis) return report(*pid, diagnosis.error(), arguments.json);
  const std::string out = arguments.json ? render_json(*diagnosis)
                                         : render_text(*diagnosis, wants_color(arguments.color));
  return write_out(out) ? 0 : exit_status(ErrorKind::Failed);
}

}  // namespace pyscope::cli
