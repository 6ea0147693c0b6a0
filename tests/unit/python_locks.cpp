// Locks in hand-built memory: states that no live process can be made to have.
#include <catch2/catch.hpp>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "locks/locks.hpp"
#include "python/lock_object.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::PythonHeap;

namespace {

constexpr RemoteAddr kNowhere{0x7e0000000000};
constexpr RemoteAddr kBucket{0x555500001000};  // of the parking lot: never looked at
constexpr RemoteAddr kInterpreter{0x555500002000};
constexpr RemoteAddr kOtherInterpreter{0x555500003000};
constexpr std::uint64_t kImmutable = 1U << 8U;
constexpr std::uint64_t kIdent = 0x7f0000aaa000;
constexpr std::uint64_t kOther = 0x7f0000bbb000;

/// Two threads: one waits for something, the other is in a `with` statement of a lock.
struct TwoThreads {
  static constexpr std::uint64_t kInside = 6;   // code units
  static constexpr std::uint64_t kOutside = 9;  // behind the statement
  static constexpr std::uint64_t kHandler = 12;

  explicit TwoThreads(int minor) : heap(minor) {
    lock_type = heap.type("_thread.lock", kImmutable, heap.offsets()[Field::LockSize]);
    rlock_type = heap.type("_thread.RLock", kImmutable);
    bound_type = heap.type("builtin_function_or_method", kImmutable);
    lock = heap.object(lock_type, 32);
    heap.memory.put(lock + 16, std::uint8_t{3});
    record = heap.allocate(80);
    heap.put(record, 48, kBucket);
    heap.put(record, 56, kBucket);
    park(lock + 16);

    const RemoteAddr code = heap.code({.name = "wait", .qualified_name = "Store.wait"});
    add_variables(code, {"given"});
    waiting = with_frame(code, 1);
    with_code = heap.code({.name = "hold", .qualified_name = "Store.hold", .units = 20});
    add_variables(with_code, {});
    const std::uint64_t depth = heap.layout().with_keeps_bound_exit ? 1 : 2;
    const std::vector<std::uint8_t> table{0x84, 4, kHandler,
                                          static_cast<std::uint8_t>(depth << 1U | 1U)};
    heap.put(with_code, 40, heap.bytes(table));
    heap.memory.put(heap.first_unit(with_code) + 2 * (kHandler + 1),
                    heap.layout().with_except_start);
    holding = with_frame(with_code, kInside);
    keep(lock);
    states = {heap.allocate(heap.offsets()[Field::ThreadSize]),
              heap.allocate(heap.offsets()[Field::ThreadSize])};
    heap.set(states[0], Field::ThreadCurrentFrame, waiting);
    heap.set(states[1], Field::ThreadCurrentFrame, holding);
    follow();
  }

  /// The thread's wait record names this address.
  void park(RemoteAddr on) { heap.put(record, 8, on); }

  void add_variables(RemoteAddr code, const std::vector<std::string>& names) {
    const RemoteAddr tuple = heap.allocate(64 + 8 * names.size());
    heap.set(tuple, Field::TupleObSize, std::uint64_t{names.size()});
    for (std::size_t i = 0; i < names.size(); ++i)
      heap.put(tuple, heap.offsets()[Field::TupleObItem] + 8 * i, heap.str(names[i]));
    heap.set(code, Field::CodeLocalsplusnames, tuple);
    heap.memory.put(code + 72, static_cast<std::uint32_t>(names.size()));
    heap.memory.put(code + 64, std::uint32_t{4});
  }

  RemoteAddr with_frame(RemoteAddr code, std::uint64_t unit) {
    const RemoteAddr at = heap.allocate(heap.offsets()[Field::FrameSize] + 128);
    heap.put_frame(at, {.code = code, .previous = heap.entry_frame(), .unit = unit});
    return at;
  }

  /// What the `with` statement keeps on the evaluation stack.
  void keep(RemoteAddr manager) {
    const std::uint64_t slots = heap.offsets()[Field::FrameLocalsplus];
    if (heap.layout().with_keeps_bound_exit) {
      const RemoteAddr method = heap.object(bound_type, 48);
      heap.put(method, 24, manager);
      heap.put(holding, slots, method);
    } else {
      heap.put(holding, slots + 8, manager);
    }
  }

  void go_to(std::uint64_t unit) {
    heap.set(holding, Field::FrameInstrPtr, heap.first_unit(with_code) + 2 * unit);
    follow();
  }

