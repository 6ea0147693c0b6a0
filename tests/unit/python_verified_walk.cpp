// walk_verified with a target that runs on between the reads: what changes, and when, is scripted.
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "frames/verified_walk.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::FrameSpec;
using test::PagedMemory;
using test::PythonHeap;

namespace {

constexpr std::size_t kAll = 1U << 20U;
constexpr int kMaxAttempts = 200;

/// A thread in a function that was called by a function that was called by a function.
struct RunningThread {
  explicit RunningThread(int minor) : heap(minor) {
    const bool has_base = heap.offsets().has(Field::ThreadBaseFrame);
    code = heap.code();
    known_code = {code};
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
    CodeTable codes(heap.memory, heap.offsets());
    codes.load(known_code);
    heap.memory.calls = 0;
    heap.memory.reads.clear();
    VerifyBudget budget{.deadline = now + time, .now = [this] { return now; }};
    return walk_verified(heap.memory, heap.offsets(), codes, thread, start(), std::move(first),
                         budget);
  }

  /// What the target does between the two copies: when the pointer to the current frame is read for
  /// the first time. `attempt` counts from 1.
  void between_copies(const std::function<void(int attempt)>& change) {
    heap.memory.before_read = [this, change, attempt = 0,
                               last = std::size_t{0}](RemoteAddr at) mutable {
      if (at != current_frame || heap.memory.calls == last) return;
      last = heap.memory.calls;
      change(++attempt);
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
  std::vector<RemoteAddr> known_code;  // what was loaded before
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
  /// Stands still, so that how fast the machine is makes no difference.
  std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now();
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
  REQUIRE(reads.size() == 15);
  // The base frame and the entry frame lie side by side, and so do the frames in the chunk.
  CHECK(reads[0].contains(target.base));
  CHECK(reads[0].contains(target.entry));
  CHECK(reads[1].contains(target.outer));
  CHECK(reads[1].contains(target.middle));
  CHECK(reads[1].contains(target.inner));
  // More looks at the innermost ones, and the pointer between each two of them.
  for (std::size_t look = 2; look <= 12; ++look) {
    if (look % 2 == 0) {
      CHECK(reads[look].contains(target.outer));
      CHECK(reads[look].contains(target.inner));
    } else {
      CHECK(reads[look] == RemoteRange{target.current_frame, 8});
    }
  }
  CHECK(reads[13] == reads[1]);
  CHECK(reads[14] == reads[0]);
  CHECK(target.heap.memory.calls == 1);
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
  // One try in vain, and then the two chunks must agree often enough.
  CHECK(result.attempts == 5);
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

TEST_CASE("a try that took too long to believe does not count", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.between_copies([&](int attempt) {
    target.now +=
        attempt < 3 ? std::chrono::milliseconds(4 - attempt) : std::chrono::microseconds(1);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 2);  // as quick as the first: the machine is a slow one
}

TEST_CASE("a try that was interrupted does not count", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.between_copies([&](int attempt) {
    target.now += attempt < 4 ? std::chrono::milliseconds(attempt == 1 ? 1 : 5 * attempt)
                              : std::chrono::microseconds(1);
  });
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 4);
}

TEST_CASE("a stack that could never be read quickly is said to be the same", "[python]") {
  RunningThread target(14);
  // Each try takes more than twice as long as the one before.
  std::chrono::microseconds time{1000};
  target.between_copies([&](int) { target.now += (time *= 3); });
  const VerifiedWalk result = target.verify(std::chrono::seconds(1));
  CHECK_FALSE(result.verified);
  CHECK(result.too_slow);
  CHECK(result.moving == 0);
}

TEST_CASE("of a stack that is not verified the frames that moved are told", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  RemoteAddr restless;
  std::size_t moving = 0;
  SECTION("up to the caller") {
    restless = target.middle;
    moving = 2;
  }
  SECTION("all functions") {
    restless = target.outer;
    moving = 3;
  }
  target.between_copies(
      [&](int attempt) { target.set_unit(restless, static_cast<std::uint64_t>(attempt) % 10); });
  const VerifiedWalk result = target.verify();
  CHECK_FALSE(result.verified);
  CHECK(result.walk.frames.size() == 4);
  CHECK(result.moving == moving);
}

TEST_CASE("a function with the caller of the next one is not believed", "[python]") {
  // Both copies show the same by chance, and one of the looks in between doesn't.
  RunningThread target(14);
  const RemoteAddr other = target.heap.code();
  target.known_code.push_back(other);
  int reads = 0;
  target.heap.memory.before_read = [&](RemoteAddr at) {
    if (at == target.current_frame) reads = 0;
    if (at != target.outer) return;
    // The looks after the pointer; the first try only.
    const bool first_try = target.heap.memory.calls == 1;
    target.heap.set(target.inner, Field::FrameExecutable,
                    first_try && ++reads == 1 ? other : target.code);
  };
  const VerifiedWalk result = target.verify();
  CHECK(result.verified);
  CHECK(result.attempts == 2);
}

TEST_CASE("where the stack ends must be seen twice", "[python]") {
  // Else the frames could have been read while none of that was called.
  RunningThread target(14);
  const std::array moments{target.inner, target.middle, target.outer, target.free_place,
                           target.entry};
  SECTION("and is") {
    int reads = 0;
    target.heap.memory.before_read = [&](RemoteAddr at) {
      if (at == target.current_frame)
        target.set_current_frame(moments.at(static_cast<std::size_t>(++reads % 2)));
    };
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 1);
    CHECK(result.walk.frames.front().at == target.middle);
  }
  SECTION("and isn't, for a while") {
    std::size_t reads = 0;
    target.heap.memory.before_read = [&](RemoteAddr at) {
      if (at != target.current_frame) return;
      const bool restless = ++reads <= 3 * moments.size();
      target.set_current_frame(restless ? moments.at(reads % moments.size()) : target.inner);
    };
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 4);
    CHECK(result.walk.frames.front().at == target.inner);
  }
}

TEST_CASE("a generator and its caller must agree for some time", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  target.heap.start_new_page();
  const RemoteAddr generator = target.heap.frame(
      {.code = target.code, .previous = target.inner, .unit = 6, .owner = kOwnedByGenerator});
  target.set_current_frame(generator);
  SECTION("and do") {
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 5);  // the first one finds that it was resumed
  }
  SECTION("and do, after a while") {
    target.between_copies([&](int attempt) {
      if (attempt < 10) target.set_unit(target.inner, static_cast<std::uint64_t>(attempt));
    });
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts > 10);
  }
  SECTION("and don't") {
    // Equal in both copies of each try, and another one in each.
    const auto& memory = target.heap.memory;
    target.heap.memory.before_read = [&, last = std::size_t{0}](RemoteAddr) mutable {
      if (memory.calls == last) return;
      last = memory.calls;
      target.set_unit(target.inner, last % 7);
    };
    const VerifiedWalk result = target.verify();
    CHECK_FALSE(result.verified);
    CHECK(result.attempts == kMaxAttempts);
  }
}

TEST_CASE("code that is not known must be the same before and after", "[python]") {
  RunningThread target(GENERATE(13, 14, 15));
  const RemoteAddr fresh = target.heap.code({.name = "fresh"});
  target.heap.set(target.inner, Field::FrameExecutable, fresh);
  target.heap.set(target.inner, Field::FrameInstrPtr, target.heap.first_unit(fresh));
  SECTION("and is") {
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 1);
    REQUIRE(result.codes.size() == 1);
    CodeTable codes(target.heap.memory, target.heap.offsets());
    codes.load({fresh});
    CHECK(result.codes.at(fresh.raw()) == codes.identity(fresh));
  }
  SECTION("and is not, for a while") {
    target.between_copies([&](int attempt) {
      if (attempt < 4) target.heap.set(fresh, Field::CodeName, target.heap.str("f"));
    });
    const VerifiedWalk result = target.verify();
    CHECK(result.verified);
    CHECK(result.attempts == 4);
  }
  SECTION("and can't be read") {
    target.heap.set(target.inner, Field::FrameExecutable, RemoteAddr{0x7e0000000000});
    CHECK_FALSE(target.verify().verified);
  }
}
