// The built-in offsets and sizes, against what the interpreter itself tells; and the chains of
// generators, against the frames that Python shows of them.
#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "frames/generator.hpp"
#include "frames/walker.hpp"
#include "memory/page_cache.hpp"
#include "python/code.hpp"
#include "session/attach.hpp"
#include "support/catch.hpp"
#include "support/target.hpp"

using namespace pyscope;
using namespace pyscope::test;
using nlohmann::json;

namespace {

using enum Field;
constexpr auto kSizes = std::to_array<std::pair<std::string_view, Field>>(
    {{"object", ObjectSize},
     {"type", HeapTypeSize},
     {"code", CodeCoCodeAdaptive},
     {"cell", CellSize},
     {"method", MethodSize},
     {"builtin_function_or_method", CFunctionSize},
     {"function", FunctionSize},
     {"module", ModuleSize},
     {"BaseException", ExceptionSize},
     {"bytearray", ByteArraySize},
     {"complex", ComplexSize},
     {"float", FloatSize},
     {"list", ListSize},
     {"set", SetSize},
     {"dict", DictSize},
     {"deque", DequeSize},
     {"OrderedDict", OrderedDictSize},
     {"defaultdict", DefaultDictSize},
     {"dict_keys", DictViewSize},
     {"mappingproxy", MappingProxySize},
     {"range", RangeSize},
     {"slice", SliceSize},
     {"array", ArraySize},
     {"memoryview", MemoryViewSize},
     {"date", DateSize},
     {"time", TimeSize},
     {"datetime", DateTimeSize},
     {"timedelta", TimeDeltaSize},
     {"timezone", TimeZoneSize},
     {"Decimal", DecimalSize},
     {"partial", PartialSize},
     {"ref", WeakRefSize},
     {"lock", LockSize},
     {"lock", SemaphoreLockSize},
     {"RLock", RLockSize},
     {"SimpleQueue", SimpleQueueSize},
     {"Task", TaskSize},
     {"Future", FutureSize}});

std::string name_of_state(GeneratorState state) {
  switch (state) {
    case GeneratorState::NotStarted:
      return "GEN_CREATED";
    case GeneratorState::Suspended:
      return "GEN_SUSPENDED";
    case GeneratorState::Running:
      return "GEN_RUNNING";
    case GeneratorState::Finished:
      break;
  }
  return "GEN_CLOSED";
}

}  // namespace

TEST_CASE("the sizes of structures are those that the interpreter tells", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  test::Target target(interpreter, "structures.py");
  const json sizes = target.read().at("sizes");
  const auto attached = attach(target.pid(), Log());
  REQUIRE(attached);
  const DebugOffsets& offsets = attached->runtime.offsets;
  for (const auto& [name, field] : kSizes) {
    if (!sizes.contains(name) || !offsets.has(field)) continue;
    // Only the micro version tells which of the two the locks of 3.13 have.
    if (field == SemaphoreLockSize && offsets.has(LockSize)) continue;
    CAPTURE(std::string(name), std::string(pyscope::name_of(field)));
    CHECK(offsets[field] == sizes.at(std::string(name)).get<std::uint64_t>());
  }
  // A generator's frame is part of it, without the variables.
  for (const char* name : {"generator", "coroutine", "async_generator"})
    CHECK(offsets[GenGiIframe] + offsets[FrameLocalsplus] == sizes.at(name));
  // Debug builds have one more member at the end.
  CHECK(offsets[PatternSize] <= sizes.at("Pattern"));
  CHECK(offsets[BytesObSval] + 1 == sizes.at("bytes"));
}

TEST_CASE("a generator's chain is walked from the generator itself", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  test::Target target(interpreter, "structures.py");
  const json generators = target.read().at("generators");
  REQUIRE(all_sleep(target.pid()));
  const auto attached = attach(target.pid(), Log());
  REQUIRE(attached);
  Budget budget;
  const TargetMemory memory(attached->target->memory(), budget);
  const DebugOffsets& offsets = attached->runtime.offsets;
  const PageCache cache(memory);
  const Reader reader(cache, offsets);
  CodeTable codes(memory, offsets);
  codes.begin_snapshot();
  REQUIRE(generators.size() == 7);
  for (const json& expected : generators) {
    CAPTURE(expected.dump());
    const RemoteAddr at{expected.at("at").get<std::uint64_t>()};
    const auto generator = read_generator(reader, at);
    REQUIRE(generator);
    CHECK(name_of_state(generator->state) == expected.at("state"));
    StackStart start = generator->stack;
    start.max_frames = std::numeric_limits<std::size_t>::max();
    const FrameWalk walk = walk_frames(cache, offsets, {start}).front();
    CHECK(walk.error.empty());
    CHECK(walk.complete);
    if (generator->state == GeneratorState::Finished) {
      CHECK(walk.frames.empty());
      continue;
    }
    REQUIRE_FALSE(walk.frames.empty());
    const RawFrame& frame = walk.frames.front();
    codes.load({frame.executable});
    REQUIRE(codes.knows(frame.executable));
    CHECK(codes.at(frame.executable).code.qualified_name == expected.at("name"));
    if (generator->state == GeneratorState::Running) {
      // What drives it: main() and the module.
      CHECK(walk.frames.size() >= 3);
      CHECK(walk.frames.back().is_entry());
      continue;
    }
    CHECK(walk.frames.size() == 1);
    const auto unit = unit_of(codes, frame);
    REQUIRE(unit);
    const auto line = codes.location(frame.executable, *unit).position.line;
    REQUIRE(line);
    CHECK(*line == expected.at("line"));
  }
}
