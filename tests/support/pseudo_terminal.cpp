#include "support/pseudo_terminal.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace pyscope::test {
namespace {

Program on_terminal(Program program, int terminal) {
  program.before_exec = [terminal, also = program.before_exec] {
    const bool done = ::setsid() >= 0 && ::ioctl(terminal, TIOCSCTTY, 0) == 0 &&
                      ::dup2(terminal, STDIN_FILENO) >= 0 && ::dup2(terminal, STDOUT_FILENO) >= 0 &&
                      ::dup2(terminal, STDERR_FILENO) >= 0;
    if (!done) ::_exit(127);
    if (also) also();
  };
  return program;
}

void set_size(int terminal, int columns) {
  winsize size{};
  constexpr unsigned short kLines = 24;
  size.ws_row = kLines;
  size.ws_col = static_cast<unsigned short>(columns);
  if (::ioctl(terminal, TIOCSWINSZ, &size) != 0) throw_errno("TIOCSWINSZ");
}

}  // namespace

PseudoTerminal::PseudoTerminal(int columns) : user(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
  std::array<char, 64> name{};
  if (!user || ::grantpt(user.get()) != 0 || ::unlockpt(user.get()) != 0 ||
      ::ptsname_r(user.get(), name.data(), name.size()) != 0) {
    throw_errno("posix_openpt");
  }
  program = UniqueFd{::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
  if (!program) throw_errno(name.data());
  set_size(user.get(), columns);
}

TerminalProgram::TerminalProgram(const Program& program, int columns)
    : TerminalProgram(program, PseudoTerminal(columns)) {}

TerminalProgram::TerminalProgram(const Program& program, PseudoTerminal terminal)
    : terminal_(std::move(terminal)), child_(on_terminal(program, terminal_.program.get())) {
  terminal_.program = UniqueFd{};  // so that the program's end is an end for the reader
}

void TerminalProgram::type(std::string_view keys) {
  if (::write(terminal_.user.get(), keys.data(), keys.size()) !=
      static_cast<ssize_t>(keys.size())) {
    throw_errno("write to the terminal");
  }
}

// False once no program has the terminal any more.
bool TerminalProgram::read_some() {
  pollfd poll{terminal_.user.get(), POLLIN, 0};
  if (!terminal_.user) return false;
  constexpr int kMilliseconds = 1000 * static_cast<int>(kPatience.count());
  const int ready = ::poll(&poll, 1, kMilliseconds);
  if (ready < 0 && errno == EINTR) return true;
  if (ready <= 0) {
    throw std::runtime_error(fmt::format("process {} shows nothing after: {}", pid(), shown_));
  }
  std::array<char, 4096> buffer;
  const ssize_t n = ::read(terminal_.user.get(), buffer.data(), buffer.size());
  if (n > 0) shown_.append(buffer.data(), static_cast<std::size_t>(n));
  return n > 0;
}

void TerminalProgram::wait_for(std::string_view text) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (std::size_t from = 0; shown_.find(text, from) == std::string::npos;) {
    from = shown_.size() - std::min(shown_.size(), text.size());
    if (std::chrono::steady_clock::now() > deadline || !read_some()) {
      throw std::runtime_error(fmt::format("'{}' was never shown, but: {}", text, shown_));
    }
  }
}

void TerminalProgram::resize(int columns) {
  set_size(terminal_.user.get(), columns);
}

void TerminalProgram::hang_up() {
  terminal_.user = UniqueFd{};
}

Outcome TerminalProgram::finish() {
  while (read_some()) {
  }
  Outcome outcome = child_.finish();
  outcome.out = shown_;
  return outcome;
}

}  // namespace pyscope::test
