// The verb that changes a process. No other verb can reach what this one uses.
#include "cli/exec.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "cli/arguments.hpp"
#include "cli/sandbox.hpp"
#include "cli/terminal.hpp"
#include "pyscope/execute.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

struct ExecArguments {
  pid_t pid = 0;
  std::string file;
  std::optional<std::string> code;
  std::optional<std::string> expression;
  std::vector<std::string> threads;
  bool all_threads = false;
  double timeout = 10;
  bool json = false;
  bool verbose = false;
};

/// All of a file, or of stdin; no more than a byte beyond what code may have.
Result<std::string> read_source(const std::string& file) {
  const bool standard = file == "-";
  const UniqueFd opened =
      standard ? UniqueFd{} : UniqueFd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
  const int fd = standard ? STDIN_FILENO : opened.get();
  std::string text;
  std::array<char, 16384> piece;
  ssize_t n = fd < 0 ? -1 : 0;
  while (fd >= 0 && text.size() <= SourceCode::kLongest) {
    n = ::read(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
  if (n < 0) {
    return fail(ErrorKind::Usage,
                fmt::format("{}: {}", standard ? "stdin" : file.c_str(), std::strerror(errno)));
  }
  return text;
}

Result<SourceCode> code_of(const ExecArguments& arguments) {
  if (arguments.code) return SourceCode{*arguments.code, "<pyscope -c>", false};
  if (arguments.expression) return SourceCode{*arguments.expression, "<pyscope -e>", true};
  auto source = read_source(arguments.file);
  if (!source) return fail(std::move(source).error());
  return SourceCode{*std::move(source), arguments.file == "-" ? "<stdin>" : arguments.file, false};
}

/// Prints lines to stderr as they are.
void print_lines(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    Message::print("{}\n", std::string(text.substr(0, end)));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
}

void print_text(const Execution& execution, bool several) {
  if (several) {
    Message::print("pyscope: thread {} {}:\n", execution.tid, execution.name.value_or(""));
  }
  std::string out = render_output(execution.out);
  if (execution.repr) out += render_output(*execution.repr) + "\n";
  (void)write_out(out);
  print_lines(execution.err);
  if (execution.exception) print_lines(execution.exception->traceback);
  if (execution.truncated) {
    Message::print("pyscope: the code wrote more than is kept, and the rest is missing\n");
  }
}

int run(const ExecArguments& arguments, const ErrorReport& report) {
  if (arguments.pid == 0) return report.usage("exec needs the PID of a process");
  const int sources =
      (arguments.file.empty() ? 0 : 1) + (arguments.code ? 1 : 0) + (arguments.expression ? 1 : 0);
  if (sources == 0) return report.usage("exec needs a FILE, -c CODE or -e EXPRESSION");
  if (sources > 1) return report.usage("FILE, -c and -e exclude each other");
  if (arguments.all_threads && !arguments.threads.empty()) {
    return report.usage("--thread and --all-threads exclude each other");
  }
  const auto code = code_of(arguments);
  if (!code) return report(arguments.pid, code.error());
  ExecuteOptions options;
  options.threads = arguments.threads;
  options.all_threads = arguments.all_threads;
  options.timeout = milliseconds(arguments.timeout);
  options.tell = print_step;
  if (arguments.verbose) options.log = print_step;
  ::umask(S_IRWXG | S_IRWXO);
  enter_sandbox(Sandbox::Executing, options.log, arguments.pid);
  const InterruptCatcher interrupts;
  options.go_on = [&] { return !interrupts.caught(); };
  const bool several = arguments.all_threads || arguments.threads.size() > 1;
  std::vector<Execution> executions;
  const auto result = execute(arguments.pid, *code, options, [&](const Execution& execution) {
    executions.push_back(execution);
    Execution& last = executions.back();
    if (last.error) last.error = report.in_words(*last.error);
    if (arguments.json) {
      (void)write_out(render_json(last, several ? JsonStyle::Compact : JsonStyle::Pretty));
    } else {
      print_text(last, several);
    }
    if (last.error) print_error(*last.error);
    // The texts have been printed.
    last.out.clear();
    last.err.clear();
    return !output_lost() && !interrupts.caught();
  });
  if (!result) return report(arguments.pid, result.error());
  return exit_status(executions);
}

}  // namespace

Verb add_exec(CLI::App& app, const Invocation& invocation) {
  const auto arguments = std::make_shared<ExecArguments>();
  CLI::App* exec = app.add_subcommand(
      "exec", "Run code in a process, at a safe point of one of its threads; changes the process");
  add_pid_argument(*exec, arguments->pid, "The process that runs the code: CPython 3.14 or newer");
  exec->add_option("FILE", arguments->file, "Python source, or - for stdin")->type_name("");
  exec->add_option("-c,--code", arguments->code, "Statements in place of a FILE")
      ->type_name("CODE");
  exec->add_option("-e,--expression", arguments->expression,
                   "An expression, whose repr() is printed")
      ->type_name("EXPRESSION");
  add_thread_option(*exec, arguments->threads);
  exec->get_option("--thread")
      ->description("The thread that runs it, by tid or name (the main thread; repeatable)");
  exec->add_flag("--all-threads", arguments->all_threads,
                 "Run it in each thread, one after the other");
  add_timeout_option(*exec, arguments->timeout, "How long to wait for each thread");
  exec->add_flag("--json", arguments->json, "Print JSON");
  add_verbose_option(*exec, arguments->verbose);
  exec->footer(R"(Examples:
  pyscope exec 4711 -c 'import gc; gc.collect()'   statements
  pyscope exec 4711 --all-threads -e 'id(0)'       in each thread
  pyscope exec 4711 fix.py                         a file)");
  const ErrorReport report(*exec, invocation, kExecSchema, JsonStyle::Pretty);
  return {exec, report, [arguments, report] { return run(*arguments, report); }};
}

}  // namespace pyscope::cli
