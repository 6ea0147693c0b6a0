#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "frames/generator.hpp"
#include "frames/walker.hpp"
#include "memory/page_cache.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::FrameSpec;
using test::PagedMemory;
using test::PythonHeap;

namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
constexpr RemoteAddr kNowhere{0x7e0000000000};

FrameWalk walk(const BudgetedMemory& memory, const DebugOffsets& offsets, const StackStart& start) {
  const PageCache cache(memory);
  return walk_frames(cache, offsets, {start}).front();
}

StackStart start_at(RemoteAddr current_frame, RemoteAddr chunk = {}) {
  StackStart start;
  start.current_frame = current_frame;
  start.chunk = chunk;
  start.max_frames = kAll;
  return start;
}

FrameWalk walk(const PythonHeap& heap, RemoteAddr current_frame) {
  return walk(heap.memory, heap.offsets(), start_at(current_frame));
}

std::vector<RemoteAddr> addresses(const FrameWalk& walk) {
  std::vector<RemoteAddr> at;
  for (const RawFrame& frame : walk.frames)
    at.push_back(frame.at);
  return at;
}

void check_ended_early(const FrameWalk& walk, const std::string& why) {
  CHECK_FALSE(walk.complete);
  CHECK_FALSE(walk.limited);
  CHECK_THAT(walk.error, Catch::Contains(why));
}

}  // namespace

TEST_CASE("a chain of frames is followed to the entry frame at its end", "[python]") {
  PythonHeap heap(GENERATE(13, 14));
  const RemoteAddr code = heap.code();
  const RemoteAddr generator_code = heap.code();
  const RemoteAddr entry = heap.entry_frame();
  const RemoteAddr outer = heap.frame({.code = code, .previous = entry, .local0 = 7, .local1 = 8});
  const RemoteAddr inner = heap.frame(
      {.code = generator_code, .previous = outer, .unit = 5, .owner = kOwnedByGenerator});
  const FrameWalk found = walk(heap, inner);
  CHECK(found.complete);
  CHECK_FALSE(found.limited);
  CHECK(found.error.empty());
  CHECK(addresses(found) == std::vector{inner, outer, entry});
  CHECK(found.frames[0].executable == generator_code);
  CHECK(found.frames[0].instruction == heap.first_unit(generator_code) + 10);
  CHECK(found.frames[0].owner == kOwnedByGenerator);
  CHECK_FALSE(found.frames[0].is_entry());
  CHECK(found.frames[1].executable == code);
  CHECK(found.frames[1].previous == entry);
  CHECK(found.frames[1].local0 == 7);
  CHECK(found.frames[1].local1 == 8);
  CHECK(found.frames[2].is_entry());
  CHECK(found.frames[2].executable == RemoteAddr{});  // garbage there means nothing
}

TEST_CASE("a thread that runs no Python code has no frames", "[python]") {
  const PythonHeap heap(14);
  const FrameWalk found = walk(heap, RemoteAddr{});
  CHECK(found.complete);
  CHECK(found.frames.empty());
  CHECK(heap.memory.calls == 0);
}

TEST_CASE("entries from C are kept wherever they are", "[python]") {
  PythonHeap heap(13);
  const RemoteAddr code = heap.code();
  const RemoteAddr last = heap.entry_frame();
  const RemoteAddr outer = heap.frame({.code = code, .previous = last});
  const RemoteAddr middle = heap.entry_frame(outer);
  const RemoteAddr inner = heap.frame({.code = code, .previous = middle});
  const RemoteAddr first = heap.entry_frame(inner);
  CHECK(addresses(walk(heap, first)) == std::vector{first, inner, middle, outer, last});
}

