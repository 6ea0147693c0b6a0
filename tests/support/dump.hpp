// Runs the pyscope under test and reads what it prints.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/child.hpp"

namespace pyscope::test {

/// How to run pyscope.
struct PyscopeOptions {
  std::vector<std::string> environment;  // NAME=VALUE, besides the usual
  std::function<void()> before_exec;     // in the child
};

/// The path of the pyscope under test: PYSCOPE_TEST_BINARY in the environment, else the one of this
/// build.
[[nodiscard]] std::string pyscope_binary();
/// Whether that one was built with sanitizers (PYSCOPE_TEST_SANITIZED in the environment, or this
/// build's): it makes system calls of its own then, and has no sandbox.
[[nodiscard]] bool pyscope_is_sanitized();

/// The command line of pyscope, ready to be started.
[[nodiscard]] Program pyscope_program(const std::vector<std::string>& arguments,
                                      const PyscopeOptions& options = {});

/// Runs pyscope to its end. JSON that it prints is kept for the check against the schema.
[[nodiscard]] Outcome run_pyscope(const std::vector<std::string>& arguments,
                                  const PyscopeOptions& options = {});

/// What `pyscope dump PID --json` printed.
struct Dump {
  int status = -1;
  nlohmann::json json;
  std::string err;
};

/// Throws if the output is no JSON document, with what it is.
[[nodiscard]] Dump dump(pid_t pid, const std::vector<std::string>& arguments = {},
                        const PyscopeOptions& options = {});

/// Parses JSON Lines.
[[nodiscard]] std::vector<nlohmann::json> parse_lines(const std::string& text);

/// The thread of a dump with this tid or name. Throws if there is none, or more than one.
[[nodiscard]] const nlohmann::json& thread_of(const nlohmann::json& dump, pid_t tid);
[[nodiscard]] const nlohmann::json& thread_of(const nlohmann::json& dump, const std::string& name);

/// A thread's frames of Python code, innermost first: native ones and the marks of entries
/// from C are left out.
[[nodiscard]] std::vector<nlohmann::json> python_frames(const nlohmann::json& thread);

}  // namespace pyscope::test