  void follow() {
    const PageCache cache(heap.memory);
    walks = walk_frames(cache, heap.offsets(), {start(waiting), start(holding)});
  }

  static StackStart start(RemoteAddr frame) {
    StackStart start;
    start.current_frame = frame;
    start.max_frames = 100;
    return start;
  }

  [[nodiscard]] std::optional<FoundLock> find(bool verified = true, bool timed = false) const {
    const auto reading = heap.reader();
    CodeTable codes(heap.memory, heap.offsets());
    std::vector<RemoteAddr> executables;
    for (const FrameWalk& walk : walks) {
      for (const RawFrame& frame : walk.frames) {
        if (!frame.is_entry()) executables.push_back(frame.executable);
      }
    }
    codes.load(executables);
    const std::vector<LockThread> threads{
        {kInterpreter, states[0], kIdent, &walks[0], true, FutexWait{record + 16, timed}},
        {holder_in, states[1], kOther, &walks[1], verified, std::nullopt},
    };
    auto found = find_locks(heap.memory, reading.reader, codes, threads);
    REQUIRE(found.size() == 2);
    CHECK_FALSE(found[1]);
    return found[0];
  }

  PythonHeap heap;
  RemoteAddr lock_type;
  RemoteAddr rlock_type;
  RemoteAddr bound_type;
  RemoteAddr lock;
  RemoteAddr record;
  RemoteAddr with_code;
  RemoteAddr waiting;
  RemoteAddr holding;
  RemoteAddr holder_in = kInterpreter;
  std::vector<RemoteAddr> states;
  std::vector<FrameWalk> walks;
};

}  // namespace

TEST_CASE("a lock that a verified stack is in a with statement of is held by that thread",
          "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  const auto found = process.find();
  REQUIRE(found);
  CHECK(found->type == "threading.Lock");
  CHECK(found->at == process.lock);
  CHECK(found->held == Held::ByThread);
  CHECK(found->holder == 1);
  CHECK(found->holder_frame == 0);
  CHECK(found->taken_at_unit == TwoThreads::kHandler);
  CHECK(found->waiting_frame == 0);
  CHECK(found->binding);
  CHECK(found->name.empty());

  const auto likely = process.find(false);
  REQUIRE(likely);
  CHECK(likely->held == Held::LastSeen);
  CHECK_FALSE(likely->binding);

  const auto timed = process.find(true, true);
  REQUIRE(timed);
  CHECK(timed->timed);
  CHECK(timed->held == Held::ByThread);
  CHECK_FALSE(timed->binding);
}

TEST_CASE("what a with statement has left on the stack doesn't mislead", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  process.go_to(GENERATE(TwoThreads::kOutside, std::uint64_t{3}, TwoThreads::kHandler));
  const auto found = process.find();
  REQUIRE(found);
  CHECK(found->held == Held::ByNobodyFound);
  CHECK_FALSE(found->holder);
  // And if not all was searched, not even that is known.
  CHECK(process.find(false)->held == Held::Unknown);
}

TEST_CASE("a with statement of something else holds nothing", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  const RemoteAddr other = GENERATE(RemoteAddr{}, kNowhere, RemoteAddr{0x1001}, RemoteAddr{7});
  process.keep(other);
  const auto found = process.find();
  REQUIRE(found);
  CHECK(found->held == Held::ByNobodyFound);
}

TEST_CASE("a wait record that names no lock gives no answer", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  const auto fails = [&](RemoteAddr on) {
    process.park(on);
    return !process.find();
  };
  CHECK(fails(RemoteAddr{}));
  CHECK(fails(RemoteAddr{1}));
  CHECK(fails(RemoteAddr{~std::uint64_t{0}}));
  CHECK(fails(kNowhere));
  CHECK(fails(kNowhere + 57));
  CHECK(fails(process.lock));
  CHECK(fails(process.lock + 17));
  CHECK(fails(process.heap.str("lock") + 16));
  // A class of the program's that has taken the name.
  const RemoteAddr impostor = process.heap.object(process.heap.type("_thread.lock", 0, 24), 32);
  process.heap.memory.put(impostor + 16, std::uint8_t{3});
  CHECK(fails(impostor + 16));
  // One that is free by now.
  process.heap.memory.put(process.lock + 16, std::uint8_t{0});
  CHECK(fails(process.lock + 16));
  process.heap.memory.unmap(process.record);
  CHECK_FALSE(process.find());
}

