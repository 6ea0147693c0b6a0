// walk_verified with a target that runs on between the reads: what changes, and when, is scripted.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "python/frames.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::FrameSpec;
using test::PagedMemory;
using test::PythonHeap;

namespace {

constexpr std::size_t kAll = 1U << 20U;
constexpr int kMaxAttempts = 60;

/// A thread in a function that was called by a function that was called by a function.
struct RunningThread {
  explicit RunningThread(int minor) : heap(minor) {
    const bool has_base = heap.offsets().publishes(Field::ThreadBaseFrame);
    code = heap.code();
    entry = heap.entry_frame();
    if (has_base) {
      base = entry;
      entry = heap.entry_frame(base);
    }
    chunk = heap.chunk(16384, RemoteAddr{});
    outer = chunk + 24;
    middle = outer + kFrameSize;
    inner = middle + kFrameSize;
    free_place = inner + kFrameSize;
    heap.put_frame(outer, {.code = code, .previous = entry, .unit = 3, .local0 = 30});
    heap.put_frame(middle, {.code = code, .previous = outer, .unit = 4, .local0 = 40});
    heap.put_frame(inner, {.code = code, .previous = middle, .unit = 5, .local0 = 50});
    thread =
        heap.thread(heap.interpreter(0), {.native_id = 1, .current_frame = inner, .chunk = chunk});
    current_frame = thread + heap.offsets()[Field::ThreadCurrentFrame];
  }

  [[nodiscard]] StackStart start() const {
    return {.current_frame = inner, .base_frame = base, .chunk = chunk, .max_frames = max_frames};
  }

  /// Reads the stack as it is at first, and then again and again while the script runs.
  VerifiedWalk verify(std::chrono::steady_clock::duration time = std::chrono::minutes(1)) {
    FrameWalk first;
    {
      const PageCache cache(heap.memory);
      first = walk_frames(cache, heap.offsets(), {start()}).front();
    }
    heap.memory.calls = 0;
    heap.memory.reads.clear();
    return walk_verified(heap.memory, heap.offsets(), thread, start(), std::move(first),
                         std::chrono::steady_clock::now() + time);
  }

  /// What the target does between the two copies: when the pointer to the current frame is read.
  /// `attempt` counts from 1.
  void between_copies(const std::function<void(int attempt)>& change) {
    heap.memory.before_read = [this, change, attempt = 0](RemoteAddr at) mutable {
      if (at == current_frame) change(++attempt);
    };
  }
  /// The same, in the first attempt only.
  void once(const std::function<void()>& change) {
    between_copies([change](int attempt) {
      if (attempt == 1) change();
    });
  }

  void set_current_frame(RemoteAddr frame) { heap.memory.put(current_frame, frame.raw()); }
  void set_unit(RemoteAddr frame, std::uint64_t unit) {
    heap.set(frame, Field::FrameInstrPtr, heap.first_unit(code) + 2 * unit);
  }
  void set_local(RemoteAddr frame, std::uint64_t slot, std::uint64_t value) {
    heap.memory.put(frame + heap.offsets()[Field::FrameLocalsplus] + 8 * slot, value);
  }
  [[nodiscard]] std::uint64_t unit_of(const RawFrame& frame) const {
    return (frame.instruction.raw() - heap.first_unit(code).raw()) / 2;
  }

  static constexpr std::uint64_t kFrameSize = 136;
  PythonHeap heap;
  RemoteAddr code;
  RemoteAddr base;
  RemoteAddr entry;
  RemoteAddr chunk;
  RemoteAddr outer;
  RemoteAddr middle;
  RemoteAddr inner;
  RemoteAddr free_place;
  RemoteAddr thread;
  RemoteAddr current_frame;
  std::size_t max_frames = kAll;
};

std::vector<RemoteAddr> addresses(const FrameWalk& walk) {
  std::vector<RemoteAddr> at;
  for (const RawFrame& frame : walk.frames)
    at.push_back(frame.at);
  return at;
}

}  // namespace

TEST_CASE("a stack that stands still is verified at once", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 1);
  CHECK(result.walk.complete);
  CHECK(addresses(result.walk) ==
        std::vector{target.inner, target.middle, target.outer, target.entry});
  CHECK(target.unit_of(result.walk.frames[0]) == 5);
  CHECK(target.unit_of(result.walk.frames[2]) == 3);
}

