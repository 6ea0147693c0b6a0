// Unwinds native stacks from a copy: registers and stack as they were while the thread stood still,
// and the unwinding tables from wherever the process's memory can still be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "native/eh_frame.hpp"
#include "native/mapped_images.hpp"
#include "process/registers.hpp"
#include "pyscope/address.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// A piece of a thread's stack, copied while the thread stood still.
struct StackPiece {
  RemoteAddr at;
  std::vector<std::byte> bytes;

  [[nodiscard]] RemoteRange range() const { return {at, bytes.size()}; }
};

/// All that has to be copied from a thread while the thread stands still.
struct NativeState {
  Registers registers;
  std::vector<StackPiece> stack;
};

/// One function that hasn't returned.
struct UnwoundFrame {
  RemoteAddr pc;
  /// Its part of the stack: from its stack pointer to its caller's. Empty if that isn't known, as
  /// for the outermost one, or where a signal handler has a stack of its own.
  RemoteRange stack;
  /// The pc is a return address: the call itself is before it, perhaps in another function.
  bool called = false;
  /// Guessed from what lies on the stack, because the frame before it belongs to code without
  /// unwinding information, such as a hand-written kernel.
  bool guessed = false;

  /// Made by the kernel: it has called the frame before it, a signal handler.
  bool signal = false;

  /// What the register for frame pointers held; null if that isn't known. Code without unwinding
  /// information has often left it to its callers.
  RemoteAddr frame_pointer = {};

  /// An address within the instruction that it is at.
  [[nodiscard]] RemoteAddr instruction() const {
    return called && pc ? RemoteAddr{pc.raw() - 1} : pc;
  }
};

struct NativeWalk {
  std::vector<UnwoundFrame> frames;  // innermost first
  std::string error;  // why the unwinding ended before the stack did; empty if it didn't
};

/// Where a function has no unwinding information, its caller is found by frame pointers, or else is
/// the nearest return address on the stack from which the rest can be unwound to its very end.
///
/// Not for several threads at a time.
class Unwinder {
 public:
  /// No real stack has more functions.
  // Bound: native frames of a thread
  static constexpr std::size_t kMaxDepth = 20'000;

  /// Return addresses that are tried on one stack where there is no unwinding information, how far
  /// they may be from the stack pointer, and how often a guess may follow from another.
  static constexpr std::size_t kMaxGuesses = 1024;
  static constexpr std::uint64_t kGuessWithin = std::uint64_t{128} << 10U;
  static constexpr int kMaxGuessesInARow = 1000;

  /// What is read for all stacks together: words, by libunwind. A hostile table leads nowhere for
  /// long.
  // Bound: words that are read to unwind all threads
  static constexpr std::size_t kMaxReads = 20'000'000;
  /// And for one frame: an expression in a table may loop.
  static constexpr std::size_t kMaxReadsOfStep = 200'000;

  /// `images` must outlive it.
  Unwinder(const Memory& memory, MappedImages& images, FindSection find_section = nullptr,
           FindTable find_table = nullptr);
  Unwinder(const Unwinder&) = delete;
  Unwinder& operator=(const Unwinder&) = delete;
  ~Unwinder();

  /// `entry_frames` are those of the thread's Python frames: each lies within the part of the stack
  /// of a function that does have unwinding information, the evaluation loop, so none is passed
  /// over where a caller has to be guessed.
  [[nodiscard]] NativeWalk walk(const NativeState& state,
                                std::span<const RemoteAddr> entry_frames = {});

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace pyscope
