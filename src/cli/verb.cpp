#include "cli/verb.hpp"

#include <fmt/core.h>

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

}  // namespace pyscope::cli
