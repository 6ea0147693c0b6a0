#include "frames/verified_walk.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "memory/page_cache.hpp"

namespace pyscope {
namespace {

struct Pieces {
  std::vector<RemoteRange> ranges;  // ascending, disjoint
  std::vector<std::size_t> order;   // the indices, the piece with the oldest frame first

  /// Of the piece that an address lies in; some index that no piece has if it lies in none.
  [[nodiscard]] std::size_t index_of(RemoteAddr at) const {
    const auto above =
        std::upper_bound(ranges.begin(), ranges.end(), at,
                         [](RemoteAddr a, const RemoteRange& range) { return a < range.start; });
    if (above == ranges.begin() || !(above - 1)->contains(at)) return ranges.size();
    return static_cast<std::size_t>(above - ranges.begin()) - 1;
  }
};

/// Whether two looks at a frame that waits for what it called saw the same.
bool same_caller(const RawFrame& a, const RawFrame& b) {
  if (a.at != b.at || a.previous != b.previous || a.owner != b.owner) return false;
  return a.is_entry() || (a.executable == b.executable && a.instruction == b.instruction &&
                          a.local0 == b.local0 && a.local1 == b.local1);
}

/// The same for the innermost frame. It runs: its instruction and its locals change without the
/// stack changing.
bool same_innermost(const RawFrame& a, const RawFrame& b) {
  return a.at == b.at && a.previous == b.previous && a.owner == b.owner &&
         a.executable == b.executable;
}

/// Two copies of the beginnings of code objects that aren't known yet.
class TwoCodeCopies {
 public:
  TwoCodeCopies(const DebugOffsets& offsets, const CodeTable& known, const FrameWalk& walk)
      : offsets_(offsets), each_(CodeIdentity::size(offsets)) {
    // A new call seldom brings more than one.
    constexpr std::size_t kMost = 64;
    for (const RawFrame& frame : walk.frames) {
      if (codes_.size() == kMost) break;
      if (!frame.is_entry() && frame.executable.is_plausible_pointer() &&
          !known.knows(frame.executable) &&
          std::find(codes_.begin(), codes_.end(), frame.executable) == codes_.end()) {
        codes_.push_back(frame.executable);
      }
    }
    for (auto& copy : bytes_)
      copy.resize(codes_.size() * each_);
  }

  [[nodiscard]] std::size_t size() const { return codes_.size(); }
  [[nodiscard]] ReadRequest request(std::size_t copy, std::size_t index) {
    return {codes_[index], std::span{bytes_[copy]}.subspan(index * each_, each_)};
  }
  /// Forgets one that couldn't be read.
  void drop(std::size_t index) { codes_[index] = RemoteAddr{}; }
  /// What it is in both copies; nothing if it isn't the same or wasn't copied.
  [[nodiscard]] std::optional<CodeIdentity> find(RemoteAddr code) const {
    const auto found = std::find(codes_.begin(), codes_.end(), code);
    if (found == codes_.end()) return std::nullopt;
    const auto at = static_cast<std::size_t>(found - codes_.begin()) * each_;
    const auto identity = CodeIdentity::decode(offsets_, std::span{bytes_[0]}.subspan(at, each_));
    if (CodeIdentity::decode(offsets_, std::span{bytes_[1]}.subspan(at, each_)) != identity) {
      return std::nullopt;
    }
    return identity;
  }

 private:
  const DebugOffsets& offsets_;
  std::uint64_t each_;
  std::vector<RemoteAddr> codes_;
  std::array<std::vector<std::byte>, 2> bytes_;
};

/// More copies of the innermost frames, where they lie side by side. One copy may show a function
/// of one moment with the caller of the next: where calls follow each other faster than two cache
/// lines are read, it does so now and then, and two copies do so by chance. All of these don't. The
/// pointer to the current frame is read between each two of them, and counts if it was the same
/// twice: had it been read once, an interrupt beside it would be enough for calls to come and go
/// unseen.
class InnermostLooks {
 public:
  static constexpr std::size_t kAll = 6;