TEST_CASE("since 3.15 a chain ends at the base frame and nowhere else", "[python]") {
  PythonHeap heap(15);
  const RemoteAddr base = heap.entry_frame();
  const RemoteAddr entry = heap.entry_frame(base);
  const RemoteAddr frame = heap.frame({.code = heap.code(), .previous = entry});
  StackStart start = start_at(frame);
  start.base_frame = base;
  FrameWalk found = walk(heap.memory, heap.offsets(), start);
  CHECK(found.complete);
  CHECK(addresses(found) == std::vector{frame, entry});  // it is no entry from C

  start.base_frame = heap.entry_frame();
  found = walk(heap.memory, heap.offsets(), start);
  check_ended_early(found, "ends in the middle of the stack");
  CHECK(found.frames.size() == 3);
}

TEST_CASE("a chain that ends without an entry frame is incomplete", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code();
  const RemoteAddr outer = heap.frame({.code = code, .owner = kOwnedByGenerator});
  const RemoteAddr inner = heap.frame({.code = code, .previous = outer});
  const FrameWalk found = walk(heap, inner);
  check_ended_early(found, "ends in the middle of the stack");
  CHECK(addresses(found) == std::vector{inner, outer});
}

TEST_CASE("a chain that leads back into itself ends there and keeps its frames", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  const RemoteAddr a = heap.allocate(256);
  const RemoteAddr b = heap.allocate(256);
  const RemoteAddr c = heap.allocate(256);
  std::vector<RemoteAddr> expected;
  SECTION("a frame to itself") {
    heap.put_frame(a, {.code = code, .previous = a});
    expected = {a};
  }
  SECTION("two frames to each other") {
    heap.put_frame(a, {.code = code, .previous = b});
    heap.put_frame(b, {.code = code, .previous = a});
    expected = {a, b};
  }
  SECTION("a loop that the first frame is not in") {
    heap.put_frame(a, {.code = code, .previous = b});
    heap.put_entry_frame(b, c);
    heap.put_frame(c, {.code = code, .previous = b});
    expected = {a, b, c};
  }
  const FrameWalk found = walk(heap, a);
  check_ended_early(found, "leads back");
  CHECK(addresses(found) == expected);
}

TEST_CASE("a caller that is no address ends the walk", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  for (const std::uint64_t previous :
       {std::uint64_t{1}, std::uint64_t{0xff8}, std::uint64_t{0x7f0000001004},
        std::uint64_t{1} << 56U, std::uint64_t{0xffffffffff600000}, 0xdddddddddddddddd}) {
    const RemoteAddr frame = heap.frame({.code = code, .previous = RemoteAddr{previous}});
    const FrameWalk found = walk(heap, frame);
    check_ended_early(found, "no address of a frame");
    CHECK(addresses(found) == std::vector{frame});
    check_ended_early(walk(heap, RemoteAddr{previous}), "no address of a frame");
  }
}

TEST_CASE("a caller that can not be read ends the walk", "[python]") {
  PythonHeap heap(14);
  RemoteAddr previous = kNowhere;
  SECTION("at all") {}
  SECTION("to its end") {
    heap.start_new_page();
    previous = heap.allocate(PagedMemory::kPageSize) + (PagedMemory::kPageSize - 64);
    heap.start_new_page();
  }
  const RemoteAddr frame = heap.frame({.code = heap.code(), .previous = previous});
  const FrameWalk found = walk(heap, frame);
  check_ended_early(found, "not readable");
  CHECK(addresses(found) == std::vector{frame});
}

TEST_CASE("a frame that no running thread has ends the walk", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const std::uint8_t owner = GENERATE(values<std::uint8_t>({kOwnedByFrameObject, 5, 0xff}));
  const RemoteAddr code = heap.code();
  const RemoteAddr outer = heap.frame({.code = code, .owner = owner});
  const RemoteAddr inner = heap.frame({.code = code, .previous = outer});
  const FrameWalk found = walk(heap, inner);
  check_ended_early(found, "owner " + std::to_string(owner));
  CHECK(addresses(found) == std::vector{inner});
}

TEST_CASE("both kinds of entry owners end a chain", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr entry = heap.entry_frame();
  heap.set(entry, Field::FrameOwner, std::uint8_t{4});
  const FrameWalk found = walk(heap, heap.frame({.code = heap.code(), .previous = entry}));
  CHECK(found.complete);
  CHECK(found.frames.size() == 2);
}

