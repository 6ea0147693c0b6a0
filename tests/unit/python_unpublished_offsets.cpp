// Versions that publish no offsets: their built-in tables, and how their runtime is recognised.
#include <catch2/catch.hpp>
#include <optional>
#include <set>

#include "paged_memory.hpp"
#include "python/unpublished_offsets.hpp"
#include "structures/layouts.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

PythonVersion version_of(std::uint32_t hex) {
  return PythonVersion::from_hex(hex);
}

const RemoteAddr kRuntime{0x7f0000100000};
const RemoteAddr kInterpreter{0x7f0000300000};

/// A runtime whose main interpreter refers back to it, and has no modules yet.
PagedMemory half_a_runtime(const DebugOffsets& offsets) {
  PagedMemory memory;
  memory.map(kRuntime, 4096);
  memory.map(kInterpreter, 4096);
  const auto put = [&](RemoteAddr at, Field field, std::uint64_t value) {
    memory.put(at + offsets[field], value);
  };
  put(kRuntime, Field::RuntimeInterpretersMain, kInterpreter.raw());
  put(kRuntime, Field::RuntimeInterpretersHead, kInterpreter.raw());
  put(kInterpreter, Field::InterpreterRuntime, kRuntime.raw());
  return memory;
}

std::string refusal(const Memory& memory,
                    const std::optional<PythonVersion>& expected = std::nullopt) {
  const auto offsets = identify_runtime(memory, kRuntime, expected);
  REQUIRE_FALSE(offsets);
  return offsets.error().message;
}

}  // namespace

TEST_CASE("built-in tables of versions that publish none are whole", "[python]") {
  const std::uint32_t hex = GENERATE(0x030b02f0U, 0x030c01f0U);
  const auto offsets = DebugOffsets::built_in(version_of(hex));
  REQUIRE(offsets);
  const PythonLayout& layout = offsets->layout();
  CAPTURE(static_cast<int>(layout.minor));
  CHECK(layout.fields.empty());
  std::set<Field> seen;
  for (const auto& built_in : layout.built_in) {
    for (const BuiltInField& known : built_in) {
      CAPTURE(std::string(name_of(known.field)));
      CHECK(seen.insert(known.field).second);
      CHECK((*offsets)[known.field] == known.value);
      CHECK_FALSE(fault_of(*offsets, known.field));
    }
  }
  // What the rest of pyscope reads without asking whether the version has it.
  using enum Field;
  for (const Field field :
       {RuntimeInterpretersMain, InterpreterRuntime, InterpreterThreadsHead, ThreadCframe,
        CframeCurrentFrame, CframePrevious, FramePrevious, FrameExecutable, FrameInstrPtr,
        FrameOwner, FrameLocalsplus, CodeCoCodeAdaptive, CodeLinetable, CodeFirsttraceable,
        DequeBlockData, GilSwitchNumber, SemaphoreLockSemaphore, RLockOwner, GenGiIframe}) {
    CAPTURE(std::string(name_of(field)));
    CHECK(offsets->has(field));
  }
  CHECK(offsets->has(RuntimeGil) != offsets->has(InterpreterCevalGil));
}

TEST_CASE("only final versions of those that publish none are built in", "[python]") {
  for (const std::uint32_t hex :
       {0x030a0df0U, 0x030d00f0U, 0x031000f0U, 0x030c00a1U, 0x020b02f0U}) {
    CAPTURE(hex);
    const auto offsets = DebugOffsets::built_in(version_of(hex));
    REQUIRE_FALSE(offsets);
    CHECK(offsets.error().kind == ErrorKind::Unsupported);
  }
}

TEST_CASE("a runtime without an interpreter is said to run none", "[python]") {
  PagedMemory memory;
  memory.map(kRuntime, 4096);
  const auto offsets = identify_runtime(memory, kRuntime, std::nullopt);
  REQUIRE_FALSE(offsets);
  CHECK(offsets.error().kind == ErrorKind::Unsupported);
  CHECK(refusal(memory) == "no interpreter is running");
}

TEST_CASE("what is no runtime is refused with the reason", "[python]") {
  const PythonVersion version = version_of(GENERATE(0x030b02f0U, 0x030c01f0U));
  const DebugOffsets offsets = *DebugOffsets::built_in(version);
  PagedMemory memory = half_a_runtime(offsets);
  const auto put = [&](RemoteAddr at, Field field, std::uint64_t value) {
    memory.put(at + offsets[field], value);
  };
  SECTION("an interpreter of another runtime") {
    put(kInterpreter, Field::InterpreterRuntime, kInterpreter.raw());
    CHECK_THAT(refusal(memory, version), Catch::Contains("belongs to no runtime"));
  }
  SECTION("a main interpreter with another number") {
    put(kInterpreter, Field::InterpreterId, 5);
    CHECK_THAT(refusal(memory, version), Catch::Contains("another number than 0"));
  }
  SECTION("a list of interpreters that leads back into itself") {
    put(kInterpreter, Field::InterpreterNext, kInterpreter.raw());
    CHECK_THAT(refusal(memory, version), Catch::Contains("no end"));
  }
  SECTION("thread states of another interpreter") {
    const RemoteAddr thread{0x7f0000500000};
    memory.map(thread, 4096);
    put(kInterpreter, Field::InterpreterThreadsHead, thread.raw());
    CHECK_THAT(refusal(memory, version), Catch::Contains("belong to no interpreter"));
  }
  SECTION("modules that are no dict") {
    CHECK_THAT(refusal(memory, version), Catch::Contains("modules are elsewhere"));
  }
  SECTION("a pointer to nowhere") {
    put(kRuntime, Field::RuntimeInterpretersMain, 0x7f0000900000);
    CHECK_FALSE(refusal(memory, version).empty());
  }
}

TEST_CASE("a runtime that was recognised is known again", "[python]") {
  const DebugOffsets offsets = *DebugOffsets::built_in(version_of(0x030b02f0));
  PagedMemory memory = half_a_runtime(offsets);
  CHECK(is_same_runtime(memory, kRuntime, offsets));
  memory.put(kInterpreter + offsets[Field::InterpreterRuntime], std::uint64_t{8});
  CHECK_FALSE(is_same_runtime(memory, kRuntime, offsets));
  memory.put(kRuntime + offsets[Field::RuntimeInterpretersMain], std::uint64_t{0});
  CHECK(is_same_runtime(memory, kRuntime, offsets));  // it has shut down
  memory.unmap(kRuntime);
  CHECK_FALSE(is_same_runtime(memory, kRuntime, offsets));
}
