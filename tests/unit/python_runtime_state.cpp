#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "python/runtime_state.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::PythonHeap;

namespace {

constexpr RemoteAddr kNowhere{0x7e0000000000};
constexpr RemoteAddr kOdd{0x7f0000001001};

Result<RawRuntime> interpreters_of(const PythonHeap& heap) {
  const auto fresh = heap.reader();
  return read_interpreters(fresh.reader, heap.runtime);
}

RawRuntime runtime_of(const PythonHeap& heap) {
  const auto fresh = heap.reader();
  auto runtime = read_interpreters(fresh.reader, heap.runtime).value();
  read_threads(fresh.reader, fresh.reader.memory(), runtime);
  return runtime;
}

/// The native ids of an interpreter's threads.
std::vector<std::uint64_t> threads_of(const RawInterpreter& interpreter) {
  std::vector<std::uint64_t> ids;
  for (const RawThread& thread : interpreter.threads)
    ids.push_back(thread.native_id);
  return ids;
}

void check_warned(const RawRuntime& runtime, const std::string& of) {
  REQUIRE(runtime.warnings.size() == 1);
  CHECK_THAT(runtime.warnings[0], Catch::Contains(of));
}

}  // namespace

TEST_CASE("interpreters are linked newest first and given oldest first", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  for (const std::int64_t id : {0, 1, 5})
    heap.interpreter(id);
  const auto runtime = interpreters_of(heap);
  REQUIRE(runtime);
  REQUIRE(runtime->interpreters.size() == 3);
  CHECK(runtime->interpreters[0].id == 0);
  CHECK(runtime->interpreters[1].id == 1);
  CHECK(runtime->interpreters[2].id == 5);
  CHECK(runtime->warnings.empty());
  CHECK_FALSE(runtime->finalizing);
}

TEST_CASE("what an interpreter says of itself is read", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  PythonHeap heap(minor);
  const RemoteAddr at = heap.interpreter(3);
  const RemoteAddr modules = heap.dict(PythonHeap::kUnicode, {});
  const RemoteAddr sys_dict = heap.dict(PythonHeap::kUnicode, {});
  heap.set(at, Field::InterpreterImportsModules, modules);
  heap.set(at, Field::InterpreterSysdict, sys_dict);
  if (minor > 13) heap.set(at, Field::InterpreterThreadsMain, modules);
  heap.memory.put(at + heap.offsets()[Field::InterpreterGc] + heap.offsets()[Field::GcCollecting],
                  1);
  heap.set(heap.runtime, Field::RuntimeFinalizing, modules);
  const auto runtime = interpreters_of(heap);
  REQUIRE(runtime);
  CHECK(runtime->finalizing);
  REQUIRE(runtime->interpreters.size() == 1);
  const RawInterpreter& interpreter = runtime->interpreters[0];
  CHECK(interpreter.at == at);
  CHECK(interpreter.id == 3);
  CHECK(interpreter.modules == modules);
  CHECK(interpreter.sys_dict == sys_dict);
  CHECK(interpreter.threads_main == (minor > 13 ? modules : RemoteAddr{}));
  CHECK(interpreter.collecting_garbage);
  CHECK(interpreter.gil == at + heap.offsets()[Field::InterpreterGil]);
}

TEST_CASE("a runtime without an interpreter is not running", "[python]") {
  const PythonHeap heap(14);
  const auto runtime = interpreters_of(heap);
  REQUIRE_FALSE(runtime);
  CHECK(runtime.error().kind == ErrorKind::Unsupported);
  CHECK_FALSE(runtime.error().hint.empty());
}

TEST_CASE("a runtime whose newest interpreter can not be read is an error", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr at = heap.interpreter(0);
  SECTION("at no address") {
    heap.set(heap.runtime, Field::RuntimeInterpretersHead, kOdd);
  }
  SECTION("nowhere") {
    heap.set(heap.runtime, Field::RuntimeInterpretersHead, kNowhere);
  }
  SECTION("with a negative id") {
    heap.set(at, Field::InterpreterId, std::int64_t{-1});
  }
  SECTION("with a GIL at no address") {
    heap.set(at, Field::InterpreterCevalGil, kOdd);
  }
  SECTION("with modules at no address") {
    heap.set(at, Field::InterpreterImportsModules, kOdd);
  }
  SECTION("without a runtime") {
    heap.memory.unmap(heap.runtime);
  }
  CHECK_FALSE(interpreters_of(heap));
}

