#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/unique_fd.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// The memory of a running process: process_vm_readv, and /proc/PID/mem where that is refused
/// (seccomp filters of containers) or missing (kernels without CONFIG_CROSS_MEMORY_ATTACH). Opened
/// for reading only. The caller makes sure afterwards that the PID still meant the same process.
class LiveMemory final : public Memory {
 public:
  /// `proc_directory` is a descriptor of /proc/PID and must outlive this object.
  LiveMemory(pid_t pid, int proc_directory) : pid_(pid), proc_directory_(proc_directory) {}

  void read_many(std::span<ReadRequest> requests) const override;

  /// Reads through /proc/PID/mem from now on, as if process_vm_readv had been refused.
  void use_proc_mem() const;
  [[nodiscard]] bool uses_proc_mem() const { return use_proc_mem_; }
  /// System calls made to read memory so far: the cost of a dump that can be counted exactly.
  [[nodiscard]] std::uint64_t system_calls() const { return system_calls_; }

 private:
  void read_at_once(std::span<ReadRequest> requests) const;
  void read_apart(ReadRequest& request) const;
  void read_by_proc_mem(std::span<ReadRequest> requests) const;

  pid_t pid_;
  int proc_directory_;
  // How the memory is reached isn't part of what it holds: reading stays const.
  mutable bool use_proc_mem_ = false;
  mutable UniqueFd mem_;
  mutable std::uint64_t system_calls_ = 0;
};

}  // namespace pyscope
