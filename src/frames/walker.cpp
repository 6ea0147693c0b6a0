#include "frames/walker.hpp"

#include <fmt/core.h>
#include <tsl/robin_set.h>

#include <algorithm>
#include <array>
#include <bit>

#include "memory/page_cache.hpp"

namespace pyscope {
namespace {

class CachedFrames final : public FrameBytes {
 public:
  explicit CachedFrames(const PageCache& cache) : cache_(cache) {}
  [[nodiscard]] ReadStatus try_read(RemoteAddr at, std::span<std::byte> out) const override {
    return cache_.try_read(at, out);
  }

 private:
  const PageCache& cache_;
};

}  // namespace

FrameWalker::FrameWalker(const DebugOffsets& offsets, const StackStart& start)
    : offsets_(offsets),
      start_(start),
      next_(start.current_frame),
      cframe_(start.cframe),
      chunk_(start.chunk) {
  if (start.unreadable) {
    end("what the thread state refers to can't be read");
  } else if (!next_) {
    walk_.complete = true;
    done_ = true;
  }
}

std::optional<RemoteRange> FrameWalker::advance(const FrameBytes& bytes) {
  std::array<std::byte, kMaxFrameHeader> buffer{};
  const auto header = std::span{buffer}.first(frame_header_size(offsets_));
  while (!done_) {
    if (!next_.is_plausible_pointer()) {
      end(fmt::format("the frame's caller is given as {:#x}, which is no address of a frame",
                      next_.raw()));
      break;
    }
    if (walk_.frames.size() >= most_) {
      walk_.over_limit = true;
      end(most_ == kMaxDepth
              ? fmt::format("there are more than {} frames", kMaxDepth)
              : fmt::format("the process has more than {} frames in all", kMaxFramesInAll));
      break;
    }
    const ReadStatus status = bytes.try_read(next_, header);
    if (status == ReadStatus::Pending) return range_to_read(bytes);
    if (status != ReadStatus::Ok) {
      end("the frame's caller can't be read: " + read_error(status, next_, header.size()).message);
      break;
    }
    const auto frame = decode(next_, header);
    if (!frame) break;
    const bool suspended =
        start_.may_be_suspended && frame->owner == kOwnedByGenerator && !frame->previous;
    std::optional<RawFrame> entry;
    if (frame->called_from_c && !suspended) {
      entry.emplace();
      entry->at = frame->at;
      entry->previous = frame->previous;
      entry->owner = kFirstEntryOwner;
      if (const auto missing = pass_cframe(bytes, *entry)) return missing;
    }
    if (next_ == milestone_) {
      end_in_a_loop();
      break;
    }
    if (std::has_single_bit(++looked_at_)) milestone_ = next_;
    // The base frame that 3.15 puts at the end of each chain is no entry from C.
    if (frame->at != start_.base_frame || !frame->is_entry()) walk_.frames.push_back(*frame);
    if (entry) walk_.frames.push_back(*entry);
    if (!frame->previous) {
      const bool at_entry =
          entry || (frame->is_entry() && (!start_.base_frame || frame->at == start_.base_frame));
      if (!at_entry && !suspended) {
        end("the chain of frames ends in the middle of the stack");
        break;
      }
      walk_.complete = true;
      done_ = true;
    } else if (!frame->is_entry() && ++functions_ >= start_.max_frames) {
      walk_.limited = true;
      done_ = true;
    }
    next_ = frame->previous;
  }
  return std::nullopt;
}

/// An entry from C in 3.11 has no frame of its own. It lies where the evaluation loop that was
/// entered has its _PyCFrame. Returns the range that is missing to pass on to that of the next
/// loop.
std::optional<RemoteRange> FrameWalker::pass_cframe(const FrameBytes& bytes, RawFrame& entry) {
  if (!cframe_) return std::nullopt;
  const RemoteAddr at = cframe_ + offsets_[Field::CframePrevious];
  std::array<std::byte, sizeof(std::uint64_t)> pointer{};
  const ReadStatus status = bytes.try_read(at, pointer);
  if (status == ReadStatus::Pending) {
    // Of the size of all ranges, with what is waited for at their end.
    const std::uint64_t before = frame_header_size(offsets_) - pointer.size();
    return RemoteRange{RemoteAddr{at.raw() - before}, before + pointer.size()};
  }
  entry.at = cframe_;
  const RemoteAddr previous{value_in<std::uint64_t>(pointer, 0)};
  cframe_ = status == ReadStatus::Ok && previous.is_plausible_pointer() ? previous : RemoteAddr{};
  return std::nullopt;
}

void FrameWalker::end_in_a_loop() {
  // The loop was gone round more than once before it was noticed: keep each of its frames once.
  tsl::robin_set<std::uint64_t> seen;
  const auto again =
      std::find_if(walk_.frames.begin(), walk_.frames.end(), [&](const RawFrame& frame) {
        // Where functions say that C code called them, their entries are the walker's own.
        if (frame.is_entry() && offsets_.has(Field::FrameIsEntry)) return false;
        return !seen.insert(frame.at.raw()).second;
      });
  const RemoteAddr back = again == walk_.frames.end() ? next_ : again->at;
  walk_.frames.erase(again, walk_.frames.end());
  end(fmt::format("the chain of frames leads back to the frame at {:#x}", back.raw()));
}

std::optional<RawFrame> FrameWalker::decode(RemoteAddr at, std::span<const std::byte> header) {
  const RawFrame frame = decode_frame(offsets_, at, header);
  if (frame.owner > kLastOwner || frame.owner == kOwnedByFrameObject) {
    end(fmt::format("the frame at {:#x} has the owner {}, which no running frame has", at.raw(),
                    frame.owner));
    return std::nullopt;
  }
  return frame;
}

// A thread's own frames lie one after the other in chunks (struct _PyStackChunk: previous, size,
// top, then the frames), the caller below what it calls: reading ahead means downwards, to the
// start of the chunk.
RemoteRange FrameWalker::range_to_read(const FrameBytes& bytes) {
  constexpr std::uint64_t kMaxChunk = std::uint64_t{16} << 20U;
  constexpr std::uint64_t kMaxReadAhead = std::uint64_t{256} << 10U;
  const RemoteRange just_this{next_, frame_header_size(offsets_)};
  const auto in_chunk = [&](RemoteAddr chunk) {
    return chunk.is_plausible_pointer() && next_ >= chunk && next_.raw() - chunk.raw() < kMaxChunk;
  };
  if (!in_chunk(chunk_)) {
    // The walk may have come to an older chunk, which the header of the last one names.
    std::array<std::byte, 8> previous{};
    if (!chunk_ ||
        bytes.try_read(chunk_ + offsets_[Field::StackChunkPrevious], previous) != ReadStatus::Ok)
      return just_this;
    const RemoteAddr older{value_in<std::uint64_t>(previous, 0)};
    if (!in_chunk(older)) return just_this;
    chunk_ = older;
  }
  read_ahead_ = std::clamp<std::uint64_t>(read_ahead_ * 2, 4096, kMaxReadAhead);
  const std::uint64_t below = std::min(read_ahead_, next_.raw() - chunk_.raw());
  return {RemoteAddr{next_.raw() - below}, below + just_this.size};
}

std::vector<FrameWalk> walk_frames(const PageCache& cache, const DebugOffsets& offsets,
                                   const std::vector<StackStart>& starts) {
  const CachedFrames bytes(cache);
  std::vector<FrameWalker> walkers;
  walkers.reserve(starts.size());
  for (const StackStart& start : starts)
    walkers.emplace_back(offsets, start);
  std::vector<RemoteRange> missing;
  std::vector<FrameWalker*> waiting;  // for each of these ranges
  std::size_t frames = 0;  // of all walkers; those of a loop count as often as it was gone round
  do {
    missing.clear();
    waiting.clear();
    for (FrameWalker& walker : walkers) {
      const std::size_t before = walker.depth();
      walker.allow(before + FrameWalker::kMaxFramesInAll - frames);
      if (const auto range = walker.advance(bytes)) {
        missing.push_back(*range);
        waiting.push_back(&walker);
      }
      frames += std::max(walker.depth(), before) - before;
    }
    cache.fetch(missing);
    // What a fetch leaves out (the budget) would be missing for ever. The frame that a walker waits
    // for is at the end of its range, above what is read ahead.
    std::array<std::byte, kMaxFrameHeader> buffer{};
    const auto header = std::span{buffer}.first(frame_header_size(offsets));
    for (std::size_t i = 0; i < missing.size(); ++i) {
      const RemoteAddr frame = missing[i].start + (missing[i].size - header.size());
      if (cache.try_read(frame, header) != ReadStatus::Pending) continue;
      waiting[i]->give_up(read_error(ReadStatus::OverBudget, frame, header.size()).message);
    }
  } while (!missing.empty());
  std::vector<FrameWalk> walks;
  walks.reserve(walkers.size());
  for (FrameWalker& walker : walkers)
    walks.push_back(walker.take());
  return walks;
}

}  // namespace pyscope