TEST_CASE("a list of interpreters that breaks off keeps those before", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr oldest = heap.interpreter(0);
  const RemoteAddr middle = heap.interpreter(1);
  const RemoteAddr newest = heap.interpreter(2);
  std::vector<std::int64_t> expected{1, 2};
  SECTION("back to the newest") {
    heap.set(middle, Field::InterpreterNext, newest);
  }
  SECTION("to itself") {
    heap.set(middle, Field::InterpreterNext, middle);
  }
  SECTION("at no address") {
    heap.set(middle, Field::InterpreterNext, kOdd);
  }
  SECTION("nowhere") {
    heap.set(middle, Field::InterpreterNext, kNowhere);
  }
  SECTION("at an interpreter that is being torn down") {
    heap.set(oldest, Field::InterpreterId, std::int64_t{-7});
  }
  const auto runtime = interpreters_of(heap);
  REQUIRE(runtime);
  std::vector<std::int64_t> ids;
  for (const RawInterpreter& interpreter : runtime->interpreters)
    ids.push_back(interpreter.id);
  CHECK(ids == expected);
  check_warned(*runtime, "list of interpreters");
}

TEST_CASE("threads are given as they are linked with all their facts", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  PythonHeap heap(minor);
  const RemoteAddr interpreter = heap.interpreter(0);
  const RemoteAddr frame = heap.entry_frame();
  const RemoteAddr chunk = heap.allocate(64);
  const RemoteAddr old = heap.thread(interpreter, {.native_id = 100, .ident = 0x7f01});
  const RemoteAddr recent = heap.thread(
      interpreter, {.native_id = 101, .ident = 0x7f02, .current_frame = frame, .chunk = chunk});
  if (minor == 15) heap.set(recent, Field::ThreadBaseFrame, frame);
  const RawRuntime runtime = runtime_of(heap);
  CHECK(runtime.warnings.empty());
  const auto& threads = runtime.interpreters[0].threads;
  REQUIRE(threads.size() == 2);
  CHECK(threads[0].at == recent);
  CHECK(threads[0].native_id == 101);
  CHECK(threads[0].ident == 0x7f02);
  CHECK(threads[0].stack.current_frame == frame);
  CHECK(threads[0].stack.chunk == chunk);
  CHECK(threads[0].stack.base_frame == (minor == 15 ? frame : RemoteAddr{}));
  CHECK(threads[0].gil_requested.has_value() == (minor == 15));
  CHECK(threads[1].at == old);
  CHECK(threads[1].native_id == 100);
}

TEST_CASE("3.15 tells who waits for the GIL", "[python]") {
  PythonHeap heap(15);
  const RemoteAddr thread = heap.thread(heap.interpreter(0), {.native_id = 100});
  const auto requested = [&](std::int32_t gil_requested, std::int32_t holds_gil) {
    heap.set(thread, Field::ThreadGilRequested, gil_requested);
    heap.set(thread, Field::ThreadHoldsGil, holds_gil);
    return runtime_of(heap).interpreters[0].threads.at(0).gil_requested;
  };
  CHECK(requested(1, 0) == true);
  CHECK(requested(0, 0) == false);
  CHECK(requested(1, 1) == false);  // it has just got it
  CHECK(requested(0, 1) == false);
}

