// Follows a thread's chain of interpreter frames, and proves that what was followed existed at one
// moment.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pyscope/memory.hpp"
#include "python/code.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// Who owns a frame's memory (enum _frameowner). Three and above are entries from C code: the C
/// stack in 3.13, the interpreter and (unused) the C stack in 3.14; only `previous` means anything
/// in them.
inline constexpr std::uint8_t kOwnedByThread = 0;
inline constexpr std::uint8_t kOwnedByGenerator = 1;
inline constexpr std::uint8_t kOwnedByFrameObject = 2;
inline constexpr std::uint8_t kFirstEntryOwner = 3;
inline constexpr std::uint8_t kLastOwner = 4;

struct RawFrame {
  RemoteAddr at;
  RemoteAddr previous;
  RemoteAddr executable;  // the code object; null for an entry frame, or if it was cleared
  RemoteAddr instruction;
  std::uint8_t owner = 0;
  /// The first two slots of locals: in a caller's frame they hold still, and tell two calls of one
  /// function apart.
  std::uint64_t local0 = 0;
  std::uint64_t local1 = 0;

  [[nodiscard]] bool is_entry() const { return owner >= kFirstEntryOwner; }
};

struct FrameWalk {
  std::vector<RawFrame> frames;  // innermost first, however the walk ended
  bool complete = false;  // it ended where a chain ends: at an entry frame with nothing behind it
  bool limited = false;   // it ended because enough frames were found
  std::string error;      // why it ended, if neither
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

/// Where a thread's stack begins and what surrounds it.
struct StackStart {
  RemoteAddr current_frame = {};  // null: no Python frames
  RemoteAddr base_frame = {};  // 3.15: the last frame of each chain, in the thread state; else null
  RemoteAddr chunk = {};       // newest data stack chunk, for reading ahead; may be null
  std::size_t max_frames = 0;  // of functions, entry frames not counted
};

/// One thread's walk. It stops where bytes are missing and goes on once they are there, so that the
/// walks of all threads share their reads.
class FrameWalker {
 public:
  /// No real stack is deeper; each frame costs us a few hundred bytes in the end.
  static constexpr std::size_t kMaxDepth = 1'000'000;
  /// For all threads together: what a target can make us hold.
  static constexpr std::size_t kMaxFramesInAll = 2'000'000;

  FrameWalker(const DebugOffsets& offsets, const StackStart& start);

  /// Goes on as far as the bytes allow. Returns the range that is missing, or nothing at the end.
  [[nodiscard]] std::optional<RemoteRange> advance(const FrameBytes& bytes);
  [[nodiscard]] std::size_t depth() const { return walk_.frames.size(); }
  /// Ends the walk before its end, if it hasn't ended yet.
  void give_up(const std::string& why) {
    if (!done_) end(why);
  }
  [[nodiscard]] FrameWalk take() { return std::move(walk_); }

 private:
  [[nodiscard]] std::optional<RawFrame> decode(RemoteAddr at, std::span<const std::byte> header);
  void end_in_a_loop();
  [[nodiscard]] RemoteRange range_to_read(const FrameBytes& bytes);
  void end(std::string error) {
    walk_.error = std::move(error);
    done_ = true;
  }

  const DebugOffsets& offsets_;
  StackStart start_;
  RemoteAddr next_;
  RemoteAddr chunk_;
  std::uint64_t read_ahead_ = 0;
  std::size_t functions_ = 0;
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

struct VerifiedWalk {
  FrameWalk walk;
  bool verified = false;
  /// Of a verified walk: what the code objects were that weren't known yet.
  std::unordered_map<std::uint64_t, CodeIdentity> codes;
  int attempts = 0;
  /// Of a walk that isn't verified: so many of its innermost frames were not the same each time
  /// they were looked at. The others, the outer ones, were.
  std::size_t moving = 0;
  /// Of a walk that isn't verified: whether it was the same each time, but no look was quick
  /// enough.
  bool too_slow = false;
};

/// What the tries to verify one stack may cost.
struct VerifyBudget {
  /// No try begins after this, but for the first one.
  std::chrono::steady_clock::time_point deadline;
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

/// Reads a thread's stack so that it is proven to have existed at one moment, while the thread may
/// be running. The frames are copied from the oldest to the newest, then the thread's pointer to
/// its current frame, then the frames again from the newest to the oldest. If the chain that begins
/// at that pointer is whole and is the same in both copies, then no frame of it was left or changed
/// between its first and its second copy, and the pointer was read in between.
///
/// But for one case: what was left and has come back meanwhile looks as if it had never been away.
/// Therefore
///
/// - a try counts only if it was as quick as such a copy should be: we may be interrupted in the
/// middle of it;
/// - frames that lie side by side in memory, as a function and what it calls do, are copied by one
/// run over that
///   memory, a caller some nanoseconds before its callee;
/// - two that don't (generators and what drives them, the ends of two chunks) must have looked the
/// same to each other
///   in many copies in a row.
///
/// The code objects are held to the same: known ones are for the caller to look at once more
/// (CodeTable::replaced), others are part of both copies.
///
/// Tried until it succeeds, the tries for one thread are used up, or the deadline has passed; once
/// at the least.
[[nodiscard]] VerifiedWalk walk_verified(const Memory& memory, const DebugOffsets& offsets,
                                         const CodeTable& codes, RemoteAddr thread_state,
                                         StackStart start, FrameWalk first,
                                         const VerifyBudget& budget);

}  // namespace pyscope
