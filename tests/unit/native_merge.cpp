#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "native/merge.hpp"

using namespace pyscope;

namespace {

using From = MergedFrame::From;

/// A native stack of frames of 0x100 bytes each, from 0x1000 on.
NativeWalk walk_of(std::size_t frames, const std::string& error = {}) {
  NativeWalk walk;
  for (std::size_t i = 0; i < frames; ++i) {
    UnwoundFrame frame;
    frame.pc = RemoteAddr{0x400000 + i};
    frame.stack = {RemoteAddr{0x1000 + i * 0x100}, 0x100};
    frame.called = i > 0;
    walk.frames.push_back(frame);
  }
  walk.error = error;
  return walk;
}

/// A place in the native frame of this number.
RemoteAddr in_frame(std::size_t number) {
  return RemoteAddr{0x1000 + number * 0x100 + 0x40};
}

constexpr RemoteAddr kHeap{0x7000'0000};

ChainLink entry_in(std::size_t number) {
  return {in_frame(number), true};
}

ChainLink function() {
  return {kHeap, false};
}

/// "n0 n1 p0 p1 L2 n3": native frames, links of the chain, and native frames that are loops.
std::string text_of(const MergedStack& merged) {
  std::string text;
  for (const auto& [from, index] : merged.frames) {
    if (!text.empty()) text += ' ';
    text += from == From::Chain ? 'p' : from == From::Native ? 'n' : 'L';
    text += std::to_string(index);
  }
  return text;
}

MergedStack merge(const std::vector<ChainLink>& chain, const NativeWalk& walk) {
  return merge_stacks(chain, walk);
}

}  // namespace

TEST_CASE("merge: a run of Python frames stands before the native frame that holds its entry") {
  const auto merged = merge({function(), function(), entry_in(2)}, walk_of(4));
  CHECK(text_of(merged) == "n0 n1 p0 p1 p2 L2 n3");
  CHECK(merged.note.empty());
  CHECK(merged.beyond == 0);
}

TEST_CASE("merge: each run has its own native frame") {
  const auto merged =
      merge({function(), entry_in(0), function(), function(), entry_in(3), function(), entry_in(4)},
            walk_of(6));
  CHECK(text_of(merged) == "p0 p1 L0 n1 n2 p2 p3 p4 L3 p5 p6 L4 n5");
}

TEST_CASE(
    "merge: an entry is held by the byte that a frame begins with, not by the one behind it") {
  const auto walk = walk_of(3);
  CHECK(text_of(merge({{RemoteAddr{0x1100}, true}}, walk)) == "n0 p0 L1 n2");
  CHECK(text_of(merge({{RemoteAddr{0x11FF}, true}}, walk)) == "n0 p0 L1 n2");
  CHECK(text_of(merge({{RemoteAddr{0x1200}, true}}, walk)) == "n0 n1 p0 L2");
}

TEST_CASE("merge: an entry without functions of its own is a run, too") {
  CHECK(text_of(merge({entry_in(1), function(), entry_in(2)}, walk_of(3))) == "n0 p0 L1 p1 p2 L2");
}

TEST_CASE("merge: empty stacks") {
  CHECK(merge({}, walk_of(0)).frames.empty());
  CHECK(text_of(merge({}, walk_of(2))) == "n0 n1");
  const auto merged = merge({function(), entry_in(0)}, walk_of(0));
  CHECK(text_of(merged) == "p0 p1");
  CHECK(merged.beyond == 1);
}

TEST_CASE("merge: a chain that has no end comes behind all native frames") {
  CHECK(text_of(merge({function(), function()}, walk_of(2))) == "n0 n1 p0 p1");
  CHECK(text_of(merge({entry_in(0), function()}, walk_of(2))) == "p0 L0 n1 p1");
}

TEST_CASE("merge: the end of a chain in the thread's own state is no entry that is missing") {
  const ChainLink end{kHeap, true};
  SECTION("behind the last run") {
    const auto merged = merge({function(), entry_in(1), end}, walk_of(3));
    CHECK(text_of(merged) == "n0 p0 p1 L1 n2 p2");
    CHECK(merged.beyond == 0);
  }
  SECTION("alone, of a thread that runs nothing") {
    const auto merged = merge({end}, walk_of(2));
    CHECK(text_of(merged) == "n0 n1 p0");
    CHECK(merged.beyond == 0);
  }
  SECTION("with functions before it, it is missing") {
    const auto merged = merge({function(), entry_in(1), function(), end}, walk_of(3));
    CHECK(text_of(merged) == "n0 p0 p1 L1 n2 p2 p3");
    CHECK(merged.beyond == 1);
  }
}

TEST_CASE("merge: what lies beyond the end of the native stack follows it") {
  // Of the second and third run the native frames weren't found.
  const std::vector<ChainLink> chain{function(),  entry_in(1), function(),
                                     entry_in(7), function(),  entry_in(9)};
  const auto merged = merge(chain, walk_of(3, GENERATE(as<std::string>(), "", "no information")));
  CHECK(text_of(merged) == "n0 p0 p1 L1 n2 p2 p3 p4 p5");
  CHECK(merged.note.empty());
  CHECK(merged.beyond == 2);
}

TEST_CASE("merge: frames of which no part of the stack is known hold nothing") {
  auto walk = walk_of(3);
  for (auto& frame : walk.frames)
    frame.stack.size = 0;
  const auto merged = merge({function(), entry_in(1)}, walk);
  CHECK(text_of(merged) == "n0 n1 n2 p0 p1");
  CHECK(merged.beyond == 1);
}

TEST_CASE("merge: a handler's stack may be anywhere") {
  auto walk = walk_of(4);
  walk.frames[0].stack = {RemoteAddr{0x9000'0000}, 0x100};
  walk.frames[1].stack = {RemoteAddr{0x9000'0100}, 0x100};
  const auto merged =
      merge({function(), {RemoteAddr{0x9000'0120}, true}, function(), entry_in(3)}, walk);
  CHECK(text_of(merged) == "n0 p0 p1 L1 n2 p2 p3 L3");
}

TEST_CASE("merge: stacks that contradict each other are not put together") {
  const auto chain = GENERATE(values<std::vector<ChainLink>>({
      {function(), entry_in(2), function(), entry_in(1)},  // out of order
      {function(), entry_in(2), function(), entry_in(2)},  // twice
      {entry_in(3), entry_in(0), entry_in(1)},
  }));
  const auto merged = merge(chain, walk_of(4));
  CHECK(merged.frames.empty());
  CHECK(merged.note == "the native frame of entry 2 of " +
                           std::to_string(chain.size() == 3 ? 3 : 2) +
                           " from C code has been passed already");
  CHECK(merged.beyond == 0);
}

TEST_CASE("merge: many entries take no time that grows with their square") {
  constexpr std::size_t kMany = 20'000;
  std::vector<ChainLink> chain;
  for (std::size_t i = 0; i < kMany; ++i)
    chain.push_back(entry_in(i));
  CHECK(merge(chain, walk_of(kMany)).frames.size() == 2 * kMany);
  // All in one place that is nowhere, or in one frame.
  CHECK(merge(std::vector<ChainLink>(kMany, {kHeap, true}), walk_of(kMany)).beyond == kMany);
  CHECK(merge(std::vector<ChainLink>(kMany, entry_in(kMany - 1)), walk_of(kMany)).frames.empty());
}