TEST_CASE("frames are copied from the oldest to the newest and back in one call", "[python]") {
  RunningThread target(15);
  CHECK(target.verify().verified);
  const std::vector<RemoteRange>& reads = target.heap.memory.reads;
  REQUIRE(reads.size() >= 5);
  // The base frame and the entry frame lie side by side, and so do the frames in the chunk.
  CHECK(reads[0].contains(target.base));
  CHECK(reads[0].contains(target.entry));
  CHECK(reads[1].contains(target.outer));
  CHECK(reads[1].contains(target.middle));
  CHECK(reads[1].contains(target.inner));
  CHECK(reads[2] == RemoteRange{target.current_frame, 8});
  CHECK(reads[3] == reads[1]);
  CHECK(reads[4] == reads[0]);
  // That, and the length of the code that runs.
  CHECK(target.heap.memory.calls == 2);
}

TEST_CASE("the innermost function may run on while it is read", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.once([&] {
    target.set_unit(target.inner, 9);
    target.set_local(target.inner, 0, 51);
    target.set_local(target.inner, 1, 52);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 1);
  const std::uint64_t unit = target.unit_of(result.walk.frames[0]);
  CHECK((unit == 5 || unit == 9));
}

TEST_CASE("a caller that ran between the copies was not there all the time", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  std::function<void()> change;
  SECTION("at another instruction") {
    change = [&] { target.set_unit(target.middle, 8); };
  }
  SECTION("with another first local") {
    change = [&] { target.set_local(target.middle, 0, 41); };
  }
  SECTION("with another second local") {
    change = [&] { target.set_local(target.middle, 1, 42); };
  }
  SECTION("the oldest one at another instruction") {
    change = [&] { target.set_unit(target.outer, 8); };
  }
  SECTION("another function at its place") {
    const RemoteAddr other = target.heap.code();
    change = [&target, other] { target.heap.set(target.middle, Field::FrameExecutable, other); };
  }
  SECTION("a generator at its place") {
    change = [&] { target.heap.set(target.middle, Field::FrameOwner, kOwnedByGenerator); };
  }
  target.once(change);
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 2);
  CHECK(result.walk.frames.size() == 4);
}