TEST_CASE("threads that are being made or torn down are left out", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  PythonHeap heap(minor);
  const RemoteAddr interpreter = heap.interpreter(0);
  heap.thread(interpreter, {.native_id = 100});
  const RemoteAddr thread = heap.thread(interpreter, {.native_id = 101});
  heap.thread(interpreter, {.native_id = 102});
  const auto is_shown = [&](std::uint32_t status) {
    heap.set(thread, Field::ThreadStatus, status);
    const auto ids = threads_of(runtime_of(heap).interpreters[0]);
    CHECK((ids.size() == 2 || ids == std::vector<std::uint64_t>{102, 101, 100}));
    return ids.size() == 3;
  };
  constexpr std::uint32_t kAlive = 0b00011;  // initialized and bound
  CHECK(is_shown(kAlive));
  CHECK(is_shown(0b11011));  // attached
  CHECK_FALSE(is_shown(0));  // not yet initialized
  CHECK_FALSE(is_shown(0b00010));
  CHECK_FALSE(is_shown(kAlive | 1U << 2U));  // no longer bound
  // 3.13 has a bit more before these.
  const unsigned later = minor == 13 ? 1 : 0;
  CHECK(is_shown(kAlive | 1U << 5U << later));          // finalizing: it still runs
  CHECK_FALSE(is_shown(kAlive | 1U << 6U << later));    // cleared
  CHECK_FALSE(is_shown(kAlive | 1U << 7U << later));    // finalized
  if (minor == 13) CHECK(is_shown(kAlive | 1U << 5U));  // holds the GIL
}

TEST_CASE("a thread that has no native id yet is left out", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr interpreter = heap.interpreter(0);
  heap.thread(interpreter, {.native_id = 100});
  heap.thread(interpreter, {.native_id = 0});
  CHECK(threads_of(runtime_of(heap).interpreters[0]) == std::vector<std::uint64_t>{100});
}

TEST_CASE("a list of threads that breaks off keeps those before and the other interpreters",
          "[python]") {
  PythonHeap heap(14);
  const RemoteAddr first = heap.interpreter(0);
  const RemoteAddr second = heap.interpreter(1);
  const RemoteAddr oldest = heap.thread(first, {.native_id = 100});
  const RemoteAddr middle = heap.thread(first, {.native_id = 101});
  const RemoteAddr newest = heap.thread(first, {.native_id = 102});
  heap.thread(second, {.native_id = 200});
  std::vector<std::uint64_t> expected{102, 101};
  SECTION("back to the newest") {
    heap.set(middle, Field::ThreadNext, newest);
  }
  SECTION("to itself") {
    heap.set(middle, Field::ThreadNext, middle);
  }
  SECTION("nowhere") {
    heap.set(middle, Field::ThreadNext, kNowhere);
  }
  SECTION("at no address") {
    heap.set(middle, Field::ThreadNext, kOdd);
    expected = {102};  // a thread whose link is torn isn't believed
  }
  SECTION("at a thread of another interpreter") {
    heap.set(oldest, Field::ThreadInterp, second);
  }
  SECTION("at a thread of none") {
    heap.set(oldest, Field::ThreadInterp, RemoteAddr{});
  }
  SECTION("in freed memory") {
    for (std::uint64_t i = 0; i < heap.offsets()[Field::ThreadSize]; i += 8)
      heap.memory.put(oldest + i, std::uint64_t{0xdddddddddddddddd});
  }
  SECTION("at its head") {
    heap.set(first, Field::InterpreterThreadsHead, kOdd);
    expected = {};
  }
  const RawRuntime runtime = runtime_of(heap);
  CHECK(threads_of(runtime.interpreters[0]) == expected);
  CHECK(threads_of(runtime.interpreters[1]) == std::vector<std::uint64_t>{200});
  check_warned(runtime, "interpreter 0: the list of threads");
}

TEST_CASE("an interpreter without threads has none", "[python]") {
  PythonHeap heap(14);
  heap.interpreter(0);
  const RawRuntime runtime = runtime_of(heap);
  CHECK(runtime.interpreters[0].threads.empty());
  CHECK(runtime.warnings.empty());
}

TEST_CASE("a thousand threads are listed in few calls", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr interpreter = heap.interpreter(0);
  for (std::uint64_t id = 1; id <= 1000; ++id)
    heap.thread(interpreter, {.native_id = id});
  heap.memory.calls = 0;
  const RawRuntime runtime = runtime_of(heap);
  REQUIRE(runtime.interpreters[0].threads.size() == 1000);
  CHECK(runtime.interpreters[0].threads[0].native_id == 1000);
  CHECK(heap.memory.calls < 20);
}

