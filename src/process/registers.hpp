#pragma once

#include <sys/user.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "pyscope/address.hpp"

namespace pyscope {

/// The general registers of a thread that stood still, as PTRACE_GETREGSET gives them
/// (NT_PRSTATUS).
struct Registers {
  user_regs_struct raw{};

  static constexpr std::size_t kWords = sizeof(user_regs_struct) / sizeof(std::uint64_t);

#if defined(__x86_64__)
  /// The name of the architecture in a recording. Only the same kind of processor can unwind a
  /// recording's native stacks.
  static constexpr const char* kArchitecture = "x86_64";
  [[nodiscard]] RemoteAddr pc() const {
    return RemoteAddr{raw.rip};
  }
  [[nodiscard]] RemoteAddr sp() const {
    return RemoteAddr{raw.rsp};
  }
  void set(RemoteAddr pc, RemoteAddr sp) {
    raw.rip = pc.raw();
    raw.rsp = sp.raw();
  }
  void set_frame_pointer(RemoteAddr at) {
    raw.rbp = at.raw();
  }
  /// Those that a function must give back as they were.
  [[nodiscard]] std::array<RemoteAddr, 6> preserved() const {
    return {RemoteAddr{raw.rbp}, RemoteAddr{raw.rbx}, RemoteAddr{raw.r12},
            RemoteAddr{raw.r13}, RemoteAddr{raw.r14}, RemoteAddr{raw.r15}};
  }
  /// A function without calls may use so many bytes below its stack pointer (System V ABI).
  static constexpr std::uint64_t kRedZone = 128;
#elif defined(__aarch64__)
  static constexpr const char* kArchitecture = "aarch64";
  [[nodiscard]] RemoteAddr pc() const {
    return RemoteAddr{raw.pc};
  }
  [[nodiscard]] RemoteAddr sp() const {
    return RemoteAddr{raw.sp};
  }
  void set(RemoteAddr pc, RemoteAddr sp) {
    raw.pc = pc.raw();
    raw.sp = sp.raw();
  }
  void set_frame_pointer(RemoteAddr at) {
    raw.regs[29] = at.raw();
  }
  /// Those that a function must give back as they were.
  [[nodiscard]] std::array<RemoteAddr, 6> preserved() const {
    return {RemoteAddr{raw.regs[29]}, RemoteAddr{raw.regs[19]}, RemoteAddr{raw.regs[20]},
            RemoteAddr{raw.regs[21]}, RemoteAddr{raw.regs[22]}, RemoteAddr{raw.regs[23]}};
  }
  static constexpr std::uint64_t kRedZone = 0;
#else
#error "the registers of this machine are needed"
#endif
};

}  // namespace pyscope
