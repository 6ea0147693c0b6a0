#include "pyscope/error.hpp"

namespace pyscope {

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
