#include "cli/terminal.hpp"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace pyscope::cli {
namespace {

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
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

std::size_t terminal_columns(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool write_out(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      if (errno == EPIPE) std::_Exit(0);
      fmt::print(stderr, "pyscope: writing the output failed: {}\n", std::strerror(errno));
      return false;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

namespace {
volatile std::sig_atomic_t interrupted = 0;
}  // namespace

InterruptCatcher::InterruptCatcher() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigaction(SIGINT, &action, &interrupt_);
  ::sigaction(SIGTERM, &action, &terminate_);
}

InterruptCatcher::~InterruptCatcher() {
  ::sigaction(SIGINT, &interrupt_, nullptr);
  ::sigaction(SIGTERM, &terminate_, nullptr);
}

bool InterruptCatcher::caught() const {
  return interrupted != 0;
}

void sleep_unless_interrupted(std::chrono::microseconds time) {
  constexpr std::int64_t kMicrosecondsInSecond = 1'000'000;
  const timespec rest{.tv_sec = static_cast<std::time_t>(time.count() / kMicrosecondsInSecond),
                      .tv_nsec = static_cast<long>(time.count() % kMicrosecondsInSecond * 1000)};
  ::nanosleep(&rest, nullptr);
}

void print_error(const Error& error) {
  fmt::print(stderr, "pyscope: {}\n", error.message);
  if (!error.hint.empty()) fmt::print(stderr, "         {}\n", error.hint);
}

}  // namespace pyscope::cli
