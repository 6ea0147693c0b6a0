#include "python/frames.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "memory/page_cache.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kLocalsRead = 16;  // two slots
constexpr std::size_t kMaxFrameHeader = 256;

std::uint64_t header_size(const DebugOffsets& offsets) {
  return std::min<std::uint64_t>(offsets[Field::FrameLocalsplus] + kLocalsRead, kMaxFrameHeader);
}

template <class T>
T value_in(std::span<const std::byte> bytes, std::uint64_t offset) {
  T value{};
  if (offset + sizeof value <= bytes.size()) {
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  }
  return value;
}

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
    : offsets_(offsets), start_(start), next_(start.current_frame), chunk_(start.chunk) {
  if (!next_) {
    walk_.complete = true;
    done_ = true;
  }
}

std::optional<RemoteRange> FrameWalker::advance(const FrameBytes& bytes) {
  std::array<std::byte, kMaxFrameHeader> buffer{};
  const auto header = std::span{buffer}.first(header_size(offsets_));
  while (!done_) {
    if (!next_.is_plausible_pointer()) {
      end(fmt::format("the frame's caller is given as {:#x}, which is no address of a frame",
                      next_.raw()));
      break;
    }
    if (walk_.frames.size() >= kMaxDepth) {
      end(fmt::format("there are more than {} frames", kMaxDepth));
      break;
    }
    const ReadStatus status = bytes.try_read(next_, header);
    if (status == ReadStatus::Pending) return range_to_read(bytes);
    if (status != ReadStatus::Ok) {
      end("the frame's caller can't be read: " + read_error(status, next_, header.size()).message);
      break;
    }
    if (!seen_.insert(next_.raw()).second) {
      end(fmt::format("the chain of frames leads back to the frame at {:#x}", next_.raw()));
      break;
    }
    const auto frame = decode(next_, header);
    if (!frame) break;
    // The base frame that 3.15 puts at the end of each chain is no entry from C.
    if (frame->at != start_.base_frame || !frame->is_entry()) walk_.frames.push_back(*frame);
    if (!frame->previous) {
      const bool whole =
          frame->is_entry() && (!start_.base_frame || frame->at == start_.base_frame);
      if (!whole) {
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

std::optional<RawFrame> FrameWalker::decode(RemoteAddr at, std::span<const std::byte> header) {
  RawFrame frame;
  frame.at = at;
  frame.previous = RemoteAddr{value_in<std::uint64_t>(header, offsets_[Field::FramePrevious])};
  frame.owner = value_in<std::uint8_t>(header, offsets_[Field::FrameOwner]);
  if (frame.owner > kLastOwner || frame.owner == kOwnedByFrameObject) {
    end(fmt::format("the frame at {:#x} has the owner {}, which no running frame has", at.raw(),
                    frame.owner));
    return std::nullopt;
  }
  if (frame.is_entry()) return frame;
  std::uint64_t executable = value_in<std::uint64_t>(header, offsets_[Field::FrameExecutable]);
  if (offsets_.layout().tagged_references) {
    // _PyStackRef: two tag bits, 01 for a reference that isn't counted; null is a tag without a
    // pointer.
    constexpr std::uint64_t kTags = 3;
    executable &= ~kTags;
  }
  frame.executable = RemoteAddr{executable};
  frame.instruction = RemoteAddr{value_in<std::uint64_t>(header, offsets_[Field::FrameInstrPtr])};
  frame.local0 = value_in<std::uint64_t>(header, offsets_[Field::FrameLocalsplus]);
  frame.local1 = value_in<std::uint64_t>(header, offsets_[Field::FrameLocalsplus] + 8);
  return frame;
}

// A thread's own frames lie one after the other in chunks (struct _PyStackChunk: previous, size,
// top, then the frames), the caller below what it calls: reading ahead means downwards, to the
// start of the chunk.
RemoteRange FrameWalker::range_to_read(const FrameBytes& bytes) {
  constexpr std::uint64_t kMaxChunk = std::uint64_t{16} << 20U;
  constexpr std::uint64_t kMaxReadAhead = std::uint64_t{256} << 10U;
  const RemoteRange just_this{next_, header_size(offsets_)};
  const auto in_chunk = [&](RemoteAddr chunk) {
    return chunk.is_plausible_pointer() && next_ >= chunk && next_.raw() - chunk.raw() < kMaxChunk;
  };
  if (!in_chunk(chunk_)) {
    // The walk may have come to an older chunk, which the header of the last one names.
    std::array<std::byte, 8> previous{};
    if (!chunk_ || bytes.try_read(chunk_, previous) != ReadStatus::Ok) return just_this;
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
  do {
    missing.clear();
    waiting.clear();
    std::size_t frames = 0;
    for (FrameWalker& walker : walkers) {
      if (frames > FrameWalker::kMaxFramesInAll) {
        walker.give_up(fmt::format("the process has more than {} frames in all",
                                   FrameWalker::kMaxFramesInAll));
      }
      if (const auto range = walker.advance(bytes)) {
        missing.push_back(*range);
        waiting.push_back(&walker);
      }
      frames += walker.depth();
    }
    cache.fetch(missing);
    // What a fetch leaves out (the budget) would be missing for ever. The frame that a walker waits
    // for is at the end of its range, above what is read ahead.
    std::array<std::byte, kMaxFrameHeader> buffer{};
    const auto header = std::span{buffer}.first(header_size(offsets));
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

namespace {

/// Two copies of the same pieces of memory.
class TwoCopies {
 public:
  /// The pieces in ascending order of their addresses don't overlap.
  explicit TwoCopies(std::vector<RemoteRange> pieces) : pieces_(std::move(pieces)) {
    std::size_t total = 0;
    for (const RemoteRange& piece : pieces_) {
      starts_.push_back(total);
      total += piece.size;
    }
    for (auto& copy : bytes_)
      copy.resize(total);
    for (auto& status : status_)
      status.resize(pieces_.size(), ReadStatus::Pending);
  }

  /// Reads `order` (indices of pieces), then `pointer`, then the pieces in the opposite order.
  [[nodiscard]] RemoteAddr read(const Memory& memory, const std::vector<std::size_t>& order,
                                RemoteAddr pointer) {
    std::uint64_t value = 0;
    std::vector<ReadRequest> requests;
    requests.reserve(order.size() * 2 + 1);
    for (const std::size_t piece : order)
      requests.push_back(request(0, piece));
    requests.push_back({pointer, std::as_writable_bytes(std::span{&value, 1})});
    for (auto piece = order.rbegin(); piece != order.rend(); ++piece) {
      requests.push_back(request(1, *piece));
    }
    memory.read_many(requests);
    for (std::size_t i = 0; i < order.size(); ++i) {
      status_[0][order[i]] = requests[i].status;
      status_[1][order[i]] = requests[requests.size() - 1 - i].status;
    }
    pointer_status_ = requests[order.size()].status;
    return RemoteAddr{value};
  }
  [[nodiscard]] ReadStatus pointer_status() const { return pointer_status_; }

  class Copy final : public FrameBytes {
   public:
    Copy(const TwoCopies& copies, std::size_t which) : copies_(copies), which_(which) {}
    [[nodiscard]] ReadStatus try_read(RemoteAddr at, std::span<std::byte> out) const override {
      return copies_.try_read(which_, at, out);
    }

   private:
    const TwoCopies& copies_;
    std::size_t which_;
  };

 private:
  [[nodiscard]] ReadRequest request(std::size_t copy, std::size_t piece) {
    return {pieces_[piece].start,
            std::span{bytes_[copy]}.subspan(starts_[piece], pieces_[piece].size)};
  }
  [[nodiscard]] ReadStatus try_read(std::size_t copy, RemoteAddr at,
                                    std::span<std::byte> out) const {
    auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), at,
                                  [](RemoteAddr a, const RemoteRange& r) { return a < r.start; });
    if (piece == pieces_.begin()) return ReadStatus::Pending;
    --piece;
    const std::uint64_t offset = at.raw() - piece->start.raw();
    if (offset > piece->size || out.size() > piece->size - offset) return ReadStatus::Pending;
    const auto index = static_cast<std::size_t>(piece - pieces_.begin());
    if (status_[copy][index] != ReadStatus::Ok) return status_[copy][index];
    std::memcpy(out.data(), bytes_[copy].data() + starts_[index] + offset, out.size());
    return ReadStatus::Ok;
  }

  std::vector<RemoteRange> pieces_;
  std::vector<std::size_t> starts_;
  std::array<std::vector<std::byte>, 2> bytes_;
  std::array<std::vector<ReadStatus>, 2> status_;
  ReadStatus pointer_status_ = ReadStatus::Pending;
};

struct Pieces {
  std::vector<RemoteRange> ranges;  // ascending, disjoint
  std::vector<std::size_t> order;   // the indices, the piece with the oldest frame first
};

// What to copy for a stack that looked like `walk`: its frames, those that lie close together as
// one piece, and some room above the newest one, for calls that are made meanwhile.
Pieces pieces_of(const FrameWalk& walk, const StackStart& start, std::uint64_t frame_size) {
  constexpr std::uint64_t kMaxGap = 512;  // locals and evaluation stack between two frames
  constexpr std::uint64_t kRoomAbove = 1024;
  struct Piece {
    RemoteRange range;
    std::size_t oldest;  // position of its oldest frame in the chain
  };
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < walk.frames.size(); ++i) {
    pieces.push_back({{walk.frames[i].at, frame_size}, i});
  }
  if (start.base_frame) pieces.push_back({{start.base_frame, frame_size}, walk.frames.size()});
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.range.start < b.range.start; });
  std::vector<Piece> merged;
  for (const Piece& piece : pieces) {
    if (!merged.empty()) {
      RemoteRange& last = merged.back().range;
      const std::uint64_t last_end = last.start.raw() + last.size;
      if (piece.range.start.raw() <= last_end + kMaxGap) {
        const std::uint64_t end = std::max(last_end, piece.range.start.raw() + piece.range.size);
        last.size = end - last.start.raw();
        merged.back().oldest = std::max(merged.back().oldest, piece.oldest);
        continue;
      }
    }
    merged.push_back(piece);
  }
  // The room never reaches into the next page, which may be missing.
  for (std::size_t i = 0; i < merged.size(); ++i) {
    RemoteRange& range = merged[i].range;
    if (!range.contains(start.current_frame)) continue;
    const std::uint64_t end = range.start.raw() + range.size;
    const std::uint64_t page_end =
        (end + PageCache::kPageSize - 1) / PageCache::kPageSize * PageCache::kPageSize;
    std::uint64_t limit = std::min(end + kRoomAbove, page_end);
    if (i + 1 < merged.size()) limit = std::min(limit, merged[i + 1].range.start.raw());
    range.size = std::max(limit, end) - range.start.raw();
  }
  Pieces result;
  std::vector<std::pair<std::size_t, std::size_t>> by_age;  // (oldest frame, index)
  for (std::size_t i = 0; i < merged.size(); ++i) {
    result.ranges.push_back(merged[i].range);
    by_age.emplace_back(merged[i].oldest, i);
  }
  std::sort(by_age.rbegin(), by_age.rend());
  for (const auto& [oldest, index] : by_age)
    result.order.push_back(index);
  return result;
}

// Whether both copies show one and the same stack. The innermost frame runs: its instruction and
// its locals change without the stack changing.
bool same_stack(const FrameWalk& a, const FrameWalk& b) {
  if (a.frames.size() != b.frames.size() || a.complete != b.complete || a.limited != b.limited) {
    return false;
  }
  bool running = true;
  for (std::size_t i = 0; i < a.frames.size(); ++i) {
    const RawFrame& x = a.frames[i];
    const RawFrame& y = b.frames[i];
    if (x.at != y.at || x.previous != y.previous || x.owner != y.owner) return false;
    if (x.is_entry()) continue;
    if (x.executable != y.executable || !x.executable) return false;
    if (!running &&
        (x.instruction != y.instruction || x.local0 != y.local0 || x.local1 != y.local1)) {
      return false;
    }
    running = false;
  }
  return true;
}

bool runs_its_code(const RawFrame& frame, std::uint64_t units, const DebugOffsets& offsets) {
  const RemoteAddr first = frame.executable + offsets[Field::CodeCoCodeAdaptive];
  return frame.instruction >= first && frame.instruction.raw() - first.raw() < 2 * units;
}

// A call writes the new frame's code object before its instruction pointer, so that either copy of
// the innermost frame may hold the instruction of a call that lay at the same place before. Keeps
// the one that is within its code; false if neither is.
bool settle_instruction(const Memory& memory, const DebugOffsets& offsets, FrameWalk& earlier,
                        const FrameWalk& later) {
  for (std::size_t i = 0; i < earlier.frames.size(); ++i) {
    RawFrame& frame = earlier.frames[i];
    if (frame.is_entry()) continue;
    const auto units =
        read_as<std::uint64_t>(memory, frame.executable, offsets.layout().code_units);
    if (!units) return false;
    if (runs_its_code(later.frames[i], *units, offsets)) {
      frame.instruction = later.frames[i].instruction;
    }
    return runs_its_code(frame, *units, offsets);
  }
  return true;
}

FrameWalk walk_copy(const DebugOffsets& offsets, const StackStart& start, const FrameBytes& bytes) {
  FrameWalker walker(offsets, start);
  if (walker.advance(bytes)) {
    FrameWalk walk = walker.take();
    walk.error = "the stack changed while it was read";
    return walk;
  }
  return walker.take();
}

}  // namespace

VerifiedWalk walk_verified(const Memory& memory, const DebugOffsets& offsets,
                           RemoteAddr thread_state, StackStart start, FrameWalk first,
                           std::chrono::steady_clock::time_point deadline) {
  constexpr int kMaxAttempts = 60;
  const RemoteAddr pointer = thread_state + offsets[Field::ThreadCurrentFrame];
  VerifiedWalk result{std::move(first), false, 0};
  while (result.attempts < kMaxAttempts &&
         (result.attempts == 0 || std::chrono::steady_clock::now() < deadline)) {
    ++result.attempts;
    const Pieces pieces = pieces_of(result.walk, start, header_size(offsets));
    TwoCopies copies(pieces.ranges);
    start.current_frame = copies.read(memory, pieces.order, pointer);
    if (copies.pointer_status() != ReadStatus::Ok) {
      result.walk.error = read_error(copies.pointer_status(), pointer, 8).message;
      return result;
    }
    FrameWalk earlier = walk_copy(offsets, start, TwoCopies::Copy(copies, 0));
    const FrameWalk later = walk_copy(offsets, start, TwoCopies::Copy(copies, 1));
    if ((earlier.complete || earlier.limited) && same_stack(earlier, later) &&
        settle_instruction(memory, offsets, earlier, later)) {
      result.walk = std::move(earlier);
      result.verified = true;
      return result;
    }
    // The stack has moved: learn where it is now, and try again.
    const PageCache fresh(memory);
    result.walk = std::move(walk_frames(fresh, offsets, {start}).front());
  }
  return result;
}

}  // namespace pyscope
