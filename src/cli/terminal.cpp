#include "cli/terminal.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/watched.hpp"
#include "pyscope/render.hpp"

namespace pyscope::cli {
namespace {

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

/// Returns 0, or errno.
int write_all(int fd, std::string_view rest) {
  while (!rest.empty()) {
    const ssize_t n = ::write(fd, rest.data(), rest.size());
    if (n >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      // Whoever shares the terminal or pipe with us has made it non-blocking.
      pollfd writable{fd, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

/// How many bytes a colour at the front of the text has ("\x1b[1;31m"); 0 if there is none.
std::size_t color_at(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

/// The position of the first control character from `begin` that may not be printed, or the size.
std::size_t first_active(std::string_view text, std::size_t begin = 0) {
  for (std::size_t i = begin; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    constexpr unsigned char kDelete = 0x7f;
    constexpr unsigned char kLeadOfC1 = 0xc2;  // C2 80 to C2 9F
    if ((byte >= ' ' && byte != kDelete && byte != kLeadOfC1) || byte == '\n' || byte == '\t') {
      continue;
    }
    if (byte == kLeadOfC1 &&
        (i + 1 == text.size() || static_cast<unsigned char>(text[i + 1]) >= 0xa0)) {
      continue;
    }
    const std::size_t color = color_at(text.substr(i, 16));
    if (color == 0) return i;
    i += color - 1;
  }
  return text.size();
}

std::string without_active(std::string_view text) {
  std::string safe;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t active = first_active(text, at);
    safe += text.substr(at, active - at);
    if (active == text.size()) break;
    const std::size_t size = static_cast<unsigned char>(text[active]) < 0x80 ? 1 : 2;
    safe += render_line(text.substr(active, size));
    at = active + size;
  }
  return safe;
}

void end_if_no_reader(const pollfd& output) {
  // Any other trouble, such as a full disk, is reported by the write.
  if ((output.revents & (POLLERR | POLLHUP)) == 0) return;
  ::raise(SIGPIPE);
  std::_Exit(0);  // the caller ignores it
}

}  // namespace

bool wants_color(const std::string& choice) {
  if (choice == "always") return true;
  if (choice == "never") return false;
  // no-color.org: any value that isn't empty counts.
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (is_set("CLICOLOR_FORCE")) return true;
  const char* terminal = std::getenv("TERM");
  if (terminal != nullptr && std::strcmp(terminal, "dumb") == 0) return false;
  return ::isatty(STDOUT_FILENO) == 1;
}

void occupy_standard_streams() {
  // Stdin is opened for writing and the others for reading, so that their use fails with EBADF as
  // if they were still closed. open() takes the lowest descriptor that is free.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    [[maybe_unused]] const int opened =
        ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

namespace {
bool lost = false;
}  // namespace

bool output_lost() {
  return lost;
}

bool write_out(std::string_view text) {
  if (lost) return false;
  const bool safe = first_active(text) == text.size();
  const int error =
      safe ? write_all(STDOUT_FILENO, text) : write_all(STDOUT_FILENO, without_active(text));
  if (error == EPIPE) std::_Exit(0);
  if (error == 0) return true;
  Message::print("pyscope: writing the output failed: {}\n", std::strerror(error));
  lost = true;
  return false;
}

void Message::write(std::string_view text) {
  (void)write_all(STDERR_FILENO, text);
}

std::size_t terminal_columns(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void end_if_unread() {
  pollfd output{STDOUT_FILENO, 0, 0};
  if (::poll(&output, 1, 0) > 0) end_if_no_reader(output);
}

namespace {

volatile std::sig_atomic_t interrupted = 0;
std::atomic<std::int64_t> interrupted_at = 0;  // nanoseconds
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

constexpr std::int64_t kNanosecondsInSecond = 1'000'000'000;

void on_interrupt(int signal) {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t at = now.tv_sec * kNanosecondsInSecond + now.tv_nsec;
  // timeout(1) sends each signal twice at once: to the process, and to its group.
  constexpr std::int64_t kSameInterrupt = kNanosecondsInSecond / 5;
  if (interrupted != 0 && at - interrupted_at > kSameInterrupt) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);  // delivered when the handler returns
    return;
  }
  if (interrupted == 0) interrupted_at = at;
  interrupted = 1;
}

sigset_t interrupts() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

/// Returns the action that the signal had before.
struct sigaction catch_unless_ignored(int signal) {
  struct sigaction before {};
  ::sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return before;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_mask = interrupts();
  ::sigaction(signal, &action, nullptr);
  return before;
}

}  // namespace

InterruptCatcher::InterruptCatcher() {
  // Work that begins anew has been interrupted before, if at all.
  if (threads_left_behind == 0) interrupted = 0;
  interrupt_ = catch_unless_ignored(SIGINT);
  terminate_ = catch_unless_ignored(SIGTERM);
}

InterruptCatcher::~InterruptCatcher() {
  ::sigaction(SIGINT, &interrupt_, nullptr);
  ::sigaction(SIGTERM, &terminate_, nullptr);
}

bool InterruptCatcher::caught() const {
  if (threads_left_behind != 0) {
    // The kernel may have meant a signal for a thread that never comes back. Any other thread takes
    // the signal once it changes what it blocks.
    const sigset_t blocked = interrupts();
    sigset_t before;
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  return interrupted != 0;
}

void InterruptCatcher::sleep(std::chrono::microseconds time) const {
  constexpr std::int64_t kMicrosecondsInSecond = 1'000'000;
  const timespec rest{.tv_sec = static_cast<std::time_t>(time.count() / kMicrosecondsInSecond),
                      .tv_nsec = static_cast<long>(time.count() % kMicrosecondsInSecond * 1000)};
  // A signal that comes between the test of `interrupted` and the sleep must end the sleep.
  const sigset_t blocked = interrupts();
  sigset_t before;
  ::sigprocmask(SIG_BLOCK, &blocked, &before);
  pollfd output{STDOUT_FILENO, 0, 0};
  const bool unread = interrupted == 0 && ::ppoll(&output, 1, &rest, &before) > 0;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (unread) end_if_no_reader(output);
}

void print_error(const Error& error) {
  print_step(error.message);
  const std::string hint = render_hint(error);
  if (!hint.empty()) Message::print("         {}\n", hint);
}

void print_step(const std::string& step) {
  Message::print("pyscope: {}\n", step);
}

}  // namespace pyscope::cli
