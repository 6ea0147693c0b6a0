// One live process, pinned so that a PID which is used again is never read in its place. Knows
// nothing of Python.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "process/facts.hpp"
#include "process/maps.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

class Process {
 public:
  /// Pins the process. Fails with NoSuchProcess for a PID that isn't there, has ended (a zombie) or
  /// is only a thread of a process, and with Unsupported for a kernel thread.
  [[nodiscard]] static Result<Process> open(pid_t pid, const Log& log);

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// The command name of the main thread, for messages.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// A descriptor of /proc/PID. It goes on meaning this process: once the process is gone,
  /// everything opened through it fails, even if the PID is used again.
  [[nodiscard]] int directory() const { return directory_.get(); }
  /// When it was forked, by the wall clock (good to a clock tick of 10 ms).
  [[nodiscard]] std::chrono::system_clock::time_point started_at() const { return started_at_; }

  /// True once the process has ended (a zombie has), so that what was read from its PID before is
  /// known to be from this process while it is false.
  [[nodiscard]] bool ended() const;

  /// True once an execve has put another program in the place of the one that was pinned: the
  /// process goes on, and all that was read of its memory and /proc before is the old program's.
  /// True, too, in the last moments of a process, which is without memory before it has ended.
  /// False where the kernel doesn't let us look.
  [[nodiscard]] bool replaced_program() const;

  /// A file below /proc/PID, whole; fails when it is larger than `limit`.
  [[nodiscard]] Result<std::string> read_file(const char* name,
                                              std::size_t limit = 1U << 26U) const;
  [[nodiscard]] Result<std::string> read_link(const char* name) const;
  [[nodiscard]] Result<std::vector<Mapping>> maps() const;
  /// Whether it lives in the same namespace as we do, of a kind that /proc/PID/ns has: "net",
  /// "pid", "time". True where the kernel doesn't tell, which is one without such namespaces.
  [[nodiscard]] bool shares_namespace(const char* kind) const;

  /// Opens the file behind a mapping, by every way there is, and only if it is the very file that
  /// is mapped. `head` is what the target's memory holds at the start of the file, which settles it
  /// where device numbers differ for one file (overlay and btrfs file systems).
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& head,
                                                  const Log& log) const;

  /// Everything but the tasks.
  [[nodiscard]] ProcessFacts facts() const;
  /// All threads as they are now; threads that end meanwhile are left out. With system calls only
  /// where `system_calls` says so, since that costs as much again.
  [[nodiscard]] std::vector<Task> tasks(bool system_calls) const;

  /// The system call that a thread is in; empty if it runs, has ended or can't be looked at.
  [[nodiscard]] std::optional<SystemCall> system_call(pid_t tid) const;

  /// How often a thread was switched away from, if it is off the CPU now, blocked or stopped. A
  /// thread for which this gives the same number twice hasn't run in between: the kernel answers
  /// /proc/PID/task/TID/syscall only of a thread that is really off the CPU, and counts each time
  /// that one is taken off it.
  [[nodiscard]] std::optional<std::uint64_t> switches_at_rest(pid_t tid) const;

 private:
  Process() = default;
  /// `list` is a descriptor of /proc/PID/task.
  [[nodiscard]] std::optional<Task> read_task(int list, pid_t tid, bool system_calls) const;

  pid_t pid_ = 0;
  pid_t namespace_pid_ = 0;
  bool other_pid_namespace_ = false;
  std::string name_;
  UniqueFd directory_;
  UniqueFd pidfd_;          // none on kernels before 5.3
  UniqueFd address_space_;  // none where it isn't permitted
  std::chrono::system_clock::time_point started_at_;
};

}  // namespace pyscope
