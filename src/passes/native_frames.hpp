// Native frames of threads whose registers and stacks were copied: unwound, named, and put between
// the Python frames.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "frames/walker.hpp"
#include "memory/budgeted_memory.hpp"
#include "memory/page_cache.hpp"
#include "native/mapped_images.hpp"
#include "native/symbols.hpp"
#include "native/unwinder.hpp"
#include "passes/draft.hpp"
#include "process/maps.hpp"
#include "pyscope/capture.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

class NativeFrames {
 public:
  /// The arguments must outlive this. The locations of the frames go into `locations`.
  NativeFrames(const BudgetedMemory& memory, const Target& target, const Runtime& runtime,
               std::span<const Mapping> maps, Native mode, std::vector<NativeLocation>& locations,
               const Log& log);

  /// Puts the thread's native frames between its Python frames. `chain` is what those are in the
  /// target's memory, one for each, and is kept that way: empty for a native frame.
  void add(Thread& thread, std::vector<RawFrame>& chain, const NativeState& state);

 private:
  [[nodiscard]] std::uint32_t location_of(const UnwoundFrame& frame);
  [[nodiscard]] bool is_interpreter(RemoteAddr instruction) const;
  [[nodiscard]] std::vector<bool> find_folded(const struct MergedStack& merged,
                                              const NativeWalk& walk);

  Native mode_;
  std::vector<NativeLocation>& locations_;
  PageCache cache_;
  MappedImages images_;
  NativeSymbols symbols_;
  Unwinder unwinder_;
  const Mapping* interpreter_;  // the file that holds _PyRuntime; null: not mapped from a file
  std::map<RemoteAddr, std::uint32_t> known_;  // locations by the instruction
};

/// The pass: native frames of all threads whose native states were taken, the threads that run no
/// Python, and the limit on frames. `located` is what the pass goes on with: the snapshot's threads
/// with their places in memory.
void add_native_frames(Draft& draft, std::vector<std::vector<RawFrame>>& chains);

}  // namespace pyscope
