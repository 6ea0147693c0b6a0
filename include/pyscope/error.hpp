// Errors as values. Reading another process fails as a matter of course, so a failure is part of
// the signature: callers branch on the kind, people read the message and the hint.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace pyscope {

enum class ErrorKind {
  Failed,         // a bug of ours or an I/O error that is nobody's fault
  Usage,          // the caller asked for something that makes no sense
  NoSuchProcess,  // there is no such process, or it ended before or while it was read
  NotPermitted,   // a rule of the kernel refused
  Unsupported,    // not CPython 3.11 to 3.15, or not Python at all
  Fault,          // the target's memory at an address is not readable
  Malformed,      // the target's memory was read and makes no sense
};

struct CommandHint;

struct Error {
  ErrorKind kind = ErrorKind::Failed;
  std::string message;  // one sentence: what was tried and what was found, outermost step first
  std::string hint;     // what to do next; empty if there is nothing to do
  /// What to do next, where the words for it depend on how this program was started. If this is
  /// set, `hint` is empty: render_hint() (pyscope/render.hpp) gives the text of either.
  std::shared_ptr<const CommandHint> command_hint = nullptr;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorKind kind, std::string message,
                                                std::string hint = {}) {
  return tl::unexpected<Error>(Error{kind, std::move(message), std::move(hint)});
}

[[nodiscard]] Error with_command_hint(ErrorKind kind, std::string message, CommandHint hint);
[[nodiscard]] tl::unexpected<Error> fail(ErrorKind kind, std::string message, CommandHint hint);

/// Hands an error on, unchanged.
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

/// Hands an error on with the step that failed put in front; the kind and the hint stay.
[[nodiscard]] inline tl::unexpected<Error> fail(std::string_view step, Error cause) {
  cause.message = std::string(step) + ": " + cause.message;
  return tl::unexpected<Error>(std::move(cause));
}

/// The name of a kind as it stands in JSON (`"code"`): failed, usage, no_such_process,
/// not_permitted, unsupported, or partial (for Fault and Malformed, which cost a part of a dump and
/// never the whole).
[[nodiscard]] std::string_view error_code(ErrorKind kind);

/// The exit status that a process-wide error of this kind ends in.
[[nodiscard]] int exit_status(ErrorKind kind);

}  // namespace pyscope
