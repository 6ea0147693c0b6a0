#include "base/kernel_call.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/watched.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kPage = 4096;
/// In place of the time of a call that was left behind.
constexpr std::uint64_t kLeftBehind = ~std::uint64_t{0};
constexpr std::size_t kMostThreads = 64;

/// The call that one thread is in.
struct NotedCall {
  std::atomic<bool> taken = false;          // by a thread
  std::atomic<std::uint64_t> begun_at = 0;  // 0: none
  KernelCall::Question question;            // as long as begun_at isn't 0
};
// Never destroyed: a thread that was left behind may come back while the program ends.
std::array<NotedCall, kMostThreads> noted_calls;

/// The place of this thread among them.
class PlaceOfThread {
 public:
  PlaceOfThread() {
    for (NotedCall& call : noted_calls) {
      if (call.taken.exchange(true)) continue;
      call_ = &call;
      return;
    }
  }
  PlaceOfThread(const PlaceOfThread&) = delete;
  PlaceOfThread& operator=(const PlaceOfThread&) = delete;
  ~PlaceOfThread() {
    if (call_ != nullptr) call_->taken = false;
  }
  /// Null if there are too many threads: the calls of this one aren't noted.
  [[nodiscard]] NotedCall* call() const { return call_; }

 private:
  NotedCall* call_ = nullptr;
};
thread_local const PlaceOfThread place_of_thread;

std::uint64_t nanoseconds_now() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

std::string path_of(int descriptor) {
  std::array<char, PATH_MAX> path;
  const ssize_t n =
      ::readlink(fmt::format("/proc/self/fd/{}", descriptor).c_str(), path.data(), path.size());
  return n < 0 ? std::string{} : std::string(path.data(), static_cast<std::size_t>(n));
}

std::string path_of(const KernelCall::Question& question) {
  const std::string_view name = question.name == nullptr ? "" : question.name;
  if (question.descriptor == AT_FDCWD || name.starts_with('/')) return std::string(name);
  std::string path = path_of(question.descriptor);
  if (!name.empty()) path += fmt::format("/{}", name);
  return path;
}

bool is_of_kernel(std::string_view path) {
  return path.starts_with("/proc/");
}

/// What hasn't answered.
class Unanswered {
 public:
  void add(const KernelCall::Question& question) {
    const std::lock_guard lock(mutex_);
    if (!question.ranges.empty()) {
      add_memory(question);
      return;
    }
    std::string path = path_of(question);
    if (is_of_kernel(path)) {
      of_kernel_.push_back(std::move(path));
    } else {
      files_.push_back(std::move(path));
    }
  }
  /// No file of the target's is asked for any more.
  void add_all_files() {
    const std::lock_guard lock(mutex_);
    files_.resize(std::max(files_.size(), kMostFiles));
  }

  [[nodiscard]] bool contains(const KernelCall::Question& question) {
    const std::lock_guard lock(mutex_);
    if (!question.ranges.empty()) {
      return std::any_of(pages_.begin(), pages_.end(), [&](const Block& block) {
        return block.pid == question.pid &&
               std::any_of(question.ranges.begin(), question.ranges.end(),
                           [&](const iovec& range) { return overlap(block, range); });
      });
    }
    const std::string path = path_of(question);
    const auto& list = is_of_kernel(path) ? of_kernel_ : files_;
    return (!is_of_kernel(path) && files_.size() >= kMostFiles) ||
           std::find(list.begin(), list.end(), path) != list.end();
  }

  [[nodiscard]] bool suspects(pid_t pid, const iovec& range) {
    const std::lock_guard lock(mutex_);
    return std::any_of(suspects_.begin(), suspects_.end(), [&](const Block& block) {
      return block.pid == pid && overlap(block, range);
    });
  }

