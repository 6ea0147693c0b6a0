// What is looked at: a live process, a recording of one, or a core file. Everything above reads a
// target through this interface, and so needs to know none of them.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "process/facts.hpp"
#include "process/maps.hpp"
#include "process/preemption.hpp"
#include "process/process.hpp"
#include "process/registers.hpp"
#include "process/thread_hold.hpp"
#include "pyscope/error.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

class LivingProcess;

/// How much is asked of the kernel about each thread.
enum class ThreadDetail : std::uint8_t {
  Scheduling,   // names, states and times
  SystemCalls,  // and the system call that each is in, which costs as much again
};

class Target {
 public:
  virtual ~Target() = default;

  [[nodiscard]] virtual const Memory& memory() const = 0;
  /// Everything but the threads.
  [[nodiscard]] virtual ProcessFacts facts() const = 0;
  /// All threads as they are now. Threads of a live process that end meanwhile are left out.
  [[nodiscard]] virtual std::vector<Task> threads(ThreadDetail detail) const = 0;
  /// In the order of their addresses; empty where they aren't known.
  [[nodiscard]] virtual std::vector<Mapping> mappings() const = 0;
  /// The file behind a mapping, and only if it is the very file that is mapped. `head` is what the
  /// memory holds at the start of the file; empty: not known.
  [[nodiscard]] virtual Result<UniqueFd> open_mapped_file(const Mapping& mapping,
                                                          const std::vector<std::byte>& head,
                                                          const Log& log) const = 0;
  /// A file by a path as the target's own code has it: within its root, and relative to its working
  /// directory. Invalid, with errno set, where there is none.
  [[nodiscard]] virtual UniqueFd open_source(const std::string& path) const = 0;
  /// The registers of a thread that stands for good, as the threads of a recording do. Null for a
  /// thread of a live process (which has to be held), and where they weren't recorded.
  [[nodiscard]] virtual const Registers* registers(pid_t tid) const = 0;

  /// What only a living process has; null for all else.
  [[nodiscard]] virtual const LivingProcess* living() const { return nullptr; }

 protected:
  Target() = default;
  Target(const Target&) = default;
  Target(Target&&) = default;
  Target& operator=(const Target&) = default;
  Target& operator=(Target&&) = default;
};

/// What can be asked and done only while a process lives.
class LivingProcess {
 public:
  virtual ~LivingProcess() = default;

  /// As Process::switches_at_rest.
  [[nodiscard]] virtual std::optional<std::uint64_t> switches_at_rest(pid_t tid) const = 0;
  /// As ThreadPreemption::of. The result must not outlive this.
  [[nodiscard]] virtual Result<std::unique_ptr<Preemption>> preempt(pid_t tid) const = 0;
  /// One thread as it is now, with its system call; nothing if it has ended.
  [[nodiscard]] virtual std::optional<Task> thread(pid_t tid) const = 0;
  /// As Task::times_scheduled, as it is now.
  [[nodiscard]] virtual std::optional<std::uint64_t> times_scheduled(pid_t tid) const = 0;
  /// As ThreadHold::stop.
  [[nodiscard]] virtual Result<ThreadHold> hold(std::span<const pid_t> tids,
                                                const HoldLimits& limits) const = 0;
  /// Descriptors, children and peers are asked of it. Null where the process is only acted, as
  /// tests do.
  [[nodiscard]] virtual const Process* process() const = 0;
  /// Whether the process has ended, or an execve has put another program in its place: what was
  /// read before then is of the old program, or of nothing.
  [[nodiscard]] virtual bool ended() const = 0;
  [[nodiscard]] virtual bool replaced_program() const = 0;

 protected:
  LivingProcess() = default;
  LivingProcess(const LivingProcess&) = default;
  LivingProcess(LivingProcess&&) = default;
  LivingProcess& operator=(const LivingProcess&) = default;
  LivingProcess& operator=(LivingProcess&&) = default;
};

}  // namespace pyscope
