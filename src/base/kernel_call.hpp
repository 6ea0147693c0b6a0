// Calls into the kernel that may never come back. What they ask for may lie on a file system that
// is dead, or on a page that another program hands out, and no signal but SIGKILL ends the wait.
//
// Each such call is noted for as long as it lasts. Where run_answered() watches, a thread that
// stands in one for too long is left behind, and the work begins anew in another thread. What
// hasn't answered once isn't asked again.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace pyscope {

/// One call, noted for as long as this lives. Its arguments must live as long.
class KernelCall {
 public:
  /// What a call asks for: what is behind a descriptor, a name below one, or memory.
  struct Question {
    int descriptor = -1;
    const char* name = nullptr;
    pid_t pid = 0;
    std::span<const iovec> ranges = {};
  };

  /// About what is behind an open descriptor.
  explicit KernelCall(int descriptor) : KernelCall(Question{.descriptor = descriptor}) {}
  /// About a name below an open folder, or below AT_FDCWD.
  KernelCall(int folder, const char* name)
      : KernelCall(Question{.descriptor = folder, .name = name}) {}
  /// To read these ranges of a process's memory.
  KernelCall(pid_t pid, std::span<const iovec> ranges)
      : KernelCall(Question{.pid = pid, .ranges = ranges}) {}
  KernelCall(const KernelCall&) = delete;
  KernelCall& operator=(const KernelCall&) = delete;
  ~KernelCall() {
    if (begun_at_ != 0) end();
  }

  /// False if the same was asked before without an answer. Then the call must not be made, and
  /// errno is ETIMEDOUT.
  [[nodiscard]] explicit operator bool() const { return may_be_asked_; }

  /// Whether anything hasn't answered so far.
  [[nodiscard]] static bool any_unanswered() {
    return unanswered_count.load(std::memory_order_acquire) != 0;
  }
  /// What hasn't answered, in words that a reader of a dump understands: files, and the memory of
  /// the process `pid`; 0: of all processes.
  [[nodiscard]] static std::vector<std::string> unanswered(pid_t pid = 0);
  /// Whether a range of memory was asked for together with others, or as a whole, without an
  /// answer. Then it has to be read page by page, to find the page that doesn't answer.
  [[nodiscard]] static bool is_suspect(pid_t pid, std::uint64_t at, std::size_t size);

 private:
  friend class AnswerWatch;
  explicit KernelCall(const Question& question) {
    if (watched.load(std::memory_order_relaxed)) begin(question);
  }
  void begin(const Question& question);
  void end() const;

  static inline std::atomic<bool> watched = false;
  static inline std::atomic<std::size_t> unanswered_count = 0;

  bool may_be_asked_ = true;
  std::uint64_t begun_at_ = 0;  // 0: not noted
};

/// Does the work in this thread, and returns its status. If a call of it doesn't come back, the
/// work is done anew, from its start, in another thread, and `end` is called there with the status:
/// it must end the program, as this thread never goes on.
///
/// `time` is how long all of that may take, as far as it is spent on waiting. The work is told how
/// much there is. Once nothing is left, `give_up` is called in place of the work.
[[nodiscard]] int run_answered(std::chrono::milliseconds time,
                               std::function<int(std::chrono::milliseconds left)> work,
                               std::function<int()> give_up, std::function<void(int)> end);

// System calls on files that the target may have chosen, noted as above.

[[nodiscard]] int open_noted(int folder, const char* name, int flags);
[[nodiscard]] ssize_t read_noted(int fd, void* to, std::size_t size);
[[nodiscard]] ssize_t pread_noted(int fd, void* to, std::size_t size, off_t at);
[[nodiscard]] int fstat_noted(int fd, struct stat& info);

}  // namespace pyscope