  /// `pid`: of whose memory; 0: of that of all processes.
  [[nodiscard]] std::vector<std::string> words(pid_t pid) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> words;
    for (const Block& block : pages_) {
      if (pid != 0 && block.pid != pid) continue;
      words.push_back(block.last - block.first < kPage
                          ? fmt::format("the page of memory at {:#x}", block.first)
                          : fmt::format("memory from {:#x} to {:#x}", block.first, block.last));
    }
    for (const auto* list : {&of_kernel_, &files_}) {
      for (const std::string& path : *list) {
        if (!path.empty()) words.push_back(path);
      }
    }
    if (files_.size() >= kMostFiles) words.emplace_back("further files");
    return words;
  }

 private:
  struct Block {
    pid_t pid = 0;
    std::uint64_t first = 0;
    std::uint64_t last = 0;  // this byte included
  };
  /// So many files cost their time. Then all of them count as lying on something that is dead.
  // Bound: files that don't answer, after which no file of the process is asked for
  static constexpr std::size_t kMostFiles = 3;

  static std::uint64_t begin_of(const iovec& range) {
    // An address of the target, which is never followed.
    return reinterpret_cast<std::uint64_t>(range.iov_base);
  }
  static std::uint64_t last_of(const iovec& range) {
    return begin_of(range) + std::max<std::uint64_t>(range.iov_len, 1) - 1;
  }
  static bool overlap(const Block& block, const iovec& range) {
    return begin_of(range) <= block.last && last_of(range) >= block.first;
  }

  void add_memory(const KernelCall::Question& question) {
    const std::uint64_t first = begin_of(question.ranges.front());
    if (question.ranges.size() > 1 || last_of(question.ranges.front()) / kPage != first / kPage) {
      for (const iovec& range : question.ranges)
        suspects_.push_back({question.pid, begin_of(range), last_of(range)});
      return;
    }
    // Each page costs its time, so that of many that don't answer only the first few are told
    // from what lies around them.
    constexpr std::array<unsigned, 6> kBits = {12, 12, 21, 21, 24, 30};
    if (pages_.size() >= kBits.size()) {
      pages_.push_back({question.pid, 0, ~std::uint64_t{0}});
    } else {
      const std::uint64_t size = std::uint64_t{1} << kBits[pages_.size()];
      const std::uint64_t begin = first / size * size;
      pages_.push_back({question.pid, begin, begin + size - 1});
    }
  }

  std::mutex mutex_;
  std::vector<Block> pages_;
  std::vector<Block> suspects_;  // one page at least of one of them doesn't answer
  std::vector<std::string> of_kernel_;
  std::vector<std::string> files_;
};

Unanswered& all_unanswered() {
  static auto* const all = new Unanswered;  // never destroyed, as above
  return *all;
}

[[noreturn]] void stay_behind() {
  while (true)
    std::this_thread::sleep_for(std::chrono::hours(1));
}

}  // namespace

/// The watch over the calls of all threads.
class AnswerWatch {
 public:
  AnswerWatch(std::chrono::milliseconds time, std::function<int(std::chrono::milliseconds)> work,
              std::function<int()> give_up, std::function<void(int)> end)
      : left_(time),
        patience_(
            std::clamp<std::chrono::milliseconds>(time / kShares, kLeastPatience, kMostPatience)),
        slow_left_(std::chrono::nanoseconds(time / 3).count()),
        work_(std::move(work)),
        give_up_(std::move(give_up)),
        end_(std::move(end)) {}

  [[nodiscard]] int run() {
    if (!start()) return work_(left_);
    KernelCall::watched = true;
    const int status = work_(left_);
    KernelCall::watched = false;
    return status;
  }

  /// What many calls about files, each of them slow but not dead, may take in all.
  void note_slow(const KernelCall::Question& question, std::chrono::nanoseconds duration) {
    constexpr std::chrono::milliseconds kSlow{20};
    if (duration < kSlow || is_of_kernel(path_of(question))) return;
    const std::int64_t before = slow_left_.fetch_sub(duration.count());
    if (before <= 0 || before > duration.count()) return;
    all_unanswered().add_all_files();
    ++KernelCall::unanswered_count;
  }

  static inline std::atomic<AnswerWatch*> current = nullptr;

 private:
  // A page that has to come from a busy disk answers within a second.
  static constexpr int kShares = 30;
  static constexpr std::chrono::milliseconds kLeastPatience{100};
  // Bound: one call into the kernel, at which memory or a file counts as dead
  static constexpr std::chrono::milliseconds kMostPatience{1000};
  static constexpr unsigned kLooks = 4;

