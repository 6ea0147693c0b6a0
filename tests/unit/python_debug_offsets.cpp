#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "published_offsets.hpp"
#include "structures/debug_offsets.hpp"

using namespace pyscope;
using test::kAbsent;
using test::kPublishedFields;
using test::PublishedField;
using test::PublishedTable;

namespace {

std::int64_t published(const PublishedField& field, int minor) {
  return field.values.at(test::column_of(minor));
}

Error refusal(const PublishedTable& table) {
  const auto offsets = DebugOffsets::decode(table.bytes);
  REQUIRE_FALSE(offsets);
  return offsets.error();
}

/// The error for a table with one other value; its message must name the field.
void check_refused(int minor, std::string_view name, std::uint64_t value) {
  PublishedTable table(minor);
  table.set(name, value);
  CAPTURE(minor, std::string(name), value);
  const auto offsets = DebugOffsets::decode(table.bytes);
  REQUIRE_FALSE(offsets);
  CHECK(offsets.error().kind == ErrorKind::Malformed);
  CHECK_THAT(offsets.error().message, Catch::Contains(std::string(name)));
}

std::string text_of(std::uint32_t hex) {
  return PythonVersion::from_hex(hex).text();
}

}  // namespace

TEST_CASE("a version has the text that Python gives it", "[python]") {
  CHECK(text_of(0x030d0ff0) == "3.13.15");
  CHECK(text_of(0x030e08f0) == "3.14.8");
  CHECK(text_of(0x030f00a7) == "3.15.0a7");
  CHECK(text_of(0x030f00b1) == "3.15.0b1");
  CHECK(text_of(0x030f00c2) == "3.15.0rc2");
  CHECK(text_of(0x030a0bf0) == "3.10.11");
}

TEST_CASE("the supported versions are named in messages", "[python]") {
  CHECK(supported_versions() == "3.11, 3.12, 3.13, 3.14 and 3.15");
  CHECK(find_layout(10) == nullptr);
  CHECK(find_layout(16) == nullptr);
}

TEST_CASE("every field of every version is decoded to its own", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  const auto offsets = DebugOffsets::decode(PublishedTable(minor).bytes);
  REQUIRE(offsets);
  // Both list all fields in the order of the newest version.
  REQUIRE(kPublishedFields.size() == DebugOffsets::kPublishable);
  for (std::size_t i = 0; i < kPublishedFields.size(); ++i) {
    const std::int64_t value = published(kPublishedFields[i], minor);
    const auto field = static_cast<Field>(i);
    CAPTURE(minor, std::string(kPublishedFields[i].name));
    if (value == kAbsent) continue;
    CHECK(offsets->has(field));
    CHECK((*offsets)[field] == static_cast<std::uint64_t>(value));
  }
}

TEST_CASE("fields have the names that CPython gives them", "[python]") {
  const auto value_of = [](int minor, Field field) {
    return (*DebugOffsets::decode(PublishedTable(minor).bytes))[field];
  };
  CHECK(value_of(13, Field::RuntimeSize) == 283408);
  CHECK(value_of(14, Field::RuntimeInterpretersHead) == 808);
  CHECK(value_of(14, Field::InterpreterThreadsMain) == 7360);
  CHECK(value_of(15, Field::ThreadBaseFrame) == 80);
  CHECK(value_of(15, Field::ThreadGilRequested) == 40);
  CHECK(value_of(13, Field::FrameOwner) == 70);
  CHECK(value_of(15, Field::FrameLocalsplus) == 80);
  CHECK(value_of(13, Field::CodeCoCodeAdaptive) == 200);
  CHECK(value_of(13, Field::TupleObItem) == 24);
  CHECK(value_of(14, Field::TupleObItem) == 32);
  CHECK(value_of(15, Field::HeapTypeHtCachedKeys) == 888);
  CHECK(value_of(15, Field::UnicodeCompactunicodeobjectSize) == 56);
  CHECK(value_of(13, Field::GcCollecting) == 200);
  CHECK(value_of(15, Field::DebuggerScriptPathSize) == 512);
}

TEST_CASE("the tables are as long as CPython's and may be followed by anything", "[python]") {
  const auto [minor, size] =
      GENERATE(std::pair<int, std::size_t>{13, 584}, std::pair<int, std::size_t>{14, 760},
               std::pair<int, std::size_t>{15, 888});
  std::vector<std::byte> bytes = PublishedTable(minor).bytes;
  CHECK(bytes.size() == size);
  CHECK(size <= DebugOffsets::kMaxSize);
  bytes.resize(bytes.size() + 100, std::byte{0xEE});
  CHECK(DebugOffsets::decode(bytes).has_value());
}