TEST_CASE("the moment of each GIL is read once and afresh", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr main = heap.interpreter(0);
  const RemoteAddr shares = heap.interpreter(1);
  const RemoteAddr own = heap.interpreter(2);
  const RemoteAddr thread = heap.thread(main, {.native_id = 100});
  const RemoteAddr gil = main + heap.offsets()[Field::InterpreterGil];
  const RemoteAddr own_gil = own + heap.offsets()[Field::InterpreterGil];
  heap.set(shares, Field::InterpreterCevalGil, gil);
  heap.hold_gil(main, thread);
  heap.memory.put(gil + 24, std::uint64_t{77});  // switch_number
  const RawRuntime runtime = runtime_of(heap);
  heap.memory.calls = 0;
  heap.memory.reads.clear();
  const auto moments = read_gils(heap.memory, heap.offsets(), runtime);
  CHECK(heap.memory.calls == 1);
  CHECK(heap.memory.reads.size() == 2);
  REQUIRE(moments.size() == 2);
  CHECK(moments.at(gil.raw()) == GilMoment{thread, 1, 77});
  CHECK(moments.at(own_gil.raw()) == GilMoment{RemoteAddr{}, 0, 0});

  heap.memory.put(gil + 24, std::uint64_t{78});
  CHECK(read_gils(heap.memory, heap.offsets(), runtime).at(gil.raw()).switch_number == 78);
}

TEST_CASE("a GIL that can not be read or is not there yet has no moment", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr without = heap.interpreter(0);
  const RemoteAddr nowhere = heap.interpreter(1);
  heap.set(without, Field::InterpreterCevalGil, RemoteAddr{});
  heap.set(nowhere, Field::InterpreterCevalGil, kNowhere);
  CHECK(read_gils(heap.memory, heap.offsets(), runtime_of(heap)).empty());
}

TEST_CASE("threads have the names that threading knows", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr interpreter = heap.interpreter(0);
  heap.name_threads(interpreter, {{0x7f01, "MainThread"}, {0x7f02, "loader"}, {0x7f03, ""}});
  const RawRuntime runtime = runtime_of(heap);
  const auto fresh = heap.reader();
  const auto names =
      read_thread_names(fresh.reader, fresh.reader.memory(), runtime.interpreters[0]);
  REQUIRE(names);
  CHECK(names->size() == 3);
  CHECK(names->at(0x7f01) == "MainThread");
  CHECK(names->at(0x7f02) == "loader");
  CHECK(names->at(0x7f03).empty());
}

TEST_CASE("names are not believed if the threads change meanwhile", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr interpreter = heap.interpreter(0);
  const RemoteAddr type = heap.class_with_keys("Thread", {heap.str("_name")});
  const RemoteAddr thread = heap.instance(type, {heap.str("loader")});
  heap.start_new_page();
  const RemoteAddr keys =
      heap.dict_keys(PythonHeap::kGeneral, {{heap.integer(1), thread}, {heap.integer(2), thread}});
  const RemoteAddr active = heap.object(heap.dict_type, 48);
  heap.set(active, Field::DictMaKeys, keys);
  const RemoteAddr threading = heap.module({{heap.str("_active"), active}});
  heap.set(interpreter, Field::InterpreterImportsModules,
           heap.dict(PythonHeap::kUnicode, {{heap.str("threading"), threading}}));
  const RawRuntime runtime = runtime_of(heap);
  const auto fresh = heap.reader();
  REQUIRE(read_thread_names(fresh.reader, heap.memory, runtime.interpreters[0]));
  heap.memory.put(keys + 24, std::uint64_t{1});  // one entry less
  const auto names = read_thread_names(fresh.reader, heap.memory, runtime.interpreters[0]);
  REQUIRE_FALSE(names);
  CHECK(names.error().kind == ErrorKind::Malformed);
}

