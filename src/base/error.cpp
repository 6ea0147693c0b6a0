#include "pyscope/error.hpp"

#include "pyscope/snapshot.hpp"

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

int exit_status(const Snapshot& snapshot) {
  if (!snapshot.capture.complete) return exit_status(ErrorKind::Malformed);
  for (const Thread& thread : snapshot.threads) {
    if (!thread.consistent || !thread.error.empty() || !thread.native_error.empty()) {
      return exit_status(ErrorKind::Malformed);
    }
    for (const Frame& frame : thread.frames) {
      if (!frame.error.empty()) return exit_status(ErrorKind::Malformed);
    }
  }
  for (const Locals& locals : snapshot.locals) {
    if (!locals.consistent || !locals.complete || !locals.error.empty()) {
      return exit_status(ErrorKind::Malformed);
    }
  }
  return 0;
}

}  // namespace pyscope
