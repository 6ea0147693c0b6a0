#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "frames/raw_frame.hpp"
#include "python/code.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::CodeSpec;
using test::PythonHeap;

namespace {

constexpr RemoteAddr kNowhere{0x7e0000000000};
constexpr RemoteAddr kOdd{0x7f0000001001};

std::string error_of(const PythonHeap& heap, RemoteAddr code) {
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  return codes.at(code).error;
}

}  // namespace

TEST_CASE("a code object has its names and its length", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code({.name = "fetch",
                                     .qualified_name = "Store.fetch",
                                     .file = "/srv/store.py",
                                     .first_line = 41,
                                     .units = 33,
                                     .first_traceable = 2});
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  const CodeTable::Entry& entry = codes.at(code);
  CHECK(entry.error.empty());
  CHECK(entry.code == Code{"fetch", "Store.fetch", "/srv/store.py", 41});
  CHECK(entry.units == 33);
  CHECK(entry.first_traceable == 2);
  CHECK(codes.codes() == std::vector{entry.code});
}

TEST_CASE("code objects are read once in a few calls and known by their index", "[python]") {
  PythonHeap heap(14);
  std::vector<RemoteAddr> all;
  for (int i = 0; i < 50; ++i) {
    heap.start_new_page();
    all.push_back(heap.code({.name = "f" + std::to_string(i)}));
  }
  const RemoteAddr broken = heap.code();
  heap.set(broken, Field::CodeName, kNowhere);
  std::vector<RemoteAddr> wanted = all;
  wanted.push_back(all[7]);
  wanted.push_back(broken);
  CodeTable codes(heap.memory, heap.offsets());
  codes.load(wanted);
  CHECK(heap.memory.calls < 8);
  const std::size_t calls = heap.memory.calls;
  codes.load(all);
  CHECK(heap.memory.calls == calls);
  const std::vector<Code> list = codes.codes();
  CHECK(list.size() == all.size());  // one each, and none for the broken one
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(list.at(codes.at(all[i]).index).function == "f" + std::to_string(i));
  }
  CHECK_FALSE(codes.at(broken).error.empty());
}

TEST_CASE("a code object that could not be read is tried again", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code({.name = "late"});
  const auto name =
      read_as<std::uint64_t>(heap.memory, code, heap.offsets()[Field::CodeName]).value();
  heap.set(code, Field::CodeName, kNowhere);
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  CHECK_FALSE(codes.knows(code));
  heap.set(code, Field::CodeName, name);
  codes.load({code});
  CHECK(codes.knows(code));
  CHECK(codes.codes().at(codes.at(code).index).function == "late");
}

TEST_CASE("another code object at the same place is told from the one that was read", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr same = heap.code({.name = "same"});
  const RemoteAddr changed = heap.code({.name = "changed"});
  const RemoteAddr gone = heap.code({.name = "gone"});
  const RemoteAddr equal = heap.code({.name = "equal"});
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({same, changed, gone, equal});
  CHECK(codes.replaced({same, changed, gone, equal}).empty());
  const Field field = GENERATE(Field::ObjectObType, Field::CodeName, Field::CodeQualname,
                               Field::CodeFilename, Field::CodeLinetable);
  heap.set(changed, field, heap.str("another"));
  heap.set(gone, Field::CodeFirstlineno, std::uint32_t{77});
  // Compiled anew, all of its parts may lie where those of the former lay.
  heap.set(equal, Field::CodeVersion, std::uint32_t{1});
  // What changes while a code object lives makes no difference: its reference count.
  heap.memory.put(same, std::uint64_t{12345});
  CHECK(codes.replaced({same, changed, gone, equal}) ==
        std::unordered_set<std::uint64_t>{changed.raw(), gone.raw(), equal.raw()});
}

TEST_CASE("code that lies where other code lay is read in its place", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code({.name = "before"});
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  heap.set(code, Field::CodeName, heap.str("after"));
  codes.load({code});
  CHECK(codes.codes().at(codes.at(code).index).function == "before");
  codes.reload({code.raw()});
  CHECK(codes.codes().at(codes.at(code).index).function == "after");
  CHECK(codes.replaced({code}).empty());
}

TEST_CASE("an instruction pointer means a code unit of its code", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr code = heap.code({.units = 10});
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  const RemoteAddr first = heap.first_unit(code);
  const auto unit_at = [&](RemoteAddr instruction) {
    RawFrame frame;
    frame.executable = code;
    frame.instruction = instruction;
    return unit_of(codes, frame);
  };
  CHECK(unit_at(first).value() == 0);
  CHECK(unit_at(first + 2).value() == 1);
  CHECK(unit_at(first + 18).value() == 9);
  for (const std::uint64_t wrong : {first.raw() + 1, first.raw() + 20, first.raw() - 2,
                                    std::uint64_t{0}, ~std::uint64_t{0} - 1}) {
    CHECK(unit_at(RemoteAddr{wrong}).error().kind == ErrorKind::Malformed);
  }
}