TEST_CASE("tags of executables are taken off since 3.14", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  PythonHeap heap(minor);
  const RemoteAddr code = heap.code();
  const RemoteAddr frame = heap.frame({.code = code, .previous = heap.entry_frame()});
  const auto executable_of = [&](std::uint64_t raw) {
    heap.set(frame, Field::FrameExecutable, raw);
    return walk(heap, frame).frames.at(0).executable.raw();
  };
  CHECK(executable_of(code.raw()) == code.raw());
  CHECK(executable_of(0) == 0);
  CHECK(executable_of(code.raw() | 1) == (minor == 13 ? code.raw() | 1 : code.raw()));
  CHECK(executable_of(1) == (minor == 13 ? 1 : 0));  // null
}

TEST_CASE("no more than the wanted functions are walked", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  const RemoteAddr last = heap.entry_frame();
  const RemoteAddr third = heap.frame({.code = code, .previous = last});
  const RemoteAddr second = heap.frame({.code = code, .previous = third});
  const RemoteAddr middle = heap.entry_frame(second);
  const RemoteAddr first = heap.frame({.code = code, .previous = middle});
  const auto walk_some = [&](std::size_t max_frames) {
    StackStart start = start_at(first);
    start.max_frames = max_frames;
    return walk(heap.memory, heap.offsets(), start);
  };
  CHECK(addresses(walk_some(1)) == std::vector{first});
  CHECK(addresses(walk_some(2)) == std::vector{first, middle, second});
  CHECK(walk_some(2).limited);
  CHECK_FALSE(walk_some(2).complete);
  CHECK(walk_some(2).error.empty());
  CHECK(walk_some(4).complete);
  CHECK_FALSE(walk_some(4).limited);
}

TEST_CASE("a stack that lies in chunks is read in a few calls and nothing below them", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  RemoteAddr previous = heap.entry_frame();
  RemoteAddr chunk;
  std::set<std::uint64_t> pages_of_chunks;
  constexpr std::uint64_t kChunk = 16384;
  constexpr std::uint64_t kFrame = 136;
  std::size_t frames = 0;
  for (int i = 0; i < 5; ++i) {
    chunk = heap.chunk(kChunk, chunk);
    for (RemoteAddr at = chunk + 24; at.raw() + kFrame <= chunk.raw() + kChunk; at = at + kFrame) {
      heap.put_frame(at, {.code = code, .previous = previous});
      previous = at;
      ++frames;
    }
    for (std::uint64_t at = 0; at < kChunk; at += PagedMemory::kPageSize)
      pages_of_chunks.insert((chunk.raw() + at) / PagedMemory::kPageSize);
  }
  const FrameWalk found = walk(heap.memory, heap.offsets(), start_at(previous, chunk));
  CHECK(found.complete);
  CHECK(found.frames.size() == frames + 1);
  // Each chunk in up to three steps, and the entry frame.
  CHECK(heap.memory.calls <= 5 * 3 + 1);
  std::size_t elsewhere = 0;
  for (const RemoteRange& read : heap.memory.reads)
    elsewhere += pages_of_chunks.contains(read.start.raw() / PagedMemory::kPageSize) ? 0 : 1;
  CHECK(elsewhere == 1);  // the entry frame's page
  CHECK(heap.memory.reads.size() == pages_of_chunks.size() + 1);
}

TEST_CASE("a chunk that makes no sense costs speed and nothing else", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  RemoteAddr previous = heap.entry_frame();
  for (int i = 0; i < 100; ++i)
    previous = heap.frame({.code = code, .previous = previous});
  RemoteAddr chunk;
  SECTION("null") {}
  SECTION("no address") {
    chunk = RemoteAddr{0x7f0000000003};
  }
  SECTION("nowhere") {
    chunk = kNowhere;
  }
  SECTION("above the frames") {
    chunk = previous + 4096;
  }
  SECTION("far below the frames") {
    chunk = RemoteAddr{0x1000};
  }
  SECTION("with itself before it") {
    chunk = heap.chunk(4096, RemoteAddr{});
    heap.put(chunk, 0, chunk);
  }
  SECTION("with no address before it") {
    chunk = heap.chunk(4096, RemoteAddr{0xddddddddddddddddU});
  }
  const FrameWalk found = walk(heap.memory, heap.offsets(), start_at(previous, chunk));
  CHECK(found.complete);
  CHECK(found.frames.size() == 101);
}

