#pragma once

#include <sys/user.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "pyscope/address.hpp"

namespace pyscope {

/// A system call that a thread was blocked in when it was made to stand still.
struct InterruptedCall {
  std::int64_t number = -1;
  std::array<std::uint64_t, 6> arguments{};
};

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
  /// Nothing if the thread was running, or its system call had an answer already: a call that was
  /// blocked has one that says how to go on with it (include/linux/errno.h), or EINTR.
  [[nodiscard]] std::optional<InterruptedCall> interrupted_call() const {
    if (static_cast<std::int64_t>(raw.orig_rax) < 0 || !says_go_on(raw.rax)) return std::nullopt;
    return InterruptedCall{static_cast<std::int64_t>(raw.orig_rax),
                           {raw.rdi, raw.rsi, raw.rdx, raw.r10, raw.r8, raw.r9}};
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
  /// As on x86-64. The first argument is not known any more: the answer is in its register.
  [[nodiscard]] std::optional<InterruptedCall> interrupted_call() const {
    if (!says_go_on(raw.regs[0])) return std::nullopt;
    return InterruptedCall{static_cast<std::int64_t>(raw.regs[8]),
                           {0, raw.regs[1], raw.regs[2], raw.regs[3], raw.regs[4], raw.regs[5]}};
  }
#else
#error "the registers of this machine are needed"
#endif

 private:
  static bool says_go_on(std::uint64_t answer) {
    switch (-static_cast<std::int64_t>(answer)) {
      case EINTR:
      case 512:  // ERESTARTSYS
      case 513:  // ERESTARTNOINTR
      case 514:  // ERESTARTNOHAND
      case 516:  // ERESTART_RESTARTBLOCK
        return true;
      default:
        return false;
    }
  }
};

}  // namespace pyscope