TEST_CASE("every field is known in every version that has it", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  const auto offsets = DebugOffsets::decode(PublishedTable(minor).bytes);
  REQUIRE(offsets);
  // What a version doesn't have at all, or what nobody needs of the versions that don't publish it.
  using enum Field;
  std::set<Field> missing{};
  if (minor < 15) {
    missing = {ThreadBaseFrame,
               ThreadLastProfiledFrame,
               ThreadLastProfiledFrameSeq,
               ThreadGilRequested,
               ThreadCurrentException,
               ThreadExcState,
               ErrStackItemExcValue,
               GcFrame,
               GcGenerationStatsSize,
               GcGenerationStats};
  }
  if (minor < 14) {
    missing.insert({InterpreterThreadsMain, InterpreterCodeObjectGeneration,
                    InterpreterTlbcGeneration, ThreadHoldsGil, FrameStackpointer, FrameTlbcIndex,
                    CodeCoTlbc, TaskNode, ListNodeNext, ListNodePrev, DebuggerEvalBreaker,
                    DebuggerRemoteDebuggerSupport, DebuggerRemoteDebuggingEnabled,
                    DebuggerPendingCall, DebuggerScriptPath, DebuggerScriptPathSize});
  } else {
    missing.insert({SemaphoreLockSize, SemaphoreLockSemaphore, SemaphoreLockLocked, FrameStacktop});
  }
  // Of versions that publish nothing.
  missing.insert({RuntimeInterpretersMain, RuntimeGil, InterpreterRuntime, ThreadCframe, CframeSize,
                  CframeCurrentFrame, CframePrevious, FrameIsEntry, PreHeaderValues, TypeTpItemsize,
                  SimpleQueueLock});
  for (std::size_t i = 0; i < static_cast<std::size_t>(Field::Count); ++i) {
    const auto field = static_cast<Field>(i);
    CAPTURE(minor, std::string(name_of(field)));
    CHECK(offsets->has(field) == !missing.contains(field));
  }
}

TEST_CASE("built-in fields lie within their structures and are aligned", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  const PythonLayout* layout = find_layout(static_cast<std::uint8_t>(minor));
  REQUIRE(layout != nullptr);
  CHECK(layout->minor == minor);
  const auto offsets = DebugOffsets::decode(PublishedTable(minor).bytes);
  REQUIRE(offsets);
  std::set<Field> seen;
  for (const auto& built_in : layout->built_in) {
    for (const BuiltInField& known : built_in) {
      CAPTURE(minor, std::string(name_of(known.field)));
      // Neither given twice nor overruled by what this version publishes.
      CHECK(seen.insert(known.field).second);
      CHECK(std::find(layout->fields.begin(), layout->fields.end(), known.field) ==
            layout->fields.end());
      CHECK((*offsets)[known.field] == known.value);
      CHECK_FALSE(fault_of(*offsets, known.field));
    }
  }
}

TEST_CASE("a published field wins over a built-in one", "[python]") {
  PublishedTable table(15);
  table.set("type_object.tp_basicsize", 40);
  table.set("gen_object.gi_iframe", 80);
  const auto offsets = DebugOffsets::decode(table.bytes);
  REQUIRE(offsets);
  CHECK((*offsets)[Field::TypeTpBasicsize] == 40);
  CHECK((*offsets)[Field::GenGiIframe] == 80);
}

TEST_CASE("what an older version has built in is what newer ones publish", "[python]") {
  const auto of = [](int minor) { return *DebugOffsets::decode(PublishedTable(minor).bytes); };
  const DebugOffsets old = of(13);
  const DebugOffsets middle = of(14);
  const DebugOffsets newest = of(15);
  using enum Field;
  for (const Field field : {TypeTpBasicsize, TypeTpDictoffset, UnicodeCompactunicodeobjectSize}) {
    CHECK(old[field] == newest[field]);
    CHECK(middle[field] == newest[field]);
  }
  for (const Field field :
       {SetSize, SetUsed, SetTable, SetMask, GenGiName, GenGiIframe, GenGiFrameState}) {
    CHECK(old[field] == middle[field]);
  }
  CHECK(middle[ThreadHoldsGil] == newest[ThreadHoldsGil]);
  // The classes of 3.15 have one more word in front of this.
  CHECK(old[HeapTypeHtCachedKeys] == newest[HeapTypeHtCachedKeys] - 8);
  CHECK(middle[HeapTypeHtCachedKeys] == newest[HeapTypeHtCachedKeys] - 8);
}