TEST_CASE("a record of a wait that is over gives no answer", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  PythonHeap& heap = process.heap;
  REQUIRE(process.find());
  heap.memory.put(process.record + 64, std::uint8_t{1});  // is_unparking
  CHECK_FALSE(process.find());
  heap.memory.put(process.record + 64, std::uint8_t{0});
  heap.put(process.record, GENERATE(std::uint64_t{48}, std::uint64_t{56}),
           RemoteAddr{});  // taken off the list
  CHECK_FALSE(process.find());
}

TEST_CASE("of what moves while it is looked at nothing is said", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  PythonHeap& heap = process.heap;
  SECTION("the thread that waits goes on") {
    heap.set(process.waiting, Field::FrameInstrPtr, heap.first_unit(process.with_code));
    CHECK_FALSE(process.find());
  }
  SECTION("it is in another frame") {
    heap.set(process.states[0], Field::ThreadCurrentFrame, process.holding);
    CHECK_FALSE(process.find());
  }
  SECTION("another thread may have taken the lock meanwhile") {
    process.go_to(TwoThreads::kOutside);
    heap.set(process.states[1], Field::ThreadCurrentFrame, process.waiting);
    REQUIRE(process.find());
    CHECK(process.find()->held == Held::Unknown);
  }
}

TEST_CASE("an RLock is held by who it says, if there is such a thread", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  PythonHeap& heap = process.heap;
  const RemoteAddr lock = heap.object(process.rlock_type, 48);
  if (heap.layout().rlock_is_semaphore) {
    // Found on the evaluation stack of the function that waits.
    heap.put(lock, 16, process.record + 16);
    heap.put(process.waiting, heap.offsets()[Field::FrameLocalsplus] + 16, lock);
    process.park(RemoteAddr{});
  } else {
    heap.memory.put(lock + 16, std::uint8_t{3});
    process.park(lock + 16);
  }
  const auto held_by = [&](std::uint64_t ident) {
    heap.memory.put(lock + 24, ident);
    const auto found = process.find();
    REQUIRE(found);
    CHECK(found->type == "threading.RLock");
    CHECK(found->at == lock);
    return *found;
  };
  CHECK(held_by(kOther).held == Held::ByThread);
  CHECK(held_by(kOther).holder == 1);
  CHECK(held_by(kOther).binding);
  CHECK_FALSE(held_by(kOther).holder_frame);
  CHECK(held_by(0x7f0000ccc000).held == Held::ByNobodyFound);
  CHECK(held_by(0).held == Held::Unknown);
  // Its own owner doesn't wait for it.
  heap.memory.put(lock + 24, kIdent);
  CHECK_FALSE(process.find());
}

TEST_CASE("a recorded ident means a thread of the lock's own interpreter", "[locks]") {
  TwoThreads process(GENERATE(14, 15));
  PythonHeap& heap = process.heap;
  const RemoteAddr lock = heap.object(process.rlock_type, 48);
  heap.memory.put(lock + 16, std::uint8_t{3});
  heap.memory.put(lock + 24, kOther);
  process.park(lock + 16);
  CHECK(process.find()->holder == 1);
  process.holder_in = kOtherInterpreter;
  REQUIRE(process.find());
  CHECK(process.find()->held == Held::ByNobodyFound);
  // The thread that a handle is of must be known, too.
  const RemoteAddr handle = heap.allocate(128);
  heap.memory.put(handle + 32, kOther);
  heap.memory.put(handle + 52, std::int32_t{3});
  process.park(handle + 57);
  CHECK_FALSE(process.find());
}

TEST_CASE("a lock with a semaphore of its own, as in 3.13.0, is found by its type's size",
          "[locks]") {
  TwoThreads process(13);
  PythonHeap& heap = process.heap;
  const RemoteAddr type = heap.type("_thread.lock", kImmutable, 40);
  const RemoteAddr lock = heap.object(type, 40);
  heap.put(lock, 16, process.record + 16);  // the sem_t
  heap.memory.put(lock + 32, std::uint8_t{1});
  heap.put(process.waiting, heap.offsets()[Field::FrameLocalsplus] + 16, lock);
  process.park(RemoteAddr{});
  process.keep(lock);
  const auto found = process.find();
  REQUIRE(found);
  CHECK(found->type == "threading.Lock");
  CHECK(found->at == lock);
  CHECK(found->held == Held::ByThread);
  CHECK(found->holder == 1);
  SECTION("free by now") {
    heap.memory.put(lock + 32, std::uint8_t{0});
  }
  SECTION("another lock's semaphore") {
    heap.put(lock, 16, process.record + 24);
  }
  SECTION("nothing is parked on it") {
    heap.memory.put(lock + 16, std::uint8_t{3});
    process.park(lock + 16);
  }
  CHECK_FALSE(process.find());
}

