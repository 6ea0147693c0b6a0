// One live process, pinned: a process that gets the same PID later is never read in its place.
// Nothing here knows of Python.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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

  /// True once the process has ended (a zombie has). While this is false, everything that was read
  /// by its PID before came from this process.
  [[nodiscard]] bool ended() const;

  /// True once an execve has replaced the program of the pinned process. The process goes on, but
  /// everything read from its memory and /proc before belongs to the old program. Also true in the
  /// last moments of a process, which loses its memory before it has ended. False if the kernel
  /// doesn't let us look.
  [[nodiscard]] bool replaced_program() const;

  /// Reads a whole file below /proc/PID; fails if the file is larger than `limit`.
  [[nodiscard]] Result<std::string> read_file(const char* name,
                                              std::size_t limit = 1U << 26U) const;
  [[nodiscard]] Result<std::string> read_link(const char* name) const;
  /// Fills all of `bytes` from the process's memory; false if that isn't permitted or mapped. For
  /// arguments of system calls: the targets' memory is read by Memory.
  [[nodiscard]] bool read_memory(RemoteAddr at, std::span<std::byte> bytes) const;
  [[nodiscard]] Result<std::vector<Mapping>> maps() const;
  /// Whether the process is in our namespace of this kind, as /proc/PID/ns names them: "net",
  /// "pid", "time". True if the kernel doesn't tell, as a kernel without such namespaces does.
  [[nodiscard]] bool shares_namespace(const char* kind) const;

  /// Opens the file behind a mapping, in every way there is, and only if the file is the very one
  /// that is mapped. `head` is the target's memory at the start of the file. It decides where
  /// device numbers differ for one file (overlay and btrfs file systems).
  [[nodiscard]] Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                  const std::vector<std::byte>& head,
                                                  const Log& log) const;

  /// Whether the process is a child that runs its parent's program: it was forked, and has begun no
  /// program of its own since.
  [[nodiscard]] bool forked_without_exec() const;

  /// Everything but the tasks.
  [[nodiscard]] ProcessFacts facts() const;
  /// All threads as they are now; leaves out threads that end meanwhile. Reads system calls only if
  /// `system_calls` is set, since they cost as much again.
  [[nodiscard]] std::vector<Task> tasks(bool system_calls) const;

  /// One thread, with its system call; nothing if it has ended.
  [[nodiscard]] std::optional<Task> task(pid_t tid) const;
  /// How often a thread was given a CPU; nothing where the kernel doesn't count.
  [[nodiscard]] std::optional<std::uint64_t> times_scheduled(pid_t tid) const;
  /// The system call that a thread is in; empty if the thread runs, has ended or can't be looked
  /// at.
  [[nodiscard]] std::optional<SystemCall> system_call(pid_t tid) const;

  /// How often a thread was switched off a CPU; known only while it is off, blocked or stopped. A
  /// thread that gives the same number twice hasn't run in between: the kernel answers
  /// /proc/PID/task/TID/syscall only for a thread that is off the CPU, and counts each time that a
  /// thread is taken off.
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