TEST_CASE("what is published of the GIL relative to an interpreter is also known relative to it",
          "[python]") {
  PublishedTable table(GENERATE(13, 14, 15));
  const auto offsets = DebugOffsets::decode(table.bytes);
  REQUIRE(offsets);
  CHECK((*offsets)[Field::GilLastHolder] == 8);
  CHECK((*offsets)[Field::GilLocked] == 16);
  table.set("interpreter_state.gil_runtime_state_holder", (*offsets)[Field::InterpreterGil] + 24);
  const auto moved = DebugOffsets::decode(table.bytes);
  REQUIRE(moved);
  CHECK((*moved)[Field::GilLastHolder] == 24);
}

TEST_CASE("the bits of a thread's status are those of its version", "[python]") {
  for (const int minor : {13, 14, 15}) {
    const PythonLayout* layout = find_layout(static_cast<std::uint8_t>(minor));
    REQUIRE(layout != nullptr);
    CHECK(layout->tagged_references == (minor > 13));
    CHECK(layout->status.initialized == 1U << 0U);
    CHECK(layout->status.unbound == 1U << 2U);
    CHECK(layout->status.cleared == 1U << (minor == 13 ? 7U : 6U));
    CHECK(layout->status.finalized == 1U << (minor == 13 ? 8U : 7U));
  }
}

TEST_CASE("values that no structure can have are refused by the name of their field", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  for (const PublishedField& field : kPublishedFields) {
    if (published(field, minor) == kAbsent) continue;
    check_refused(minor, field.name, std::uint64_t{1} << 63U);
    check_refused(minor, field.name, std::numeric_limits<std::uint64_t>::max());
    check_refused(minor, field.name, std::uint64_t{8} << 20U);
  }
}

TEST_CASE("structures without a size are refused", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  int sizes = 0;
  for (const PublishedField& field : kPublishedFields) {
    if (published(field, minor) == kAbsent || !field.name.ends_with(".size")) continue;
    check_refused(minor, field.name, 0);
    ++sizes;
  }
  CHECK(sizes == (minor == 13 ? 15 : minor == 14 ? 17 : 18));
}

TEST_CASE("members beyond the end of their structure are refused", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  std::int64_t size = 0;
  std::string group;
  for (const PublishedField& field : kPublishedFields) {
    const std::int64_t value = published(field, minor);
    if (value == kAbsent) continue;
    const std::string name(field.name);
    const std::string own_group = name.substr(0, name.find('.'));
    if (name.ends_with(".size")) {
      group = own_group;
      size = value;
    } else if (own_group == group && !name.ends_with("_size")) {
      check_refused(minor, name, static_cast<std::uint64_t>(size));
    }
  }
}

TEST_CASE("members that are not aligned are refused unless they are single bytes", "[python]") {
  const std::vector<std::string> bytes{"interpreter_frame.owner", "code_object.co_code_adaptive",
                                       "bytes_object.ob_sval", "gen_object.gi_frame_state",
                                       "debugger_support.debugger_script_path"};
  const int minor = GENERATE(13, 14, 15);
  for (const PublishedField& field : kPublishedFields) {
    const std::int64_t value = published(field, minor);
    const std::string name(field.name);
    if (value == kAbsent || name.ends_with("size")) continue;
    if (std::find(bytes.begin(), bytes.end(), name) == bytes.end()) {
      check_refused(minor, name, static_cast<std::uint64_t>(value) + 1);
    } else {
      PublishedTable table(minor);
      table.set(name, static_cast<std::uint64_t>(value) + 1);
      CAPTURE(name);
      CHECK(DebugOffsets::decode(table.bytes).has_value());
    }
  }
}

TEST_CASE("an object header other than CPython's is refused", "[python]") {
  PublishedTable table(14);
  SECTION("larger") {
    table.set("pyobject.size", 32);
  }
  SECTION("with the type first") {
    table.set("pyobject.ob_type", 0);
  }
  CHECK_THAT(refusal(table).message, Catch::Contains("object header"));
}

TEST_CASE("members of the GIL lie within the GIL", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  for (const char* name : {"interpreter_state.gil_runtime_state_locked",
                           "interpreter_state.gil_runtime_state_holder"}) {
    check_refused(minor, name, 16);
    check_refused(minor, name, 9000);
  }
}

