// The only way to write to a target, and all of it: three members of one thread state. Nothing
// outside of this folder includes this (tests/check_layers.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "process/process.hpp"
#include "pyscope/address.hpp"
#include "pyscope/error.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

class RemoteWriter {
 public:
  /// Fails with Malformed where the target's table has other offsets than this version of CPython,
  /// and where not all of the thread state lies in memory that can be written and isn't code.
  /// The caller has verified that a thread state of the process is at `thread_state`, and keeps the
  /// process from running until it has written. `process` must outlive this.
  [[nodiscard]] static Result<RemoteWriter> create(const Process& process,
                                                   const DebugOffsets& offsets,
                                                   RemoteAddr thread_state);

  /// The path of the script, with its end. Fails if the path is longer than its room.
  [[nodiscard]] Result<void> write_path(std::string_view path) const;
  /// Whether a script is wanted.
  [[nodiscard]] Result<void> write_pending(bool wanted) const;
  /// The word by which the thread is asked to stop at the next safe point.
  [[nodiscard]] Result<void> write_breaker(std::uint64_t word) const;

 private:
  RemoteWriter(const Process& process, const DebugOffsets& offsets, RemoteAddr thread_state);
  [[nodiscard]] Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) const;

  const Process& process_;
  RemoteRange thread_state_;
  std::uint64_t breaker_;
  std::uint64_t pending_;
  std::uint64_t path_;
  std::uint64_t path_size_;
};

}  // namespace pyscope
