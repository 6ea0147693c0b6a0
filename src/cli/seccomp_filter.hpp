// A filter of system calls (seccomp) from rules that say which calls are allowed.
#pragma once

#include <linux/filter.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <vector>

namespace pyscope::cli {

/// A condition on one argument of a system call.
struct Check {
  enum class Kind : std::uint8_t {
    Bits,     // of an int: those of `mask` are `value`; the kernel doesn't look at the upper half
    Equal,    // an address
    AtLeast,  // an address
  };
  Kind kind = Kind::Bits;
  std::uint32_t argument = 0;
  std::uint64_t mask = 0;
  std::uint64_t value = 0;
};

template <class T>
Check bits(std::uint32_t argument, T mask, T value) {
  return {Check::Kind::Bits, argument, static_cast<std::uint32_t>(mask),
          static_cast<std::uint32_t>(value)};
}
template <class T>
Check is(std::uint32_t argument, T value) {
  return bits(argument, std::uint32_t{0xFFFFFFFF}, static_cast<std::uint32_t>(value));
}
inline Check is_address(std::uint32_t argument, const void* address) {
  return {Check::Kind::Equal, argument, 0, std::bit_cast<std::uint64_t>(address)};
}
inline Check is_above(std::uint32_t argument, const void* address) {
  return {Check::Kind::AtLeast, argument, 0, std::bit_cast<std::uint64_t>(address)};
}

using Checks = std::vector<Check>;  // all of them must hold

struct Rule {
  long call = 0;
  bool always = false;
  std::vector<Checks> ways = {};  // or any of these
  int error = EPERM;              // that it fails with otherwise
};

/// The program for the kernel that allows what the rules allow; all other calls fail with EPERM.
/// The rules are for different calls, in any order. Nothing if the program would be too long: a
/// jump that is cut would end in the middle of another rule.
[[nodiscard]] std::optional<std::vector<sock_filter>> compile_filter(std::vector<Rule> rules);

}  // namespace pyscope::cli