  InnermostLooks(const DebugOffsets& offsets, const FrameWalk& walk, const Pieces& pieces)
      : offsets_(offsets) {
    constexpr std::size_t kMostFrames = 16;
    constexpr std::uint64_t kMostBytes = 2048;
    constexpr std::uint64_t kRoomAbove = 256;  // for one more call
    const RawFrame* innermost = nullptr;
    RemoteAddr outermost;
    std::size_t count = 0;
    for (const RawFrame& frame : walk.frames) {
      if (frame.is_entry()) continue;
      if (innermost == nullptr) innermost = &frame;
      if (pieces.index_of(frame.at) != pieces.index_of(innermost->at) || frame.at > innermost->at ||
          innermost->at.raw() - frame.at.raw() > kMostBytes || ++count > kMostFrames) {
        break;
      }
      outermost = frame.at;
    }
    const std::size_t piece = innermost == nullptr ? 0 : pieces.index_of(innermost->at);
    if (innermost == nullptr || piece >= pieces.ranges.size()) return;
    const std::uint64_t end =
        std::min(pieces.ranges[piece].start.raw() + pieces.ranges[piece].size,
                 innermost->at.raw() + frame_header_size(offsets) + kRoomAbove);
    range_ = {outermost, end - outermost.raw()};
    for (auto& copy : bytes_)
      copy.resize(range_.size);
  }

  [[nodiscard]] std::size_t size() const { return range_.size == 0 ? 0 : kAll; }
  [[nodiscard]] ReadRequest request(std::size_t look) { return {range_.start, bytes_[look]}; }

  /// Whether all looks show the innermost frames of this walk, as far as they lie in the same piece
  /// of memory.
  [[nodiscard]] bool show(const FrameWalk& walk, const Pieces& pieces) const {
    const RawFrame* innermost = nullptr;
    std::size_t seen = 0;
    for (const RawFrame& frame : walk.frames) {
      if (frame.is_entry()) continue;
      if (innermost != nullptr && pieces.index_of(frame.at) != pieces.index_of(innermost->at))
        break;
      const std::uint64_t size = frame_header_size(offsets_);
      if (!range_.contains(frame.at) ||
          range_.size - (frame.at.raw() - range_.start.raw()) < size) {
        // The innermost one and its caller must have been seen together.
        return seen >= 2;
      }
      for (const auto& copy : bytes_) {
        const RawFrame look = decode_frame(
            offsets_, frame.at, std::span{copy}.subspan(frame.at.raw() - range_.start.raw(), size));
        const bool same =
            innermost == nullptr ? same_innermost(look, frame) : same_caller(look, frame);
        if (!same) return false;
      }
      if (innermost == nullptr) innermost = &frame;
      ++seen;
    }
    return true;
  }

 private:
  const DebugOffsets& offsets_;
  RemoteRange range_;
  std::array<std::vector<std::byte>, kAll> bytes_;
};

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

