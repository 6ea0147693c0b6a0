// Follows a chain of frames: a thread's, which ends at an entry frame, or a generator's, which may
// end with the generator that is suspended.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "frames/raw_frame.hpp"
#include "pyscope/memory.hpp"
#include "python/stack_start.hpp"

namespace pyscope {

struct FrameWalk {
  std::vector<RawFrame> frames;  // innermost first, however the walk ended
  // It ended where a chain ends: at an entry frame, or in a suspended generator, with nothing
  // behind.
  bool complete = false;
  bool limited = false;  // it ended because enough frames were found
  /// It ended because there are more frames than are read of a thread, or of all of them: to walk
  /// once more would lead no further.
  bool over_limit = false;
  std::string error;  // why it ended, if neither
};

/// The bytes that a walk reads, of which some may be missing for now.
class FrameBytes {
 public:
  virtual ~FrameBytes() = default;
  /// Pending: these bytes are missing, and nothing was read.
  [[nodiscard]] virtual ReadStatus try_read(RemoteAddr at, std::span<std::byte> out) const = 0;

 protected:
  FrameBytes() = default;
  FrameBytes(const FrameBytes&) = default;
  FrameBytes& operator=(const FrameBytes&) = default;
};

/// One chain's walk. It stops where bytes are missing and goes on once they are there, so that the
/// walks of all threads share their reads.
class FrameWalker {
 public:
  /// Each frame costs us a few hundred bytes in the end.
  // Bound: frames of a thread
  static constexpr std::size_t kMaxDepth = 250'000;
  /// For all threads together: what a target can make us hold.
  // Bound: frames of all threads
  static constexpr std::size_t kMaxFramesInAll = 300'000;

  FrameWalker(const DebugOffsets& offsets, const StackStart& start);

  /// Goes on as far as the bytes allow. Returns the range that is missing, or nothing at the end.
  [[nodiscard]] std::optional<RemoteRange> advance(const FrameBytes& bytes);
  [[nodiscard]] std::size_t depth() const { return walk_.frames.size(); }
  /// From here on the walk may have so many frames, of kMaxFramesInAll.
  void allow(std::size_t frames) { most_ = std::min(frames, kMaxDepth); }
  /// Ends the walk before its end, if it hasn't ended yet.
  void give_up(const std::string& why) {
    if (!done_) end(why);
  }
  [[nodiscard]] FrameWalk take() { return std::move(walk_); }

 private:
  [[nodiscard]] std::optional<RawFrame> decode(RemoteAddr at, std::span<const std::byte> header);
  void end_in_a_loop();
  [[nodiscard]] RemoteRange range_to_read(const FrameBytes& bytes);
  [[nodiscard]] std::optional<RemoteRange> pass_cframe(const FrameBytes& bytes, RawFrame& entry);
  void end(std::string error) {
    walk_.error = std::move(error);
    done_ = true;
  }

  const DebugOffsets& offsets_;
  StackStart start_;
  RemoteAddr next_;
  RemoteAddr cframe_;  // 3.11: of the evaluation loop that runs the next frames; null if not known
  RemoteAddr chunk_;
  std::uint64_t read_ahead_ = 0;
  std::size_t functions_ = 0;
  std::size_t most_ = kMaxDepth;
  bool done_ = false;
  // A torn or hostile chain can lead back into itself. It comes by this frame again then, which is
  // moved onwards at each power of two of the depth.
  RemoteAddr milestone_;
  std::uint64_t looked_at_ = 0;
  FrameWalk walk_;
};

/// Walks that share a page cache.
[[nodiscard]] std::vector<FrameWalk> walk_frames(const class PageCache& cache,
                                                 const DebugOffsets& offsets,
                                                 const std::vector<StackStart>& starts);

}  // namespace pyscope
