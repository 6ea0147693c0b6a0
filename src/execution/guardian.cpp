#include "execution/guardian.hpp"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <utility>

namespace pyscope {

Result<Guardian> Guardian::start(const std::function<void()>& clean_up) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail(ErrorKind::Failed, fmt::format("socketpair: {}", std::strerror(errno)));
  }
  Guardian guardian;
  guardian.line_ = UniqueFd{ends[0]};
  const UniqueFd other{ends[1]};
  guardian.process_ = ::fork();
  if (guardian.process_ < 0) {
    guardian.process_ = 0;
    return fail(ErrorKind::Failed, fmt::format("fork: {}", std::strerror(errno)));
  }
  if (guardian.process_ > 0) return guardian;
  // What ends the other process, or stops it, must not do the same to this one.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE})
    ::signal(signal, SIG_IGN);
  // Who reads our output waits for the end of the other process only.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    ::close(stream);
  guardian.line_ = UniqueFd{};
  char word = 0;
  ssize_t n = 0;
  do {
    n = ::read(other.get(), &word, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 0) {
    try {
      clean_up();
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  ::_exit(0);
}

Guardian::Guardian(Guardian&& other) noexcept
    : process_(std::exchange(other.process_, 0)), line_(std::move(other.line_)) {}

Guardian::~Guardian() {
  if (process_ == 0) return;
  constexpr char kDone = 'd';
  (void)::send(line_.get(), &kDone, 1, MSG_NOSIGNAL);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace pyscope