  bool start() {
    try {
      std::thread([this] { watch(); }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;  // no more threads are to be had: then nobody watches
    }
  }

  void watch() {
    // By its own looks, not by the clock: while the program as a whole is stopped, no call is slow.
    std::array<std::uint64_t, kMostThreads> seen{};
    std::array<unsigned, kMostThreads> looks{};
    while (true) {
      std::this_thread::sleep_for(patience_ / kLooks);
      for (std::size_t i = 0; i < noted_calls.size(); ++i) {
        NotedCall& call = noted_calls[i];
        std::uint64_t begun_at = call.begun_at;
        if (begun_at != seen[i]) looks[i] = 0;
        seen[i] = begun_at;
        if (begun_at == 0 || begun_at == kLeftBehind || ++looks[i] <= kLooks) continue;
        if (!call.begun_at.compare_exchange_strong(begun_at, kLeftBehind)) continue;
        take_over(call.question);
      }
    }
  }

  /// Goes on in place of a thread that is left behind.
  void take_over(const KernelCall::Question& question) {
    all_unanswered().add(question);
    ++KernelCall::unanswered_count;
    ++threads_left_behind;
    left_ -= patience_;
    const bool again = left_ >= patience_ && start();
    end_(again ? work_(left_) : give_up_());
    stay_behind();
  }

  std::chrono::milliseconds left_;
  std::chrono::milliseconds patience_;
  std::atomic<std::int64_t> slow_left_;  // nanoseconds
  std::function<int(std::chrono::milliseconds)> work_;
  std::function<int()> give_up_;
  std::function<void(int)> end_;
};

std::vector<std::string> KernelCall::unanswered(pid_t pid) {
  return any_unanswered() ? all_unanswered().words(pid) : std::vector<std::string>{};
}

bool KernelCall::is_suspect(pid_t pid, std::uint64_t at, std::size_t size) {
  // An address of the target, which is never followed.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return all_unanswered().suspects(pid, {reinterpret_cast<void*>(at), size});
}

void KernelCall::begin(const Question& question) {
  if (any_unanswered() && all_unanswered().contains(question)) {
    may_be_asked_ = false;
    errno = ETIMEDOUT;
    return;
  }
  NotedCall* const call = place_of_thread.call();
  if (call == nullptr) return;
  call->question = question;
  begun_at_ = nanoseconds_now();
  call->begun_at.store(begun_at_, std::memory_order_release);
}

void KernelCall::end() const {
  const int error = errno;
  NotedCall& call = *place_of_thread.call();
  std::uint64_t expected = begun_at_;
  if (!call.begun_at.compare_exchange_strong(expected, 0)) stay_behind();
  AnswerWatch* const watch = AnswerWatch::current;
  if (watch != nullptr && call.question.ranges.empty()) {
    watch->note_slow(call.question, std::chrono::nanoseconds(nanoseconds_now() - begun_at_));
  }
  errno = error;
}

int run_answered(std::chrono::milliseconds time,
                 std::function<int(std::chrono::milliseconds left)> work,
                 std::function<int()> give_up, std::function<void(int)> end) {
  // Never destroyed, as its thread goes on until the program ends.
  auto* const watch = new AnswerWatch(time, std::move(work), std::move(give_up), std::move(end));
  AnswerWatch::current = watch;
  return watch->run();
}

int open_noted(int folder, const char* name, int flags) {
  const KernelCall call(folder, name);
  return call ? ::openat(folder, name, flags) : -1;
}

ssize_t read_noted(int fd, void* to, std::size_t size) {
  const KernelCall call(fd);
  return call ? ::read(fd, to, size) : -1;
}

ssize_t pread_noted(int fd, void* to, std::size_t size, off_t at) {
  const KernelCall call(fd);
  return call ? ::pread(fd, to, size, at) : -1;
}

int fstat_noted(int fd, struct stat& info) {
  const KernelCall call(fd);
  return call ? ::fstat(fd, &info) : -1;
}

}  // namespace pyscope
