// The interface to a target's memory, whether the bytes come from a live process, a recording, or
// a test that built them by hand. The interface has no way to write.
#pragma once

#include <fmt/core.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "pyscope/address.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

enum class ReadStatus : std::uint8_t {
  Pending,     // not attempted
  Ok,          // every byte of the buffer was filled
  Fault,       // some byte of the range isn't readable; the buffer's content is unspecified
  Gone,        // the process ended
  Denied,      // the kernel refused
  OverBudget,  // a limit of ours on what is read was reached
  TimedOut,    // the time that the caller gave is used up
  Unanswered,  // the kernel waits for somebody else, who doesn't answer
};

/// One range to read. The caller owns the buffer that `out` points to.
struct ReadRequest {
  RemoteAddr at;
  std::span<std::byte> out;
  ReadStatus status = ReadStatus::Pending;
};

class Memory {
 public:
  virtual ~Memory() = default;

  /// Reads all ranges, in order, in as few system calls as possible, and sets each one's status.
  /// A range that can't be read costs the others nothing. The ranges are copied one after the other
  /// while the target may be running: together they are no snapshot.
  virtual void read_many(std::span<ReadRequest> requests) const = 0;

  /// Fills all of `out` or fails with Fault, NoSuchProcess or NotPermitted; never a short read.
  [[nodiscard]] Result<void> read(RemoteAddr at, std::span<std::byte> out) const;

 protected:
  Memory() = default;
  Memory(const Memory&) = default;
  Memory(Memory&&) = default;
  Memory& operator=(const Memory&) = default;
  Memory& operator=(Memory&&) = default;
};

/// Reads one value. The bytes are copied, so the target's alignment doesn't matter.
template <class T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] Result<T> read_as(const Memory& memory, RemoteAddr base, std::uint64_t offset = 0) {
  const auto at = base.plus(offset);
  if (!at) {
    return fail(ErrorKind::Fault, fmt::format("{:#x}+{:#x} overflows", base.raw(), offset));
  }
  std::array<std::byte, sizeof(T)> bytes{};
  if (auto ok = memory.read(*at, bytes); !ok) return fail(std::move(ok).error());
  return std::bit_cast<T>(bytes);
}

/// The error that stands for a status other than Ok and Pending.
[[nodiscard]] Error read_error(ReadStatus status, RemoteAddr at, std::size_t size);

}  // namespace pyscope