TEST_CASE("locations are found by code unit and their errors kept", "[python]") {
  PythonHeap heap(14);
  // Two units at line 11, one at line 13, and then a byte that is no entry.
  const RemoteAddr code =
      heap.code({.first_line = 11, .units = 10, .table = {0x81, 0x12, 0xe0, 0x08, 1, 1, 0x00}});
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  for (int repeat = 0; repeat < 2; ++repeat) {
    CHECK(codes.location(code, 1).position.line == 11);
    CHECK(codes.location(code, 1).position.column == 1);
    CHECK(codes.location(code, 1).error.empty());
    CHECK_FALSE(codes.location(code, 9).error.empty());
  }
}

TEST_CASE("what is no code object is an error", "[python]") {
  PythonHeap heap(14);
  CHECK_THAT(error_of(heap, heap.str("abc")), Catch::Contains("no code object"));
  CHECK_THAT(error_of(heap, kNowhere), Catch::Contains("not readable"));
  CHECK_FALSE(error_of(heap, kOdd).empty());
  CHECK_FALSE(error_of(heap, RemoteAddr{}).empty());
  const RemoteAddr code = heap.code();
  heap.set(code, Field::ObjectObType, RemoteAddr{});
  CHECK_THAT(error_of(heap, code), Catch::Contains("no code object"));
  heap.set(code, Field::ObjectObType, kOdd);
  CHECK_FALSE(error_of(heap, code).empty());
}

TEST_CASE("a code object with a part that makes no sense is an error that names it", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr code = heap.code();
  std::string part;
  SECTION("name") {
    heap.set(code, Field::CodeName, RemoteAddr{});
    part = "co_name";
  }
  SECTION("qualified name") {
    heap.set(code, Field::CodeQualname, kOdd);
    part = "co_qualname";
  }
  SECTION("file name") {
    heap.set(code, Field::CodeFilename, heap.code_type);
    part = "co_filename";
  }
  SECTION("location table") {
    heap.set(code, Field::CodeLinetable, heap.str("abc"));
    part = "co_linetable";
  }
  SECTION("absurdly many code units") {
    heap.memory.put(code + 16, std::uint64_t{1} << 40U);
    part = "code units";
  }
  SECTION("a negative number of code units") {
    heap.memory.put(code + 16, std::int64_t{-1});
    part = "code units";
  }
  CHECK_THAT(error_of(heap, code), Catch::Contains(part));
}

TEST_CASE("what code objects keep of names is bounded, however many share a long one", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr longest = heap.str(std::string(65'000, 'n'));
  std::vector<RemoteAddr> all;
  for (int i = 0; i < 1000; ++i) {
    all.push_back(heap.code({.name = "f", .qualified_name = "f", .file = "f"}));
    heap.set(all.back(), Field::CodeFilename, longest);
  }
  CodeTable codes(heap.memory, heap.offsets());
  codes.load(all);
  std::uint64_t kept = 0;
  for (const Code& code : codes.codes())
    kept += code.file.size();
  CHECK(kept > CodeTable::kMostText / 2);
  CHECK(kept <= CodeTable::kMostText);
  CHECK_THAT(codes.at(all.back()).error, Catch::Contains("larger in all"));
  // The next snapshot begins anew.
  codes.begin_snapshot();
  codes.load({all.back()});
  CHECK(codes.at(all.back()).error.empty());
}

TEST_CASE("location tables are searched for so long and no longer", "[python]") {
  PythonHeap heap(14);
  constexpr std::uint64_t kUnits = std::uint64_t{4} << 20U;
  const RemoteAddr code =
      heap.code({.units = kUnits, .table = std::vector<std::uint8_t>(kUnits, std::uint8_t{0xf8})});
  CodeTable codes(heap.memory, heap.offsets());
  codes.load({code});
  REQUIRE(codes.at(code).error.empty());
  std::uint64_t found = 0;
  while (found < 1000 && codes.location(code, found).error.empty())
    ++found;
  CHECK(found == CodeTable::kMostSearched / kUnits);
  CHECK_THAT(codes.location(code, found).error, Catch::Contains("not looked up"));
  // What was found before is still known.
  CHECK(codes.location(code, 0).error.empty());
}