TEST_CASE("a return while the stack is read gives the shorter stack", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.once([&] {
    target.set_current_frame(target.middle);
    // What it left is overwritten sooner or later.
    for (std::uint64_t i = 0; i < 96; i += 8)
      target.heap.memory.put(target.inner + i, std::uint64_t{0xdddddddddddddddd});
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 1);
  CHECK(addresses(result.walk) == std::vector{target.middle, target.outer, target.entry});
}

TEST_CASE("a call while the stack is read is seen by the next try", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.once([&] {
    target.heap.put_frame(target.free_place,
                          {.code = target.code, .previous = target.inner, .unit = 2});
    target.set_current_frame(target.free_place);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 2);
  REQUIRE(result.walk.frames.size() == 5);
  CHECK(result.walk.frames[0].at == target.free_place);
}

TEST_CASE("functions that return and are called again are told apart by their locals", "[python]") {
  RunningThread target(14);
  target.between_copies([&](int attempt) {
    // The caller and the function that it called are others each time, at the same places.
    if (attempt > 5) return;
    target.set_local(target.middle, 0, 100 + static_cast<std::uint64_t>(attempt));
    target.set_local(target.inner, 0, 200 + static_cast<std::uint64_t>(attempt));
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 6);
  CHECK(result.walk.frames[1].local0 == 105);
}

TEST_CASE("a stack that moved to a new chunk is followed there", "[python]") {
  RunningThread target(14);
  const RemoteAddr chunk = target.heap.chunk(16384, target.chunk);
  target.once([&] {
    target.heap.put_frame(chunk + 24, {.code = target.code, .previous = target.inner, .unit = 2});
    target.set_current_frame(chunk + 24);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 2);
  CHECK(result.walk.frames.size() == 5);
}

TEST_CASE("a stack whose memory was freed is read again", "[python]") {
  RunningThread target(14);
  const RemoteAddr other = target.heap.frame({.code = target.code, .previous = target.entry});
  target.once([&] {
    target.set_current_frame(other);
    target.heap.memory.unmap(target.chunk);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 2);
  CHECK(addresses(result.walk) == std::vector{other, target.entry});
}

TEST_CASE("a thread that left Python while it was read has no frames", "[python]") {
  RunningThread target(14);
  target.once([&] { target.set_current_frame(RemoteAddr{}); });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.walk.frames.empty());
}

TEST_CASE("a stack that changes all the time is given up after so many tries", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.between_copies([&](int attempt) {
    target.set_unit(target.outer, static_cast<std::uint64_t>(attempt) % 10);
  });
  const VerifiedWalk result = target.verify();
  CHECK_FALSE(result.verified);
  CHECK(result.attempts == kMaxAttempts);
  CHECK(result.walk.frames.size() == 4);  // what was seen last is kept
}

TEST_CASE("after the deadline there is one more try and no other", "[python]") {
  RunningThread target(14);
  SECTION("and it may succeed") {
    const VerifiedWalk result = target.verify(-std::chrono::hours(1));
    CHECK(result.verified);
    CHECK(result.attempts == 1);
  }
  SECTION("or not") {
    target.between_copies([&](int attempt) {
      target.set_unit(target.outer, static_cast<std::uint64_t>(attempt) % 10);
    });
    const VerifiedWalk result = target.verify(-std::chrono::hours(1));
    CHECK_FALSE(result.verified);
    CHECK(result.attempts == 1);
  }
}

TEST_CASE("a thread whose memory is gone is not tried again", "[python]") {
  RunningThread target(14);
  std::string reason;
  SECTION("with its process") {
    target.once([&] { target.heap.memory.answer = ReadStatus::Gone; });
    reason = "the process has ended";
  }
  SECTION("alone") {
    target.once([&] { target.heap.memory.unmap(target.current_frame); });
    reason = "not readable";
  }
  const VerifiedWalk result = target.verify();
  CHECK_FALSE(result.verified);
  CHECK(result.attempts == 1);
  CHECK_THAT(result.walk.error, Catch::Contains(reason));
}

TEST_CASE("a chain that is broken for good is never verified", "[python]") {
  RunningThread target(14);
  std::string reason;
  SECTION("by a caller that can not be read") {
    target.heap.set(target.outer, Field::FramePrevious, RemoteAddr{0x7e0000000000});
    reason = "not readable";
  }
  SECTION("by a loop") {
    target.heap.set(target.outer, Field::FramePrevious, target.inner);
    reason = "leads back";
  }
  SECTION("by its end in the middle") {
    target.heap.set(target.outer, Field::FramePrevious, RemoteAddr{});
    reason = "ends in the middle";
  }
  const VerifiedWalk result = target.verify();
  CHECK_FALSE(result.verified);
  CHECK(result.attempts == kMaxAttempts);
  CHECK_THAT(result.walk.error, Catch::Contains(reason));
  CHECK(addresses(result.walk) == std::vector{target.inner, target.middle, target.outer});
}

TEST_CASE("a chain that was broken for a moment is verified later", "[python]") {
  RunningThread target(14);
  target.heap.set(target.outer, Field::FramePrevious, RemoteAddr{0xdddddddddddddddd});
  target.between_copies([&](int attempt) {
    if (attempt == 3) target.heap.set(target.outer, Field::FramePrevious, target.entry);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 4);
  CHECK(result.walk.error.empty());
  CHECK(result.walk.frames.size() == 4);
}

TEST_CASE("frames without code are not believed", "[python]") {
  RunningThread target(14);
  target.heap.set(target.middle, Field::FrameExecutable, std::uint64_t{1});
  CHECK_FALSE(target.verify().verified);
}

TEST_CASE("of two instructions the one that lies within the code is kept", "[python]") {
  RunningThread target(14);
  const RemoteAddr foreign = target.heap.first_unit(target.heap.code());
  SECTION("the later one") {
    target.heap.set(target.inner, Field::FrameInstrPtr, foreign);
    target.once([&] { target.set_unit(target.inner, 7); });
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 1);
    CHECK(target.unit_of(result.walk.frames[0]) == 7);
  }
  SECTION("the earlier one") {
    target.once([&] { target.heap.set(target.inner, Field::FrameInstrPtr, foreign); });
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 1);
    CHECK(target.unit_of(result.walk.frames[0]) == 5);
  }
  SECTION("none") {
    target.heap.set(target.inner, Field::FrameInstrPtr, foreign);
    CHECK_FALSE(target.verify().verified);
  }
}

TEST_CASE("only the wanted frames need to stand still", "[python]") {
  RunningThread target(14);
  target.max_frames = 2;
  target.between_copies([&](int attempt) {
    target.set_unit(target.outer, static_cast<std::uint64_t>(attempt) % 10);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 1);
  CHECK(result.walk.limited);
  CHECK(addresses(result.walk) == std::vector{target.inner, target.middle});
}

TEST_CASE("a current frame that is no address is not believed", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.set_current_frame(RemoteAddr{0xdddddddddddddddd});
  const VerifiedWalk result = target.verify();
  CHECK_FALSE(result.verified);
  CHECK_THAT(result.walk.error, Catch::Contains("no address of a frame"));
}