TEST_CASE("a structure that has grown in a later patch is accepted", "[python]") {
  PublishedTable table(13);
  table.set("thread_state.size", 320);
  table.set("runtime_state.size", 300000);
  table.set("interpreter_frame.size", 88);
  CHECK(DebugOffsets::decode(table.bytes).has_value());
}

TEST_CASE("without the cookie there is no table", "[python]") {
  PublishedTable table(14);
  SECTION("changed") {
    table.bytes[GENERATE(0U, 7U)] ^= std::byte{1};
  }
  SECTION("nothing at all") {
    table.bytes.clear();
  }
  SECTION("less than a header") {
    table.bytes.resize(DebugOffsets::kHeaderSize - 1);
  }
  const Error error = refusal(table);
  CHECK(error.kind == ErrorKind::Malformed);
  CHECK(error.message == "there is no table of debug offsets");
}

TEST_CASE("a table that is cut short is refused wherever it ends", "[python]") {
  const int minor = GENERATE(13, 14, 15);
  const auto bytes = PublishedTable(minor).bytes;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto offsets = DebugOffsets::decode(std::span{bytes}.first(size));
    REQUIRE_FALSE(offsets);
    CHECK(offsets.error().kind == ErrorKind::Malformed);
  }
}

TEST_CASE("other minor versions are not supported and named", "[python]") {
  PublishedTable table(15);
  SECTION("the next one") {
    table.set_version(0x031000f0);
    CHECK_THAT(refusal(table).message,
               Catch::Contains("CPython 3.16.0") && Catch::Contains(supported_versions()));
  }
  SECTION("an alpha of the next one") {
    table.set_version(0x031000a3);
    CHECK_THAT(refusal(table).message, Catch::Contains("CPython 3.16.0a3"));
  }
  SECTION("one from before the table") {
    table.set_version(0x030c01f0);
    CHECK_THAT(refusal(table).message, Catch::Contains("CPython 3.12.1"));
  }
  CHECK(refusal(table).kind == ErrorKind::Unsupported);
}

TEST_CASE("of pre-releases only release candidates are read", "[python]") {
  PublishedTable table(15);
  table.set_version(0x030f00c1);
  const auto candidate = DebugOffsets::decode(table.bytes);
  REQUIRE(candidate);
  CHECK(candidate->version().text() == "3.15.0rc1");
  for (const std::uint64_t hex : {0x030f00a1U, 0x030f00b4U, 0x030f0000U}) {
    table.set_version(hex);
    const Error error = refusal(table);
    CHECK(error.kind == ErrorKind::Unsupported);
    CHECK_THAT(error.message, Catch::Contains("pre-release"));
    CHECK_FALSE(error.hint.empty());
  }
}

TEST_CASE("a version word that is no version is malformed", "[python]") {
  PublishedTable table(14);
  table.set_version(GENERATE(0x020708f0UL, 0x040000f0UL, 0UL, 0x1030e08f0UL));
  CHECK(refusal(table).kind == ErrorKind::Malformed);
}

TEST_CASE("free-threaded builds are refused in so many words", "[python]") {
  PublishedTable table(GENERATE(13, 14, 15));
  table.set_free_threaded(1);
  const Error error = refusal(table);
  CHECK(error.kind == ErrorKind::Unsupported);
  CHECK_THAT(error.message, Catch::Contains("free-threaded"));
  CHECK_FALSE(error.hint.empty());

  table.set_free_threaded(2);
  CHECK(refusal(table).kind == ErrorKind::Malformed);
}

TEST_CASE("tables of random bytes are refused or decoded to bounded values", "[python]") {
  std::minstd_rand random(1);
  for (int round = 0; round < 2000; ++round) {
    PublishedTable table(13 + round % 3);
    for (int change = 0; change < 4; ++change) {
      const std::size_t at =
          DebugOffsets::kHeaderSize + random() % (table.bytes.size() - DebugOffsets::kHeaderSize);
      table.bytes[at] = static_cast<std::byte>(random());
    }
    const auto offsets = DebugOffsets::decode(table.bytes);
    if (!offsets) continue;
    for (std::size_t i = 0; i < static_cast<std::size_t>(Field::Count); ++i) {
      CHECK((*offsets)[static_cast<Field>(i)] <= std::uint64_t{4} << 20U);
    }
  }
}
