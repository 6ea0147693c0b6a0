#include "process/thread_hold.hpp"

#include <elf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "process/facts.hpp"
#include "process/proc_file.hpp"
#include "process/words.hpp"

namespace pyscope {
namespace {

enum class Hold : std::uint8_t {
  Wanted,  // not asked yet
  Asked,   // asked to stand
  Stands,
  Refused,  // the kernel said no
  Ended,
};

struct HeldThread {
  pid_t tid = 0;
  Hold hold = Hold::Wanted;
  int error = 0;   // errno, if it was refused
  int signal = 0;  // that it was about to receive when it stopped, and gets when it goes on
  bool has_registers = false;
  Registers registers = {};
};

std::int64_t now_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

/// The process that traces a thread; 0 if there is none, or if it isn't known.
pid_t tracer_of(pid_t tid) {
  const SmallFile status(AT_FDCWD, fmt::format("/proc/{}/status", tid).c_str());
  const auto words = status_words(status.text(), "TracerPid");
  return words.empty() ? 0 : to_number<pid_t>(words[0]).value_or(0);
}

// PTRACE_EVENT_STOP: the thread stands because it was asked to, or because its process is stopped.
constexpr int kEventStop = 128;

}  // namespace

/// The holder's messages, in memory shared with it. The threads' entries follow the board.
struct ThreadHold::Board {
  std::size_t count = 0;
  std::size_t bytes = 0;
  std::atomic<std::int64_t> asked_us{0};
  std::atomic<std::int64_t> released_us{0};
  std::atomic<bool> expired{false};

  [[nodiscard]] std::span<HeldThread> threads() {
    return {std::launder(reinterpret_cast<HeldThread*>(this + 1)), count};
  }
  [[nodiscard]] HeldThread* find(pid_t tid) {
    const auto all = threads();
    const auto found = std::lower_bound(all.begin(), all.end(), tid,
                                        [](const HeldThread& t, pid_t id) { return t.tid < id; });
    return found != all.end() && found->tid == tid ? &*found : nullptr;
  }
};

namespace {

// Everything below runs in the holder. It is the child of a fork, perhaps of a process with many
// threads, and so makes system calls and nothing else.

void ask_all_to_stand(std::span<HeldThread> threads) {
  for (HeldThread& thread : threads) {
    if (::ptrace(PTRACE_SEIZE, thread.tid, nullptr, nullptr) != 0) {
      thread.hold = errno == ESRCH ? Hold::Ended : Hold::Refused;
      thread.error = errno;
    }
  }
  for (HeldThread& thread : threads) {
    if (thread.hold == Hold::Wanted &&
        ::ptrace(PTRACE_INTERRUPT, thread.tid, nullptr, nullptr) == 0) {
      thread.hold = Hold::Asked;
    }
  }
}

template <class Find>
void wait_until_all_stand(std::span<HeldThread> threads, const Find& find,
                          std::int64_t deadline_us) {
  auto missing = std::count_if(threads.begin(), threads.end(),
                               [](const HeldThread& thread) { return thread.hold == Hold::Asked; });
  // The timer wakes waitpid at the deadline, and again and again afterwards, so that no wake-up is
  // lost.
  struct sigaction quiet {};
  quiet.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &quiet, nullptr);
  const std::int64_t left = std::max<std::int64_t>(deadline_us - now_us(), 1);
  const itimerval timer{.it_interval = {0, 1000}, .it_value = {left / 1'000'000, left % 1'000'000}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
  while (missing > 0) {
    int status = 0;
    const pid_t tid = ::waitpid(-1, &status, __WALL);
    if (tid < 0 && (errno != EINTR || now_us() >= deadline_us)) break;
    HeldThread* thread = tid > 0 ? find(tid) : nullptr;
    if (thread == nullptr || thread->hold != Hold::Asked) continue;
    --missing;
    if (WIFSTOPPED(status)) {
      thread->hold = Hold::Stands;
      if (status >> 16 != kEventStop) thread->signal = WSTOPSIG(status);
    } else {
      thread->hold = Hold::Ended;
    }
  }
  constexpr itimerval kOff{};
  ::setitimer(ITIMER_REAL, &kOff, nullptr);
}

void take_registers(std::span<HeldThread> threads) {
  for (HeldThread& thread : threads) {
    if (thread.hold != Hold::Stands) continue;
    iovec to{&thread.registers.raw, sizeof thread.registers.raw};
    thread.has_registers =
        ::ptrace(PTRACE_GETREGSET, thread.tid, std::uintptr_t{NT_PRSTATUS}, &to) == 0 &&
        to.iov_len == sizeof thread.registers.raw;  // less for a 32-bit program
  }
}

// A thread that doesn't stand yet can't be let go; the kernel does that when the holder ends.
void let_go(std::span<HeldThread> threads) {
  for (const HeldThread& thread : threads) {
    if (thread.hold != Hold::Stands) continue;
    ::ptrace(PTRACE_DETACH, thread.tid, nullptr, std::intptr_t{thread.signal});
  }
}

}  // namespace

Result<ThreadHold> ThreadHold::stop(std::span<const pid_t> tids, const HoldLimits& limits) {
  ThreadHold result;
  const std::size_t bytes = sizeof(Board) + tids.size() * sizeof(HeldThread);
  void* shared = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (shared == MAP_FAILED) {
    return fail(ErrorKind::Failed, fmt::format("holding threads: mmap: {}", std::strerror(errno)));
  }
  result.board_ = {new (shared) Board, [](Board* board) { ::munmap(board, board->bytes); }};
  Board& board = *result.board_;
  board.bytes = bytes;
  board.count = tids.size();
  auto* first = reinterpret_cast<HeldThread*>(&board + 1);
  for (std::size_t i = 0; i < tids.size(); ++i)
    new (first + i) HeldThread{.tid = tids[i]};
  const auto threads = board.threads();
  std::sort(threads.begin(), threads.end(),
            [](const HeldThread& a, const HeldThread& b) { return a.tid < b.tid; });

  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail(ErrorKind::Failed,
                fmt::format("holding threads: socketpair: {}", std::strerror(errno)));
  }
  result.line_ = UniqueFd{ends[0]};
  UniqueFd holders_end{ends[1]};
  const pid_t reader = ::getpid();
  result.holder_ = ::fork();
  if (result.holder_ < 0) {
    result.holder_ = 0;
    return fail(ErrorKind::Failed, fmt::format("holding threads: fork: {}", std::strerror(errno)));
  }
  if (result.holder_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != reader) ::_exit(0);
    ::close(ends[0]);  // else the holder would never see that the reader's end was closed
    // What ends the holder lets the threads go; what would stop it must not.
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
      ::signal(signal, SIG_DFL);
    for (const int signal : {SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE})
      ::signal(signal, SIG_IGN);
    const std::int64_t begin = now_us();
    board.asked_us = begin;
    ask_all_to_stand(threads);
    wait_until_all_stand(
        threads, [&](pid_t tid) { return board.find(tid); }, begin + limits.until_stopped.count());
    take_registers(threads);
    constexpr char kReady = 'r';
    pollfd order{.fd = ends[1], .events = POLLIN, .revents = 0};
    if (::write(ends[1], &kReady, 1) == 1) {
      const std::int64_t left_ms = (begin + limits.until_released.count() - now_us() + 999) / 1000;
      while (::poll(&order, 1, static_cast<int>(std::max<std::int64_t>(left_ms, 0))) < 0 &&
             errno == EINTR) {
      }
    }
    board.expired = order.revents == 0;
    let_go(threads);
    board.released_us = now_us();
    ::_exit(0);
  }

  // Waits for the holder's word that the threads stand. If the holder ends first, the read ends,
  // too, provided that no descriptor of the holder's end is open in this process.
  holders_end = UniqueFd{};
  char ready = 0;
  ssize_t n = 0;
  do {
    n = ::read(ends[0], &ready, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) board.expired = true;
  return result;
}

