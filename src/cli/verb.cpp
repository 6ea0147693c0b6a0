#include "cli/verb.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <utility>

#include "base/kernel_call.hpp"
#include "cli/terminal.hpp"

namespace pyscope::cli {

Error ErrorReport::in_words(Error error) const {
  error.hint = render_hint(error, invocation_);
  error.command_hint = nullptr;
  return error;
}

int ErrorReport::operator()(pid_t pid, const Error& cause, JsonStyle style) const {
  const Error error = in_words(cause);
  print_error(error);
  // CLI11 is asked, not the variable behind --json: after an option that is wrong, the variable
  // isn't set.
  const bool json = verb_.get_option("--json")->count() > 0;
  if (json && !write_out(render_json(pid, error, style, schema_))) {
    return exit_status(ErrorKind::Failed);
  }
  return exit_status(error.kind);
}

int ErrorReport::usage(const std::string& message) const {
  return (*this)(
      0, {ErrorKind::Usage, message, fmt::format("see: pyscope {} --help", verb_.get_name())});
}

int run_on(pid_t pid, std::chrono::milliseconds timeout, const ErrorReport& report,
           std::function<int(std::chrono::milliseconds left)> work) {
  const auto guarded = [work = std::move(work)](std::chrono::milliseconds left) {
    try {
      return work(left);
    } catch (const std::exception& error) {
      Message::print("pyscope: unexpected failure: {}\n", error.what());
      return exit_status(ErrorKind::Failed);
    }
  };
  const auto give_up = [pid, &report] {
    return report(pid, {ErrorKind::Malformed,
                        fmt::format("{} can't be read: the kernel gets no answer about {}",
                                    pid == 0 ? std::string("one of the processes")
                                             : fmt::format("process {}", pid),
                                    fmt::join(KernelCall::unanswered(), ", ")),
                        ""});
  };
  const auto end = [](int status) {
    std::_Exit(output_lost() ? exit_status(ErrorKind::Failed) : status);
  };
  return run_answered(timeout, guarded, give_up, end);
}

}  // namespace pyscope::cli