TEST_CASE("without threading no thread has a name", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr interpreter = heap.interpreter(0);
  const auto number_of_names = [&] {
    const RawRuntime runtime = runtime_of(heap);
    const auto fresh = heap.reader();
    const auto names =
        read_thread_names(fresh.reader, fresh.reader.memory(), runtime.interpreters[0]);
    return names ? static_cast<int>(names->size()) : -1;
  };
  const auto set_modules = [&](RemoteAddr modules) {
    heap.set(interpreter, Field::InterpreterImportsModules, modules);
  };
  const auto modules_with = [&](RemoteAddr threading) {
    return heap.dict(PythonHeap::kUnicode, {{heap.str("threading"), threading}});
  };
  CHECK(number_of_names() == 0);  // no modules at all
  set_modules(heap.dict(PythonHeap::kUnicode, {{heap.str("sys"), heap.module({})}}));
  CHECK(number_of_names() == 0);
  set_modules(modules_with(heap.module({})));
  CHECK(number_of_names() == 0);  // half imported
  set_modules(modules_with(kNowhere));
  CHECK(number_of_names() == -1);
  set_modules(kNowhere);
  CHECK(number_of_names() == -1);
  set_modules(modules_with(heap.module({{heap.str("_active"), kNowhere}})));
  CHECK(number_of_names() == -1);
}

TEST_CASE("a thread whose name can not be read costs the others nothing", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr interpreter = heap.interpreter(0);
  const RemoteAddr type = heap.class_with_keys("Thread", {heap.str("_name")});
  const RemoteAddr good = heap.instance(type, {heap.str("good")});
  const RemoteAddr active =
      heap.dict(PythonHeap::kGeneral, {{heap.integer(1), kNowhere},
                                       {heap.integer(2), heap.instance(type, {heap.int_type})},
                                       {heap.integer(3), heap.instance(type, {RemoteAddr{}})},
                                       {kOdd, good},
                                       {kNowhere, good},
                                       {heap.integer(6), good}});
  const RemoteAddr threading = heap.module({{heap.str("_active"), active}});
  heap.set(interpreter, Field::InterpreterImportsModules,
           heap.dict(PythonHeap::kUnicode, {{heap.str("threading"), threading}}));
  const RawRuntime runtime = runtime_of(heap);
  const auto fresh = heap.reader();
  const auto names =
      read_thread_names(fresh.reader, fresh.reader.memory(), runtime.interpreters[0]);
  REQUIRE(names);
  CHECK(names->size() == 1);
  CHECK(names->at(6) == "good");
}

TEST_CASE("a debug build says so in its ABI flags", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr interpreter = heap.interpreter(0);
  const auto is_debug = [&](RemoteAddr sys_dict) {
    heap.set(interpreter, Field::InterpreterSysdict, sys_dict);
    const RawRuntime runtime = runtime_of(heap);
    const auto fresh = heap.reader();
    return read_debug_build(fresh.reader, runtime.interpreters[0]);
  };
  const auto sys_dict = [&](RemoteAddr flags) {
    return heap.dict(PythonHeap::kUnicode, {{heap.str("abiflags"), flags}});
  };
  CHECK(is_debug(sys_dict(heap.str(""))) == false);
  CHECK(is_debug(sys_dict(heap.str("d"))) == true);
  CHECK_FALSE(is_debug(RemoteAddr{}).has_value());
  CHECK_FALSE(is_debug(sys_dict(heap.int_type)).has_value());
  CHECK_FALSE(is_debug(heap.dict(PythonHeap::kUnicode, {})).has_value());
  CHECK_FALSE(is_debug(kNowhere).has_value());
}

TEST_CASE("the threads of all interpreters together have a limit", "[python]") {
  PythonHeap heap(14);
  constexpr std::size_t kMost = 32'768;
  const RemoteAddr young = heap.interpreter(1);
  const RemoteAddr old = heap.interpreter(0);
  for (std::uint64_t i = 0; i < kMost / 2 + 10; ++i) {
    heap.thread(young, {.native_id = 1 + i});
    heap.thread(old, {.native_id = 100'001 + i});
  }
  const RawRuntime runtime = runtime_of(heap);
  REQUIRE(runtime.interpreters.size() == 2);
  CHECK(runtime.interpreters[0].threads.size() + runtime.interpreters[1].threads.size() == kMost);
  CHECK(runtime.over_limit);
  check_warned(runtime, "more than 32768 threads");
}