TEST_CASE("the walks of many threads share their reads", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  std::vector<StackStart> starts;
  for (std::size_t thread = 0; thread < 50; ++thread) {
    RemoteAddr previous = heap.entry_frame();
    for (int i = 0; i < 3; ++i) {
      heap.start_new_page();
      previous = heap.frame({.code = code, .previous = previous});
    }
    starts.push_back(start_at(previous));
  }
  starts[10].current_frame = kNowhere;
  starts[20].current_frame = RemoteAddr{};
  const PageCache cache(heap.memory);
  const auto walks = walk_frames(cache, heap.offsets(), starts);
  CHECK(heap.memory.calls <= 4);
  REQUIRE(walks.size() == starts.size());
  for (std::size_t i = 0; i < walks.size(); ++i) {
    CHECK(walks[i].complete == (i != 10));
    CHECK(walks[i].frames.size() == (i == 10 || i == 20 ? 0 : 4));
  }
  CHECK_FALSE(walks[10].error.empty());
}

TEST_CASE("a walk that the limit on memory ends says so and the others do not mind", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  const RemoteAddr entry = heap.entry_frame();
  const RemoteAddr chunk = heap.chunk(16384, RemoteAddr{});
  const RemoteAddr bottom = chunk + 24;
  // The second frame is on the chunk's second page, and its first page is read with it.
  const RemoteAddr top = chunk + 4096 + 512;
  heap.put_frame(bottom, {.code = code, .previous = entry});
  heap.put_frame(top, {.code = code, .previous = bottom});
  const StackStart deep = start_at(top, chunk);
  const StackStart shallow = start_at(entry);
  const std::size_t pages = GENERATE(0U, 1U, 2U, 3U);
  const PageCache cache(heap.memory, pages * PagedMemory::kPageSize);
  const auto walks = walk_frames(cache, heap.offsets(), {shallow, deep});
  CAPTURE(pages);
  CHECK(walks[0].complete == (pages >= 1));
  CHECK(walks[1].complete == (pages >= 3));
  for (const FrameWalk& found : walks) {
    if (!found.complete) check_ended_early(found, "the limit on memory read");
  }
}

namespace {

/// Each word of this memory is the address of the next one.
class EndlessFrames final : private test::OwnBudget, public BudgetedMemory {
 public:
  EndlessFrames() : BudgetedMemory(*own) {}
  void read_many(std::span<ReadRequest> requests) const override {
    for (ReadRequest& request : requests) {
      request.status = ReadStatus::Ok;
      for (std::size_t i = 0; i + 8 <= request.out.size(); i += 8) {
        const std::uint64_t next = request.at.raw() + i + 8;
        std::memcpy(request.out.data() + i, &next, sizeof next);
      }
    }
  }
};

}  // namespace

TEST_CASE("an endless chain of frames ends at a limit", "[python]") {
  const PythonHeap heap(13);
  const FrameWalk found = walk(EndlessFrames(), heap.offsets(), start_at(RemoteAddr{0x100000}));
  check_ended_early(found, "more than 250000 frames");
  CHECK(found.frames.size() == FrameWalker::kMaxDepth);
}

TEST_CASE("a walk that is given up after its end has still come to its end", "[python]") {
  PythonHeap heap(14);
  FrameWalker walker(heap.offsets(), start_at(RemoteAddr{}));
  walker.give_up("too late");
  const FrameWalk found = walker.take();
  CHECK(found.complete);
  CHECK(found.error.empty());
}