  /// Reads the code, the pieces in `order` (of their indices), the innermost frames and `pointer`
  /// in turns, and then the pieces and the code in the opposite order. Returns what the pointer was
  /// most of the time.
  [[nodiscard]] RemoteAddr read(const Memory& memory, const std::vector<std::size_t>& order,
                                const FramePointer& pointer, TwoCodeCopies& code,
                                InnermostLooks& innermost) {
    std::array<std::uint64_t, InnermostLooks::kAll - 1> pointers{};
    std::array<std::uint64_t, InnermostLooks::kAll> cframes{};  // one more: before and behind each
    const std::size_t count = innermost.size() == 0 ? 1 : pointers.size();
    std::vector<ReadRequest> requests;
    requests.reserve((code.size() + order.size()) * 2 + innermost.size() + pointers.size() +
                     cframes.size());
    const auto look_at_cframe = [&](std::size_t i) {
      if (!pointer.cframe_at) return;
      requests.push_back(
          {pointer.cframe_at, std::as_writable_bytes(std::span{cframes}.subspan(i, 1))});
    };
    for (std::size_t i = 0; i < code.size(); ++i)
      requests.push_back(code.request(0, i));
    for (const std::size_t piece : order)
      requests.push_back(request(0, piece));
    const std::size_t middle = requests.size();
    look_at_cframe(0);
    for (std::size_t i = 0; i < count; ++i) {
      if (i < innermost.size()) requests.push_back(innermost.request(i));
      requests.push_back({pointer.at, std::as_writable_bytes(std::span{pointers}.subspan(i, 1))});
      look_at_cframe(i + 1);
    }
    if (innermost.size() != 0) requests.push_back(innermost.request(count));
    const std::size_t middle_end = requests.size();
    for (auto piece = order.rbegin(); piece != order.rend(); ++piece) {
      requests.push_back(request(1, *piece));
    }
    for (std::size_t i = code.size(); i-- > 0;)
      requests.push_back(code.request(1, i));
    memory.read_many(requests);
    for (std::size_t i = 0; i < order.size(); ++i) {
      status_[0][order[i]] = requests[code.size() + i].status;
      status_[1][order[i]] = requests[requests.size() - 1 - code.size() - i].status;
    }
    pointer_status_ = ReadStatus::Ok;
    for (const ReadRequest& request : std::span{requests}.subspan(middle, middle_end - middle)) {
      const bool is_pointer = request.at == pointer.at || request.at == pointer.cframe_at;
      if (is_pointer && request.status != ReadStatus::Ok) pointer_status_ = request.status;
    }
    const std::span seen = std::span{pointers}.first(count);
    const auto times = [&](std::uint64_t value) {
      return std::count(seen.begin(), seen.end(), value);
    };
    const std::uint64_t value =
        *std::max_element(seen.begin(), seen.end(),
                          [&](std::uint64_t a, std::uint64_t b) { return times(a) < times(b); });
    pointer_held_ = count == 1 || times(value) >= 2;
    if (pointer.cframe_at) {
      const std::span looks = std::span{cframes}.first(count + 1);
      pointer_held_ = pointer_held_ && std::all_of(looks.begin(), looks.end(), [&](auto cframe) {
                        return RemoteAddr{cframe} == pointer.cframe;
                      });
    }
    for (std::size_t i = 0; i < code.size(); ++i) {
      if (requests[i].status != ReadStatus::Ok ||
          requests[requests.size() - 1 - i].status != ReadStatus::Ok) {
        code.drop(i);
      }
    }
    return RemoteAddr{value};
  }
  [[nodiscard]] ReadStatus pointer_status() const { return pointer_status_; }
  /// Whether the pointer was that more than once, or was read only once.
  [[nodiscard]] bool pointer_held() const { return pointer_held_; }

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
  bool pointer_held_ = false;
};

// What to copy for a stack that looked like `walk`: its frames, those that lie close together as
// one piece, and some room above the newest one, for calls that are made meanwhile.
Pieces pieces_of(const FrameWalk& walk, const StackStart& start, std::uint64_t frame_size) {
  constexpr std::uint64_t kMaxGap = 512;  // locals and evaluation stack between two frames
  constexpr std::uint64_t kRoomAbove = 1024;
  constexpr std::uint64_t kPageSize = 4096;
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
    const std::uint64_t page_end = (end + kPageSize - 1) / kPageSize * kPageSize;
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

// Whether both copies show one and the same stack.
bool same_stack(const FrameWalk& a, const FrameWalk& b) {
  if (a.frames.size() != b.frames.size() || a.complete != b.complete || a.limited != b.limited) {
    return false;
  }
  bool running = true;
  for (std::size_t i = 0; i < a.frames.size(); ++i) {
    const RawFrame& x = a.frames[i];
    const RawFrame& y = b.frames[i];
    if (!x.is_entry() && !x.executable) return false;
    if (running && !x.is_entry()) {
      if (!same_innermost(x, y)) return false;
      running = false;
    } else if (!same_caller(x, y)) {
      return false;
    }
  }
  return true;
}

/// How many frames are the same in both, counted from the outer end; none if one has no such end.
std::size_t frames_in_common(const FrameWalk& a, const FrameWalk& b) {
  if (!a.complete || !b.complete) return 0;
  const auto [x, y] = std::mismatch(a.frames.rbegin(), a.frames.rend(), b.frames.rbegin(),
                                    b.frames.rend(), same_caller);
  return static_cast<std::size_t>(x - a.frames.rbegin());
}

/// How long the two copies take at the most if nothing comes in between: several times what was
/// measured (docs/performance.md).
std::chrono::steady_clock::duration expected_time(const Pieces& pieces, std::size_t codes) {
  std::uint64_t bytes = 0;
  for (const RemoteRange& range : pieces.ranges)
    bytes += 2 * range.size;
  constexpr std::uint64_t kCallNs = 15'000;
  constexpr std::uint64_t kRangeNs = 1'000;
  return std::chrono::nanoseconds(kCallNs + 2 * (pieces.ranges.size() + codes) * kRangeNs + bytes);
}

/// How often in a row each function and its caller looked the same, of those that don't lie in one
/// piece of memory.
class PairLooks {
 public:
  void look(const FrameWalk& walk, const Pieces& pieces) {
    std::unordered_map<std::uint64_t, Look> now;
    for_each_pair(walk, [&](const RawFrame& callee, const RawFrame& caller) {
      if (pieces.index_of(callee.at) == pieces.index_of(caller.at)) return;
      Look& look = now[callee.at.raw()];
      look = {callee.executable, caller, 1};
      const auto before = looks_.find(callee.at.raw());
      if (before != looks_.end() && before->second.callee == callee.executable &&
          same_caller(before->second.caller, caller)) {
        look.times = before->second.times + 1;
      }
    });
    looks_ = std::move(now);
  }

  /// Of the frames of the walk, how many lie inwards of the outermost pair that hasn't looked the
  /// same often enough, that pair included.
  [[nodiscard]] std::size_t unsettled(const FrameWalk& walk) const {
    // By chance, one look in two at the most shows a function of one moment with a caller of
    // another.
    constexpr int kOften = 8;
    std::size_t count = 0;
    for_each_pair(walk, [&](const RawFrame& callee, const RawFrame& caller) {
      const auto look = looks_.find(callee.at.raw());
      if (look == looks_.end() || look->second.times >= kOften) return;
      count = static_cast<std::size_t>(&caller - walk.frames.data()) + 1;
    });
    return count;
  }

 private:
  struct Look {
    RemoteAddr callee;  // the code
    RawFrame caller;
    int times = 0;
  };

  template <class Visit>
  static void for_each_pair(const FrameWalk& walk, const Visit& visit) {
    const RawFrame* callee = nullptr;
    for (const RawFrame& frame : walk.frames) {
      if (frame.is_entry()) continue;
      if (callee != nullptr) visit(*callee, frame);
      callee = &frame;
    }
  }

  std::unordered_map<std::uint64_t, Look> looks_;  // by the callee's frame
};

// A call writes the new frame's code object before its instruction pointer, so that either copy of
// the innermost frame may hold the instruction of a call that lay at the same place before. Keeps
// the one that is within its code; false if neither is.
bool settle_instruction(std::uint64_t units, const DebugOffsets& offsets, RawFrame& earlier,
                        const RawFrame& later) {
  const auto runs_its_code = [&](const RawFrame& frame) {
    return unit_of(offsets, frame.executable, units, frame.instruction).has_value();
  };
  if (runs_its_code(later)) earlier.instruction = later.instruction;
  return runs_its_code(earlier);
}

/// Whether the chain runs known code, or code that was copied and was the same in both copies,
/// which then is put into `found`; and the instruction of the innermost function lies in its own.
bool settle_code(const CodeTable& known, const TwoCodeCopies& copied, const DebugOffsets& offsets,
                 FrameWalk& earlier, const FrameWalk& later,
                 std::unordered_map<std::uint64_t, CodeIdentity>& found) {
  found.clear();
  bool innermost = true;
  for (std::size_t i = 0; i < earlier.frames.size(); ++i) {
    RawFrame& frame = earlier.frames[i];
    if (frame.is_entry()) continue;
    std::uint64_t units = 0;
    if (known.knows(frame.executable)) {
      units = known.identity(frame.executable).units;
    } else if (const auto identity = copied.find(frame.executable)) {
      found.emplace(frame.executable.raw(), *identity);
      units = identity->units;
    } else {
      return false;
    }
    if (innermost && !settle_instruction(units, offsets, frame, later.frames[i])) return false;
    innermost = false;
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

VerifiedWalk walk_verified(const BudgetedMemory& memory, const DebugOffsets& offsets,
                           const CodeTable& codes, RemoteAddr thread_state, StackStart start,
                           FrameWalk first, const VerifyBudget& budget) {
  constexpr int kMaxAttempts = 200;
  VerifiedWalk result;
  result.walk = std::move(first);
  result.moving = result.walk.frames.size();
  PairLooks pairs;
  auto fastest = std::chrono::steady_clock::duration::max();
  while (result.attempts < kMaxAttempts &&
         (result.attempts == 0 || budget.now() < budget.deadline)) {
    ++result.attempts;
    const Pieces pieces = pieces_of(result.walk, start, frame_header_size(offsets));
    TwoCopies copies(pieces.ranges);
    TwoCodeCopies code(offsets, codes, result.walk);
    InnermostLooks innermost(offsets, result.walk, pieces);
    const auto begin = budget.now();
    const auto pointer = find_frame_pointer(memory, offsets, thread_state);
    if (!pointer) {
      result.walk.error = pointer.error().message;
      result.moving = result.walk.frames.size();
      return result;
    }
    start.cframe = pointer->cframe;
    start.unreadable = false;
    start.current_frame = copies.read(memory, pieces.order, *pointer, code, innermost);
    const auto took = budget.now() - begin;
    if (copies.pointer_status() != ReadStatus::Ok) {
      result.walk.error = read_error(copies.pointer_status(), pointer->at, 8).message;
      result.moving = result.walk.frames.size();
      return result;
    }
    // A machine on which all copies are slow has its own measure.
    const bool quick =
        took <= expected_time(pieces, code.size()) || (result.attempts > 1 && took / 2 <= fastest);
    fastest = std::min(fastest, took);
    FrameWalk earlier = walk_copy(offsets, start, TwoCopies::Copy(copies, 0));
    const FrameWalk later = walk_copy(offsets, start, TwoCopies::Copy(copies, 1));
    if (quick) {
      pairs.look(earlier, pieces);
      pairs.look(later, pieces);
    }
    const bool same = copies.pointer_held() && (earlier.complete || earlier.limited) &&
                      same_stack(earlier, later) && innermost.show(earlier, pieces) &&
                      settle_code(codes, code, offsets, earlier, later, result.codes);
    result.too_slow = same && !quick;
    if (same) {
      result.walk = std::move(earlier);
      result.moving = quick ? pairs.unsettled(result.walk) : 0;
      result.verified = quick && result.moving == 0;
      if (result.verified) return result;
      continue;
    }
    // The stack has moved: learn where it is now, and try again.
    const FrameWalk before = std::move(result.walk);
    const PageCache fresh(memory);
    result.walk = std::move(walk_frames(fresh, offsets, {start}).front());
    std::size_t still = frames_in_common(before, result.walk);
    // A stack that grew beyond what was copied leaves the copies without a beginning.
    if (earlier.complete && later.complete) {
      still =
          std::min({still, frames_in_common(earlier, later), frames_in_common(later, result.walk)});
    }
    result.moving = result.walk.frames.size() - std::min(still, result.walk.frames.size());
  }
  return result;
}

}  // namespace pyscope
