// A program that is started for a test, talks to it by pipes, and never outlives it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"

namespace pyscope::test {

/// How long anything may take that a test waits for. Far more than it ever needs: a test that gets
/// here has failed.
constexpr std::chrono::seconds kPatience{40};

struct Program {
  std::vector<std::string> command;  // the first word is the path of the executable, inside `root`
  std::vector<std::string> environment =
      {};  // NAME=VALUE; the test's own environment is not inherited
  std::string root = "/";
  std::string directory = "/";  // inside `root`
  std::string error_file = {};  // where its stderr goes, outside of `root`; empty: into a pipe
  std::function<void()> before_exec =
      nullptr;  // called in the child, the last thing before it is replaced
};

/// How a program ended.
struct Outcome {
  int status = -1;  // the exit status, or 128 + the number of the signal that killed it
  std::string out;
  std::string err;
};

class Child {
 public:
  /// Throws std::runtime_error if the program can't be started.
  explicit Child(const Program& program);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }

  void send(std::string_view bytes);
  void close_stdin() { in_ = UniqueFd{}; }
  /// Closes the end that its stdout is read from.
  void close_stdout() { out_ = UniqueFd{}; }
  /// The next line of its stdout without the line end. Throws when it ends or kPatience is over.
  [[nodiscard]] std::string read_line();
  /// Reads all that is left of stdout and stderr, and waits for its end.
  [[nodiscard]] Outcome finish();
  /// Kills and reaps it.
  void kill();
  /// Kills it and leaves a zombie, until it is reaped by the destructor.
  void kill_unreaped();

 private:
  [[nodiscard]] bool read_some(bool also_err, std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = 0;  // 0 once it has been reaped
  UniqueFd in_;
  UniqueFd out_;
  UniqueFd err_;
  std::string out_text_;
  std::string err_text_;
};

/// Starts the program and waits for its end.
[[nodiscard]] Outcome run(const Program& program);

/// Asks again and again, until the answer is yes or kPatience is over. True for a yes.
[[nodiscard]] bool eventually(const std::function<bool()>& condition);

/// An error with what errno says.
[[noreturn]] void throw_errno(const std::string& what);

}  // namespace pyscope::test
