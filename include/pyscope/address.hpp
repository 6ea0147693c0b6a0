// Addresses in the target. They have their own type so that they can't be mixed up with sizes, file
// offsets or pointers of our own.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace pyscope {

/// An address in the target's memory. It has no operator*, so it can't be dereferenced here.
class RemoteAddr {
 public:
  constexpr RemoteAddr() = default;
  constexpr explicit RemoteAddr(std::uint64_t raw) : raw_(raw) {}

  [[nodiscard]] constexpr std::uint64_t raw() const { return raw_; }
  constexpr explicit operator bool() const { return raw_ != 0; }
  friend constexpr auto operator<=>(const RemoteAddr&, const RemoteAddr&) = default;

  /// nullopt when the sum wraps around: offsets usually come from the target and are not trusted.
  [[nodiscard]] constexpr std::optional<RemoteAddr> plus(std::uint64_t offset) const {
    const std::uint64_t sum = raw_ + offset;
    if (sum < raw_) return std::nullopt;
    return RemoteAddr{sum};
  }

  /// For offsets that were validated before and addresses that `is_plausible`: such a sum can't
  /// wrap.
  friend constexpr RemoteAddr operator+(RemoteAddr base, std::uint64_t offset) {
    return RemoteAddr{base.raw_ + offset};
  }

  /// True for what can be an object or a structure in user space: aligned to a pointer, not in the
  /// first page, and below the end of user space (2^56: five-level page tables).
  [[nodiscard]] constexpr bool is_plausible_pointer() const {
    return raw_ >= 0x1000 && raw_ < (std::uint64_t{1} << 56U) && raw_ % 8 == 0;
  }

 private:
  std::uint64_t raw_ = 0;
};

/// A half-open range [start, start + size).
struct RemoteRange {
  RemoteAddr start;
  std::uint64_t size = 0;

  [[nodiscard]] constexpr bool contains(RemoteAddr at) const {
    return at >= start && at.raw() - start.raw() < size;
  }
  friend constexpr auto operator<=>(const RemoteRange&, const RemoteRange&) = default;
};

}  // namespace pyscope
