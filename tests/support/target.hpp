// A Python program to dump: one of tests/live/programs on a real interpreter, in the interpreter's
// root.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/child.hpp"
#include "support/interpreters.hpp"

namespace pyscope::test {

/// A folder of its own below the root's /tmp with a copy of all programs. Removed on destruction.
class Workspace {
 public:
  explicit Workspace(const Interpreter& interpreter);
  Workspace(Workspace&& other) noexcept;
  Workspace& operator=(Workspace&&) = delete;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace();

  [[nodiscard]] const Interpreter& interpreter() const { return interpreter_; }
  /// The path of a file in it as the target sees it, and as the test does.
  [[nodiscard]] std::string inside(std::string_view name = {}) const;
  [[nodiscard]] std::string outside(std::string_view name = {}) const;
  /// Returns the path as the target sees it.
  std::string write(std::string_view name, std::string_view content) const;
  /// Copies the interpreter's executable. Returns the path as the target sees it.
  std::string copy_executable(std::string_view name) const;

 private:
  Interpreter interpreter_;
  std::string folder_;  // inside the root; empty once moved from
};

struct TargetOptions {
  std::vector<std::string> flags = {};     // of the interpreter
  std::vector<std::string> launcher = {};  // put in front of the interpreter, such as ld.so
  std::string executable = {};  // another one than the interpreter's own, inside the root
  std::vector<std::string> environment = {};    // NAME=VALUE, besides the usual
  std::string directory = {};                   // inside the root; empty: the workspace
  std::function<void()> before_exec = nullptr;  // in the child
};

class Target {
 public:
  /// Starts `program` (a file of the workspace, or a path) with the arguments.
  Target(const Interpreter& interpreter, const std::string& program,
         const std::vector<std::string>& arguments = {}, const TargetOptions& options = {});
  Target(Workspace workspace, const std::string& program,
         const std::vector<std::string>& arguments = {}, const TargetOptions& options = {});

  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  [[nodiscard]] const Workspace& workspace() const { return workspace_; }
  [[nodiscard]] const Interpreter& interpreter() const { return workspace_.interpreter(); }
  [[nodiscard]] Child& child() { return child_; }

  /// The next line that it prints. Throws with what the target wrote to stderr if there is none.
  [[nodiscard]] nlohmann::json read();
  /// Sends one byte and reads the answer.
  [[nodiscard]] nlohmann::json ask();
  [[nodiscard]] std::string error_output() const;

 private:
  Workspace workspace_;
  Child child_;
};

/// The states of all tasks of a process: their letters in /proc/PID/task/TID/stat, who traces them,
/// and how often each was switched away from.
struct TaskActivity {
  pid_t tid = 0;
  char state = '?';
  pid_t tracer = 0;
  std::string switches;
  friend bool operator==(const TaskActivity&, const TaskActivity&) = default;
};
[[nodiscard]] std::vector<TaskActivity> task_activity(pid_t pid);

/// Waits until every task of the process has gone to sleep and none has run in between two looks.
/// True if that came.
[[nodiscard]] bool all_sleep(pid_t pid);

/// The threads of a process that stand still for a tracer or a signal, or have a tracer.
[[nodiscard]] std::vector<pid_t> standing_threads(pid_t pid);

/// Waits until no thread of the process stands still, and nobody traces it. True if that came.
[[nodiscard]] bool goes_on(pid_t pid);

[[nodiscard]] std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view content);

}  // namespace pyscope::test