ThreadHold::ThreadHold(ThreadHold&& other) noexcept
    : board_(std::move(other.board_)),
      holder_(std::exchange(other.holder_, 0)),
      line_(std::move(other.line_)),
      release_(other.release_) {}

ThreadHold::~ThreadHold() {
  if (holder_ != 0) release();
}

bool ThreadHold::holds(pid_t tid) const {
  const HeldThread* thread = board_->find(tid);
  return thread != nullptr && thread->hold == Hold::Stands;
}

const Registers* ThreadHold::registers(pid_t tid) const {
  const HeldThread* thread = board_->find(tid);
  const bool taken = thread != nullptr && thread->hold == Hold::Stands && thread->has_registers;
  return taken ? &thread->registers : nullptr;
}

std::string ThreadHold::refusal(pid_t tid) const {
  const HeldThread* thread = board_->find(tid);
  if (thread == nullptr) return {};
  switch (thread->hold) {
    case Hold::Stands:
      return {};
    case Hold::Ended:
      return "it ended";
    case Hold::Refused:
      if (const pid_t tracer = tracer_of(tid); tracer != 0) {
        return fmt::format("it is traced by process {}", tracer);
      }
      return fmt::format("ptrace: {}", std::strerror(thread->error));
    case Hold::Wanted:
    case Hold::Asked:
      break;
  }
  return "it did not stop in time";
}

bool ThreadHold::is_late(pid_t tid) const {
  const HeldThread* thread = board_->find(tid);
  return thread != nullptr && thread->hold == Hold::Asked;
}

ThreadHold::Release ThreadHold::release() {
  if (holder_ == 0) return release_;
  // Sends an order, since closing the line may not reach the holder: a process that was forked
  // meanwhile may have the line, too.
  constexpr char kLetGo = 'g';
  (void)::send(line_.get(), &kLetGo, 1, MSG_NOSIGNAL);
  line_ = UniqueFd{};
  while (::waitpid(holder_, nullptr, 0) < 0 && errno == EINTR) {
  }
  holder_ = 0;
  const std::int64_t asked = board_->asked_us;
  // A holder that was killed left no time of release.
  const std::int64_t released = board_->released_us != 0 ? board_->released_us.load() : now_us();
  release_.held = std::chrono::microseconds(asked == 0 ? 0 : released - asked);
  release_.in_time = board_->released_us != 0 && !board_->expired;
  return release_;
}

}  // namespace pyscope
