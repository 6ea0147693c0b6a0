#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "native/unwinder.hpp"
#include "process/maps.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// Copies the parts of many threads' stacks that unwinding needs. The threads stand still
/// meanwhile, so it takes as few reads as possible.
class StackCopier {
 public:
  /// Beyond the entry frame that lies furthest out, or the stack pointer: what was called before
  /// Python was, or where there is no Python, at the most.
  static constexpr std::uint64_t kBeyond = std::uint64_t{64} << 10U;
  /// The most bytes of one thread: as large as stacks are on most systems.
  // Bound (bytes): native stack of a thread
  static constexpr std::uint64_t kMaxPiece = std::uint64_t{8} << 20U;
  /// The most bytes for all threads together.
  // Bound (bytes): native stacks of all threads
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{128} << 20U;

  /// `maps` are in the order of their addresses. `budget` is what may still be copied, in bytes;
  /// what this takes is taken off it.
  StackCopier(std::span<const Mapping> maps, std::uint64_t& budget)
      : maps_(maps), budget_(budget) {}

  /// Wants the stack at the state's registers and around these addresses, which may lie on another
  /// stack (of signal handlers). `state` must stay where it is until copy().
  void add(NativeState& state, std::span<const RemoteAddr> entries);

  /// Copies the stacks. A part that can't be read is left out from its first such byte on.
  void copy(const Memory& memory);

 private:
  void want(NativeState& state, RemoteAddr begin, RemoteAddr last);

  std::span<const Mapping> maps_;
  struct Wanted {
    NativeState* state;
    RemoteRange range;
  };
  std::vector<Wanted> wanted_;
  std::uint64_t& budget_;
};

}  // namespace pyscope