namespace {

/// A generator object whose own frame has this caller.
RemoteAddr make_generator(PythonHeap& heap, std::int8_t state, RemoteAddr code,
                          RemoteAddr previous = {}) {
  const RemoteAddr at = heap.object(heap.type("generator", 0), heap.offsets()[Field::GenSize] + 64);
  heap.set(at, Field::GenGiFrameState, state);
  heap.put_frame(at + heap.offsets()[Field::GenGiIframe],
                 {.code = code, .previous = previous, .unit = 3, .owner = kOwnedByGenerator});
  return at;
}

FrameWalk walk_generator(const PythonHeap& heap, RemoteAddr object, GeneratorState& state) {
  const auto reader = heap.reader();
  const auto generator = read_generator(reader.reader, object);
  REQUIRE(generator);
  state = generator->state;
  StackStart start = generator->stack;
  start.max_frames = kAll;
  return walk(heap.memory, heap.offsets(), start);
}

}  // namespace

TEST_CASE("a suspended generator's chain ends with its own frame", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code();
  const GeneratorStates& states = heap.layout().generator;
  const auto at = static_cast<std::int8_t>(states.suspended + GENERATE(0, 1));
  const RemoteAddr object = make_generator(heap, at, code);
  GeneratorState state{};
  const FrameWalk found = walk_generator(heap, object, state);
  CHECK(state == GeneratorState::Suspended);
  CHECK(found.complete);
  CHECK(found.error.empty());
  REQUIRE(found.frames.size() == 1);
  CHECK(found.frames[0].executable == code);
  CHECK(found.frames[0].owner == kOwnedByGenerator);
  // The same chain is no thread's.
  check_ended_early(walk(heap, found.frames[0].at), "ends in the middle of the stack");
}

TEST_CASE("a running generator's chain goes on to its caller and the entry frame", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code();
  const RemoteAddr entry = heap.entry_frame();
  const RemoteAddr caller = heap.frame({.code = code, .previous = entry});
  const RemoteAddr object =
      make_generator(heap, heap.layout().generator.executing, heap.code(), caller);
  GeneratorState state{};
  const FrameWalk found = walk_generator(heap, object, state);
  CHECK(state == GeneratorState::Running);
  CHECK(found.complete);
  CHECK(addresses(found) ==
        std::vector{object + heap.offsets()[Field::GenGiIframe], caller, entry});
}

TEST_CASE("a running generator without a caller is no whole chain", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr object = make_generator(heap, heap.layout().generator.executing, heap.code());
  GeneratorState state{};
  check_ended_early(walk_generator(heap, object, state), "ends in the middle of the stack");
}

TEST_CASE("a generator that hasn't started has its frame, and one that has finished none",
          "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const GeneratorStates& states = heap.layout().generator;
  GeneratorState state{};
  const RemoteAddr fresh =
      make_generator(heap, static_cast<std::int8_t>(states.suspended - 1), heap.code());
  CHECK(walk_generator(heap, fresh, state).frames.size() == 1);
  CHECK(state == GeneratorState::NotStarted);
  const RemoteAddr done = make_generator(heap, states.completed, heap.code());
  const FrameWalk found = walk_generator(heap, done, state);
  CHECK(state == GeneratorState::Finished);
  CHECK(found.complete);
  CHECK(found.frames.empty());
}

TEST_CASE("only a generator's own frame ends a chain that may be suspended", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  StackStart start = start_at(heap.frame({.code = heap.code()}));
  start.may_be_suspended = true;
  check_ended_early(walk(heap.memory, heap.offsets(), start), "ends in the middle of the stack");
}

TEST_CASE("the frames of all threads together have a limit", "[python]") {
  const PythonHeap heap(13);
  const EndlessFrames memory;
  const PageCache cache(memory);
  const auto walks = walk_frames(cache, heap.offsets(),
                                 {start_at(RemoteAddr{0x100000}), start_at(RemoteAddr{0x200000}),
                                  start_at(RemoteAddr{0x300000})});
  std::size_t frames = 0;
  for (const FrameWalk& found : walks) {
    frames += found.frames.size();
    CHECK(found.over_limit);
  }
  CHECK(frames == FrameWalker::kMaxFramesInAll);
  check_ended_early(walks.back(), "300000 frames in all");
}
