#include "pyscope/error.hpp"

#include "pyscope/command_hint.hpp"

namespace pyscope {

Error with_command_hint(ErrorKind kind, std::string message, CommandHint hint) {
  return {kind, std::move(message), {}, std::make_shared<const CommandHint>(std::move(hint))};
}

tl::unexpected<Error> fail(ErrorKind kind, std::string message, CommandHint hint) {
  return fail(with_command_hint(kind, std::move(message), std::move(hint)));
}

std::string_view error_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Failed:
      return "failed";
    case ErrorKind::Usage:
      return "usage";
    case ErrorKind::NoSuchProcess:
      return "no_such_process";
    case ErrorKind::NotPermitted:
      return "not_permitted";
    case ErrorKind::Unsupported:
      return "unsupported";
    case ErrorKind::Fault:
    case ErrorKind::Malformed:
      return "partial";
  }
  return "failed";
}

int exit_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Failed:
      return 1;
    case ErrorKind::Usage:
      return 2;
    case ErrorKind::NoSuchProcess:
      return 3;
    case ErrorKind::NotPermitted:
      return 4;
    case ErrorKind::Unsupported:
      return 5;
    case ErrorKind::Fault:
    case ErrorKind::Malformed:
      return 6;
  }
  return 1;
}

}  // namespace pyscope
