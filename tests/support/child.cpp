#include "support/child.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

namespace pyscope::test {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe2");
  return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Another root for a user without rights is possible in a user namespace only. Programs do it.
std::vector<std::string> command_line(const Program& program) {
  if (program.root == "/" || ::geteuid() == 0) return program.command;
  std::vector<std::string> command{"/usr/bin/unshare", "--map-root-user"};
  command.push_back("--root=" + program.root);
  command.push_back("--wd=" + program.directory);
  command.insert(command.end(), program.command.begin(), program.command.end());
  return command;
}

// What the child can't do is told through the pipe that exec closes.
[[noreturn]] void fail_in_child(int report_to, const char* step) {
  const std::string text = fmt::format("{}: {}", step, std::strerror(errno));
  [[maybe_unused]] const ssize_t n = ::write(report_to, text.data(), text.size());
  ::_exit(127);
}

void check(int result, int report_to, const char* step) {
  if (result < 0) fail_in_child(report_to, step);
}

void become(const Program& program, std::vector<std::string> command, pid_t parent, int report_to) {
  // Undo what the test framework did to this process.
  for (int signal = 1; signal < NSIG; ++signal) {
    ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  check(::prctl(PR_SET_PDEATHSIG, SIGKILL), report_to, "PR_SET_PDEATHSIG");
  if (::getppid() != parent) ::_exit(127);  // it died before that was set
  if (program.root != "/" && ::geteuid() == 0) {
    check(::chroot(program.root.c_str()), report_to, "chroot");
  }
  const bool by_unshare = program.root != "/" && ::geteuid() != 0;
  if (!by_unshare) check(::chdir(program.directory.c_str()), report_to, "chdir");
  std::vector<std::string> environment = program.environment;
  const auto arguments = pointers_to(command);
  const auto variables = pointers_to(environment);
  if (program.before_exec) program.before_exec();
  ::execve(arguments.front(), arguments.data(), variables.data());
  fail_in_child(report_to, "execve");
}

int to_exit_status(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

}  // namespace

void throw_errno(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

Child::Child(const Program& program) {
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  Pipe failure = make_pipe();
  if (!program.error_file.empty()) {
    constexpr mode_t kMode = 0644;
    err.write_end = UniqueFd{
        ::open(program.error_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kMode)};
    err.read_end = UniqueFd{};
    if (!err.write_end) throw_errno(program.error_file);
  }
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) {
    const int report_to = failure.write_end.get();
    check(::dup2(in.read_end.get(), STDIN_FILENO), report_to, "dup2");
    check(::dup2(out.write_end.get(), STDOUT_FILENO), report_to, "dup2");
    check(::dup2(err.write_end.get(), STDERR_FILENO), report_to, "dup2");
    become(program, command_line(program), parent, report_to);
  }
  in_ = std::move(in.write_end);
  out_ = std::move(out.read_end);
  err_ = std::move(err.read_end);
  failure.write_end = UniqueFd{};
  std::array<char, 512> text{};
  const ssize_t n = ::read(failure.read_end.get(), text.data(), text.size());
  if (n > 0) {
    const std::string reason(text.data(), static_cast<std::size_t>(n));
    kill();
    throw std::runtime_error(fmt::format("cannot start {}: {}", program.command.front(), reason));
  }
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)),
      out_text_(std::move(other.out_text_)),
      err_text_(std::move(other.err_text_)) {}

Child::~Child() {
  kill();
}

void Child::kill() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

void Child::kill_unreaped() {
  ::kill(pid_, SIGKILL);
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
}

void Child::send(std::string_view bytes) {
  // A program that has ended is reported by what is read next, not by SIGPIPE.
  const auto previous = std::signal(SIGPIPE, SIG_IGN);
  while (!bytes.empty()) {
    const ssize_t n = ::write(in_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  std::signal(SIGPIPE, previous);
}

// False when both have ended.
bool Child::read_some(bool also_err, Clock::time_point deadline) {
  std::array<pollfd, 2> polls{pollfd{out_.get(), POLLIN, 0},
                              pollfd{also_err ? err_.get() : -1, POLLIN, 0}};
  if (polls[0].fd < 0 && polls[1].fd < 0) return false;
  const int ready = ::poll(polls.data(), polls.size(), milliseconds_until(deadline));
  if (ready < 0 && errno == EINTR) return true;
  if (ready <= 0) throw std::runtime_error(fmt::format("process {} says nothing", pid_));
  std::array<char, 65536> buffer;
  const auto take = [&](const pollfd& poll, UniqueFd& fd, std::string& text) {
    if (poll.revents == 0) return;
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(n));
    } else {
      fd = UniqueFd{};
    }
  };
  take(polls[0], out_, out_text_);
  take(polls[1], err_, err_text_);
  return true;
}

std::string Child::read_line() {
  const auto deadline = Clock::now() + kPatience;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = out_text_.find('\n', searched);
    if (end != std::string::npos) {
      std::string line = out_text_.substr(0, end);
      out_text_.erase(0, end + 1);
      return line;
    }
    searched = out_text_.size();
    if (!out_ || !read_some(false, deadline)) {
      throw std::runtime_error(fmt::format("process {} ended its output", pid_));
    }
  }
}

Outcome Child::finish() {
  const auto deadline = Clock::now() + kPatience;
  while (read_some(true, deadline)) {
  }
  int status = 0;
  while (::waitpid(pid_, &status, __WALL) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return {to_exit_status(status), std::move(out_text_), std::move(err_text_)};
}

Outcome run(const Program& program) {
  Child child(program);
  child.close_stdin();
  return child.finish();
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = Clock::now() + kPatience;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace pyscope::test