TEST_CASE("of a lock whose size no version has nothing is said", "[locks]") {
  const int minor = GENERATE(13, 14, 15);
  const std::uint64_t size = GENERATE(std::uint64_t{0}, 16, 32, 48, ~std::uint64_t{0});
  TwoThreads process(minor);
  CAPTURE(minor, size);
  REQUIRE(process.find());
  process.heap.set(process.lock_type, Field::TypeTpBasicsize, size);
  CHECK_FALSE(process.find());
  // A size of 3.13.0's is none of a later version.
  process.heap.set(process.lock_type, Field::TypeTpBasicsize, std::uint64_t{40});
  process.heap.memory.put(process.lock + 32, std::uint8_t{1});
  CHECK_FALSE(process.find());
}

TEST_CASE("the state of a lock is read where its type's size says", "[locks]") {
  const int minor = GENERATE(13, 14, 15);
  PythonHeap heap(minor);
  const auto state = [&](std::uint64_t size, std::uint64_t offset, std::uint8_t byte) {
    const RemoteAddr lock = heap.object(heap.type("_thread.lock", kImmutable, size), 64);
    heap.memory.put(lock + offset, byte);
    const auto reading = heap.reader();
    return read_lock(reading.reader, lock);
  };
  CHECK(state(24, 16, 1)->locked);
  CHECK(state(24, 16, 3)->locked);
  CHECK_FALSE(state(24, 16, 0)->locked);
  CHECK_FALSE(state(24, 16, 2)->locked);
  CHECK_FALSE(state(24, 32, 1)->locked);
  if (minor == 13) {
    CHECK(state(40, 32, 1)->locked);
    CHECK_FALSE(state(40, 32, 0)->locked);
  } else {
    CHECK_FALSE(state(40, 32, 1));
  }
  const auto unknown = state(32, 16, 1);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().kind == ErrorKind::Unsupported);
}

TEST_CASE("a thread handle counts if it is that of a running thread", "[locks]") {
  TwoThreads process(GENERATE(13, 14, 15));
  PythonHeap& heap = process.heap;
  const RemoteAddr handle = heap.allocate(128);
  heap.memory.put(handle + 32, kOther);
  heap.memory.put(handle + 52, std::int32_t{3});
  process.park(handle + 57);
  const auto found = process.find();
  REQUIRE(found);
  CHECK(found->type == "threading.Thread");
  CHECK(found->held == Held::ByThread);
  CHECK(found->holder == 1);
  heap.memory.put(handle + 52, std::int32_t{4});
  CHECK_FALSE(process.find());
  heap.memory.put(handle + 52, std::int32_t{3});
  heap.memory.put(handle + 32, std::uint64_t{1});
  CHECK_FALSE(process.find());
}

TEST_CASE("locks in memory that makes no sense are never the end of it", "[locks]") {
  const int minor = GENERATE(13, 14, 15);
  std::mt19937_64 random(20261125);
  for (int round = 0; round < 400; ++round) {
    TwoThreads process(minor);
    std::vector<std::uint64_t> pages;
    for (const auto& [number, page] : process.heap.memory.pages)
      pages.push_back(number * test::PagedMemory::kPageSize);
    for (int change = 0; change < 200; ++change) {
      const RemoteAddr at{pages[random() % pages.size()] + random() % 512 * 8};
      if (at >= process.heap.runtime && at.raw() - process.heap.runtime.raw() < 4096) continue;
      const std::uint64_t values[] = {pages[random() % pages.size()] + random() % 512 * 8, random(),
                                      ~std::uint64_t{0}, std::uint64_t{1} << random() % 64,
                                      at.raw()};
      process.heap.memory.put(at, values[random() % 5]);
    }
    process.follow();
    const auto found = process.find();
    if (found && found->holder) CHECK(*found->holder < 2);
  }
}
