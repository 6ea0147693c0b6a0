#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "python/reader.hpp"
#include "python_heap.hpp"

using namespace pyscope;
using test::DictEntry;
using test::PagedMemory;
using test::PythonHeap;

namespace {

using Pairs = std::vector<std::pair<RemoteAddr, RemoteAddr>>;

/// What read_str gives; "malformed" or "fault" if it fails.
std::string text_of(const PythonHeap& heap, RemoteAddr str, std::size_t limit = 1U << 16U) {
  const auto fresh = heap.reader();
  const auto text = read_str(fresh.reader, str, limit);
  if (text) return *text;
  return text.error().kind == ErrorKind::Malformed ? "malformed" : "fault";
}

/// Not an address, and one where nothing is.
constexpr RemoteAddr kNowhere{0x7e0000000000};
constexpr RemoteAddr kOdd{0x7f0000001001};

}  // namespace

TEST_CASE("an ASCII str is read", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  CHECK(text_of(heap, heap.str("MainThread")) == "MainThread");
  CHECK(text_of(heap, heap.str("")).empty());
  CHECK(text_of(heap, heap.str(std::string_view{"a\0b", 3})) == std::string("a\0b", 3));
  CHECK(text_of(heap, heap.str(std::string(4096, 'x'))) == std::string(4096, 'x'));
}

TEST_CASE("a str of each width is read as UTF-8", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  CHECK(text_of(heap, heap.str(U"W\u00f6rker \u0080\u00ff")) == "W\u00f6rker \u0080\u00ff");
  CHECK(text_of(heap, heap.str(U"\u0100 \u07ff \u0800 \uffff")) == "\u0100 \u07ff \u0800 \uffff");
  CHECK(text_of(heap, heap.str(U"\U00010000 a \U0010ffff")) == "\U00010000 a \U0010ffff");
  // Wider than needed, as strings made by old C interfaces may be.
  CHECK(text_of(heap, heap.str(U"abc", 1)) == "abc");
  CHECK(text_of(heap, heap.str(U"abc", 2)) == "abc");
  CHECK(text_of(heap, heap.str(U"abc", 4)) == "abc");
}

TEST_CASE("lone surrogates are kept as three bytes", "[python]") {
  PythonHeap heap(14);
  const std::u32string undecodable{U'a', 0xdcff, 0xd800};
  CHECK(text_of(heap, heap.str(undecodable)) == "a\xed\xb3\xbf\xed\xa0\x80");
  CHECK(text_of(heap, heap.str(undecodable, 4)) == "a\xed\xb3\xbf\xed\xa0\x80");
}

TEST_CASE("a str that is not compact has its characters elsewhere", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr characters = heap.allocate(16);
  heap.memory.write(characters, std::as_bytes(std::span{"elsewhere", 9}));
  const RemoteAddr str = heap.object(heap.str_type, 64);
  heap.set(str, Field::UnicodeLength, std::uint64_t{9});
  heap.set(str, Field::UnicodeState, std::uint32_t{1U << 2U | 1U << 6U});
  heap.put(str, 56, characters);
  CHECK(text_of(heap, str) == "elsewhere");
  heap.put(str, 56, kNowhere);
  CHECK(text_of(heap, str) == "fault");
  heap.put(str, 56, RemoteAddr{std::numeric_limits<std::uint64_t>::max() - 3});
  CHECK(text_of(heap, str) == "fault");
}

TEST_CASE("a str of a subclass is a str and other objects are not", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr str = heap.str("abc");
  heap.set(str, Field::ObjectObType, heap.type("Name", 1U << 28U | 1U << 9U));
  CHECK(text_of(heap, str) == "abc");
  heap.set(str, Field::ObjectObType, heap.bytes_type);
  CHECK(text_of(heap, str) == "malformed");
  for (const RemoteAddr type : {RemoteAddr{}, kNowhere, kOdd}) {
    heap.set(str, Field::ObjectObType, type);
    CHECK(text_of(heap, str) == "malformed");
  }
  for (const RemoteAddr object : {RemoteAddr{}, kNowhere, kOdd, RemoteAddr{8}}) {
    CHECK(text_of(heap, object) == "malformed");
  }
}

TEST_CASE("a str whose state makes no sense is refused", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr str = heap.str(U"abc", 2);
  for (const unsigned kind : {0U, 3U, 5U, 6U, 7U}) {
    heap.set(str, Field::UnicodeState, std::uint32_t{1U << 5U | kind << 2U});
    CHECK(text_of(heap, str) == "malformed");
  }
  heap.set(str, Field::UnicodeState, std::uint32_t{1U << 5U | 2U << 2U | 1U << 6U});
  CHECK(text_of(heap, str) == "malformed");  // ASCII of two bytes each
}

TEST_CASE("characters that can not be are refused", "[python]") {
  PythonHeap heap(14);
  CHECK(text_of(heap, heap.str(std::u32string{U'a', 0x110000})) == "malformed");
  const RemoteAddr ascii = heap.str("abc");
  heap.memory.put(ascii + 41, std::uint8_t{0x80});
  CHECK(text_of(heap, ascii) == "malformed");
}

TEST_CASE("a str that is too long is refused without reading it", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr str = heap.str("abcd");
  CHECK(text_of(heap, str, 4) == "abcd");
  CHECK(text_of(heap, str, 3) == "malformed");
  for (const std::uint64_t length :
       {std::uint64_t{65537}, std::uint64_t{1} << 62U, std::numeric_limits<std::uint64_t>::max()}) {
    heap.set(str, Field::UnicodeLength, length);
    CHECK(text_of(heap, str) == "malformed");
  }
}

TEST_CASE("a str that ends on an unreadable page is a fault", "[python]") {
  PythonHeap heap(14);
  heap.start_new_page();
  const RemoteAddr str = heap.str(std::string(4096 - 41, 'x'));  // with its zero to the page's end
  CHECK(text_of(heap, str).size() == 4096 - 41);
  heap.set(str, Field::UnicodeLength, std::uint64_t{4096 - 39});
  CHECK(text_of(heap, str) == "fault");
}

TEST_CASE("all that is read of strings and bytes has one limit", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr str = heap.str("four");
  const RemoteAddr bytes = heap.bytes(std::array<std::uint8_t, 4>{});
  const auto fresh = heap.reader();
  REQUIRE(fresh.reader.spend(TextBudget::kAll - 8));
  CHECK(read_str(fresh.reader, str).has_value());
  CHECK(read_bytes(fresh.reader, bytes, 4).has_value());
  CHECK(read_str(fresh.reader, str).error().kind == ErrorKind::Malformed);
  CHECK(read_bytes(fresh.reader, bytes, 4).error().kind == ErrorKind::Malformed);
}

TEST_CASE("bytes are read up to a limit", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const std::array<std::uint8_t, 4> content{0, 1, 0xfe, 0xff};
  const RemoteAddr bytes = heap.bytes(content);
  const auto size_of = [&](RemoteAddr object, std::size_t limit) {
    const auto fresh = heap.reader();
    const auto read = read_bytes(fresh.reader, object, limit);
    if (!read) return -1;
    CHECK(read->back() == std::byte{0xff});
    return static_cast<int>(read->size());
  };
  CHECK(size_of(bytes, 4) == 4);
  CHECK(size_of(bytes, 3) == -1);
  heap.set(bytes, Field::BytesObSize, std::int64_t{-1});
  CHECK(size_of(bytes, 1U << 24U) == -1);
  heap.set(bytes, Field::BytesObSize, std::uint64_t{1} << 20U);
  CHECK(size_of(bytes, 1U << 24U) == -1);  // more than there is
  for (const RemoteAddr object : {heap.str("abc"), RemoteAddr{}, kNowhere, kOdd}) {
    CHECK(size_of(object, 100) == -1);
  }
}

TEST_CASE("ints of up to 64 bits are read", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, (std::uint64_t{1} << 30U) - 1, std::uint64_t{1} << 30U,
        std::uint64_t{0x7f8ae4000b60}, std::uint64_t{1} << 60U,
        std::numeric_limits<std::uint64_t>::max()}) {
    const RemoteAddr at = heap.integer(value);
    const auto fresh = heap.reader();
    CHECK(read_unsigned(fresh.reader, at).value() == value);
  }
}

TEST_CASE("the reserved bit of a small int does not count", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr at = heap.integer(7);
  heap.set(at, Field::LongLvTag, std::uint64_t{1U << 3U | 1U << 2U});
  const auto fresh = heap.reader();
  CHECK(read_unsigned(fresh.reader, at).value() == 7);
}

TEST_CASE("ints that are negative or larger than 64 bits are refused", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr at = heap.integer(std::numeric_limits<std::uint64_t>::max());
  SECTION("negative") {
    heap.set(at, Field::LongLvTag, std::uint64_t{3U << 3U | 2U});
  }
  SECTION("of no sign") {
    heap.set(at, Field::LongLvTag, std::uint64_t{3U << 3U | 3U});
  }
  SECTION("without digits") {
    heap.set(at, Field::LongLvTag, std::uint64_t{0});
  }
  SECTION("of four digits") {
    heap.set(at, Field::LongLvTag, std::uint64_t{4U << 3U});
  }
  SECTION("of absurdly many digits") {
    heap.set(at, Field::LongLvTag, std::numeric_limits<std::uint64_t>::max() << 3U);
  }
  SECTION("of 65 bits") {
    heap.memory.put(at + 24 + 8, std::uint32_t{16});
  }
  SECTION("with a digit of 31 bits") {
    heap.memory.put(at + 24, std::uint32_t{1U << 30U});
  }
  const auto fresh = heap.reader();
  const auto value = read_unsigned(fresh.reader, at);
  REQUIRE_FALSE(value);
  CHECK(value.error().kind == ErrorKind::Malformed);
}

TEST_CASE("a dict gives its pairs in order and without the deleted ones", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const auto kind = GENERATE(PythonHeap::kGeneral, PythonHeap::kUnicode);
  const RemoteAddr one = heap.str("one");
  const RemoteAddr two = heap.str("two");
  const RemoteAddr gone = heap.str("gone");
  const RemoteAddr value = heap.integer(1);
  const RemoteAddr dict =
      heap.dict(kind, {{two, value}, {gone, RemoteAddr{}}, {one, heap.str_type}});
  const auto fresh = heap.reader();
  CHECK(read_dict(fresh.reader, dict).value() == Pairs{{two, value}, {one, heap.str_type}});
  CHECK(dict_item(fresh.reader, dict, "two").value() == value);
  CHECK(dict_item(fresh.reader, dict, "one").value() == heap.str_type);
  CHECK(dict_item(fresh.reader, dict, "gone").value() == RemoteAddr{});
  CHECK(dict_item(fresh.reader, dict, "missing").value() == RemoteAddr{});
  CHECK(dict_item(fresh.reader, dict, "").value() == RemoteAddr{});
}

TEST_CASE("a split dict has its values apart from its keys", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr one = heap.str("one");
  const RemoteAddr two = heap.str("two");
  const RemoteAddr value = heap.integer(1);
  const RemoteAddr keys =
      heap.dict_keys(PythonHeap::kSplit,
                     {{one, RemoteAddr{}}, {two, RemoteAddr{}}, {heap.str("x"), RemoteAddr{}}});
  const RemoteAddr dict = heap.split_dict(keys, {RemoteAddr{}, value, one});
  const auto fresh = heap.reader();
  const auto pairs = read_dict(fresh.reader, dict);
  REQUIRE(pairs);
  REQUIRE(pairs->size() == 2);
  CHECK((*pairs)[0] == std::pair{two, value});
  CHECK(dict_item(fresh.reader, dict, "two").value() == value);
  CHECK(dict_item(fresh.reader, dict, "one").value() == RemoteAddr{});
}

TEST_CASE("an empty dict has no pairs", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr dict = heap.dict(PythonHeap::kUnicode, {});
  const auto fresh = heap.reader();
  CHECK(read_dict(fresh.reader, dict)->empty());
  CHECK(dict_item(fresh.reader, dict, "one").value() == RemoteAddr{});
}

TEST_CASE("a key that isn't ASCII is found", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr value = heap.integer(7);
  const RemoteAddr dict = heap.dict(PythonHeap::kUnicode, {{heap.str(U"größe"), value},
                                                           {heap.str(U"grösse"), heap.integer(8)},
                                                           {heap.str(U"日本𝒳"), value}});
  const auto fresh = heap.reader();
  CHECK(dict_item(fresh.reader, dict, "größe").value() == value);
  CHECK(dict_item(fresh.reader, dict, "日本𝒳").value() == value);
  CHECK(dict_item(fresh.reader, dict, "große").value() == RemoteAddr{});
}

TEST_CASE("a large dict is searched to its end", "[python]") {
  PythonHeap heap(14);
  std::vector<DictEntry> entries;
  for (int i = 0; i < 1000; ++i)
    entries.push_back({heap.str("module" + std::to_string(i)), heap.str_type});
  entries.push_back({heap.str("threading"), heap.int_type});
  const RemoteAddr dict = heap.dict(PythonHeap::kUnicode, entries);
  const auto fresh = heap.reader();
  CHECK(dict_item(fresh.reader, dict, "threading").value() == heap.int_type);
  CHECK(read_dict(fresh.reader, dict)->size() == 1001);
  CHECK(read_dict(fresh.reader, dict, 1001).has_value());
  CHECK(read_dict(fresh.reader, dict, 1000).error().kind == ErrorKind::Malformed);
}

TEST_CASE("entries beyond the count of a dict are not looked at", "[python]") {
  PythonHeap heap(14);
  std::vector<DictEntry> entries;
  for (int i = 0; i < 70; ++i)
    entries.push_back({heap.str("key" + std::to_string(i)), heap.str_type});
  const RemoteAddr keys = heap.dict_keys(PythonHeap::kUnicode, entries);
  heap.memory.put(keys + 24, std::uint64_t{66});
  const RemoteAddr dict = heap.object(heap.dict_type, 48);
  heap.set(dict, Field::DictMaKeys, keys);
  const auto fresh = heap.reader();
  CHECK(dict_item(fresh.reader, dict, "key65").value() == heap.str_type);
  CHECK(dict_item(fresh.reader, dict, "key66").value() == RemoteAddr{});
  CHECK(read_dict(fresh.reader, dict)->size() == 66);
}

TEST_CASE("keys that are no str are passed over in a search", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr wanted = heap.str("wanted");
  const RemoteAddr bad_state = heap.str("wanted");
  heap.set(bad_state, Field::UnicodeState, std::uint32_t{3U << 2U});
  const RemoteAddr dict = heap.dict(PythonHeap::kGeneral, {{heap.integer(6), heap.int_type},
                                                           {kNowhere, heap.int_type},
                                                           {kOdd, heap.int_type},
                                                           {RemoteAddr{}, heap.int_type},
                                                           {bad_state, heap.int_type},
                                                           {wanted, heap.str_type}});
  const auto fresh = heap.reader();
  CHECK(dict_item(fresh.reader, dict, "wanted").value() == heap.str_type);
}

TEST_CASE("dict keys that make no sense are refused", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr keys = heap.dict_keys(PythonHeap::kUnicode, {{heap.str("one"), heap.str_type}});
  const RemoteAddr dict = heap.object(heap.dict_type, 48);
  heap.set(dict, Field::DictMaKeys, keys);
  SECTION("of an unknown kind") {
    heap.memory.put(keys + 10, std::uint8_t{3});
  }
  SECTION("with too many slots") {
    heap.memory.put(keys + 8, std::uint8_t{41});
  }
  SECTION("with the largest number of slots") {
    heap.memory.put(keys + 8, std::uint8_t{255});
  }
  SECTION("with too many bytes of indices") {
    heap.memory.put(keys + 9, std::uint8_t{44});
  }
  SECTION("with more entries than slots") {
    heap.memory.put(keys + 24, std::uint64_t{9});
  }
  SECTION("with a negative number of entries") {
    heap.memory.put(keys + 24, std::int64_t{-1});
  }
  const auto fresh = heap.reader();
  for (const auto& error :
       {read_dict(fresh.reader, dict).error(), dict_item(fresh.reader, dict, "one").error()}) {
    CHECK(error.kind == ErrorKind::Malformed);
    CHECK_THAT(error.message, Catch::StartsWith("dict: dict keys at"));
  }
}

TEST_CASE("a dict whose parts can not be read is refused", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr dict = heap.dict(PythonHeap::kUnicode, {{heap.str("one"), heap.str_type}});
  const auto keys = read_as<std::uint64_t>(heap.memory, dict, heap.offsets()[Field::DictMaKeys]);
  SECTION("keys nowhere") {
    heap.set(dict, Field::DictMaKeys, kNowhere);
  }
  SECTION("no keys") {
    heap.set(dict, Field::DictMaKeys, RemoteAddr{});
  }
  SECTION("keys at no address") {
    heap.set(dict, Field::DictMaKeys, kOdd);
  }
  SECTION("values nowhere") {
    heap.set(dict, Field::DictMaValues, kNowhere);
  }
  SECTION("values at no address") {
    heap.set(dict, Field::DictMaValues, kOdd);
  }
  SECTION("entries beyond the end of memory") {
    heap.memory.put(RemoteAddr{keys.value()} + 9, std::uint8_t{43});
  }
  const auto fresh = heap.reader();
  CHECK_FALSE(read_dict(fresh.reader, dict));
  CHECK_FALSE(dict_item(fresh.reader, dict, "one").value_or(RemoteAddr{}));
  CHECK_FALSE(read_dict(fresh.reader, kNowhere));
  CHECK_FALSE(dict_item(fresh.reader, RemoteAddr{}, "one"));
}

TEST_CASE("a split dict with fewer values than keys is refused", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr keys = heap.dict_keys(
      PythonHeap::kSplit, {{heap.str("one"), RemoteAddr{}}, {heap.str("two"), RemoteAddr{}}});
  const RemoteAddr dict = heap.split_dict(keys, {heap.str_type, heap.int_type});
  const auto values =
      read_as<std::uint64_t>(heap.memory, dict, heap.offsets()[Field::DictMaValues]);
  heap.memory.put(RemoteAddr{values.value()}, std::uint8_t{1});  // of which there is one
  const auto fresh = heap.reader();
  CHECK(read_dict(fresh.reader, dict).error().kind == ErrorKind::Malformed);
  CHECK(dict_item(fresh.reader, dict, "one").value() == heap.str_type);
  CHECK(dict_item(fresh.reader, dict, "two").value() == RemoteAddr{});
}

namespace {

/// Makes dict keys say that they have 2^log2 entries in as many slots.
void claim_entries(PythonHeap& heap, RemoteAddr keys, std::uint8_t log2) {
  heap.set(keys, Field::DictKeysLog2Size, log2);
  heap.set(keys, Field::DictKeysNentries, std::uint64_t{1} << log2);
}

std::uint64_t bytes_read(const PagedMemory& memory) {
  std::uint64_t sum = 0;
  for (const RemoteRange& range : memory.reads)
    sum += range.size;
  return sum;
}

}  // namespace

TEST_CASE("values within an instance cost no more than they can be, whatever their keys say",
          "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr key = heap.str("a");
  const RemoteAddr keys = heap.dict_keys(PythonHeap::kSplit, {{key, {}}, {heap.str("b"), {}}});
  claim_entries(heap, keys, 40);
  const RemoteAddr value = heap.integer(7);
  const RemoteAddr values = heap.allocate(64);
  heap.put_values(values, {value, RemoteAddr{}}, true);
  heap.set(values, Field::DictValuesUsed, std::uint8_t{1});
  heap.memory.reads.clear();
  const auto fresh = heap.reader();
  const auto found = read_inline_values(fresh.reader, values, keys, 10);
  REQUIRE(found);
  CHECK(found->items == Pairs{{key, value}});
  CHECK(bytes_read(heap.memory) <= 64U << 10U);
}

TEST_CASE(
    "a dict that claims more entries than there is memory is refused at the first page that "
    "is missing",
    "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  heap.start_new_page();
  const RemoteAddr keys = heap.dict_keys(PythonHeap::kGeneral, {{heap.str("a"), heap.integer(1)}});
  claim_entries(heap, keys, 20);
  const RemoteAddr dict = heap.object(heap.dict_type, heap.offsets()[Field::DictSize]);
  heap.set(dict, Field::DictMaKeys, keys);
  heap.set(dict, Field::DictMaUsed, std::uint64_t{1} << 20U);
  heap.memory.reads.clear();
  const auto fresh = heap.reader();
  const auto found = read_dict(fresh.reader, dict);
  REQUIRE_FALSE(found);
  CHECK(found.error().kind == ErrorKind::Fault);
  CHECK_FALSE(read_dict_prefix(fresh.reader, dict, 1U << 20U));
  CHECK(bytes_read(heap.memory) <= 256U << 10U);
}

TEST_CASE("attributes are found within instances of one class", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr type = heap.class_with_keys("Thread", {heap.str("_ident"), heap.str("_name")});
  const RemoteAddr first = heap.instance(type, {RemoteAddr{}, heap.str_type});
  const RemoteAddr second = heap.instance(type, {RemoteAddr{}, heap.int_type});
  const RemoteAddr without = heap.instance(type, {heap.int_type, RemoteAddr{}});
  const auto fresh = heap.reader();
  CHECK(instance_attributes(fresh.reader, {first, second, without}, "_name") ==
        std::vector{heap.str_type, heap.int_type, RemoteAddr{}});
  CHECK(instance_attributes(fresh.reader, {first}, "missing") == std::vector{RemoteAddr{}});
  CHECK(instance_attributes(fresh.reader, {}, "_name").empty());
}

TEST_CASE("attributes are found in an instance's dict once it has one", "[python]") {
  PythonHeap heap(GENERATE(13, 14, 15));
  const RemoteAddr type = heap.class_with_keys("Thread", {heap.str("_name")});
  const RemoteAddr object = heap.instance(type, {heap.str_type});
  heap.set_managed_dict(object,
                        heap.dict(PythonHeap::kUnicode, {{heap.str("_name"), heap.int_type}}));
  const auto fresh = heap.reader();
  CHECK(instance_attributes(fresh.reader, {object}, "_name") == std::vector{heap.int_type});
}

TEST_CASE("an instance without attributes that can be read has none", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.class_with_keys("Thread", {heap.str("a"), heap.str("_name")});
  const RemoteAddr good = heap.instance(type, {RemoteAddr{}, heap.str_type});
  RemoteAddr bad = heap.instance(type, {RemoteAddr{}, heap.str_type});
  const RemoteAddr bad_values = bad + 16;
  SECTION("values that are not in use") {
    heap.memory.put(bad_values + 3, std::uint8_t{0});
  }
  SECTION("fewer values than keys") {
    heap.memory.put(bad_values, std::uint8_t{1});
  }
  SECTION("a value at no address") {
    heap.put(bad_values, 16, kOdd);
  }
  SECTION("a dict at no address") {
    heap.set_managed_dict(bad, kOdd);
  }
  SECTION("a dict nowhere") {
    heap.set_managed_dict(bad, kNowhere);
  }
  SECTION("no type") {
    heap.set(bad, Field::ObjectObType, RemoteAddr{});
  }
  SECTION("a type without a dict") {
    const RemoteAddr slots = heap.class_with_keys("Slots", {heap.str("a"), heap.str("_name")});
    heap.set(slots, Field::TypeTpFlags, std::uint64_t{1U << 2U});
    heap.set(bad, Field::ObjectObType, slots);
  }
  SECTION("a type without values in its instances") {
    const RemoteAddr apart = heap.class_with_keys("Apart", {heap.str("a"), heap.str("_name")});
    heap.set(apart, Field::TypeTpFlags, std::uint64_t{1U << 4U});
    heap.set(bad, Field::ObjectObType, apart);
  }
  SECTION("a type without keys") {
    heap.set(bad, Field::ObjectObType, heap.type("Empty", 1U << 4U | 1U << 2U));
  }
  SECTION("an absurdly large type") {
    heap.set(bad, Field::ObjectObType, heap.type("Huge", 1U << 4U | 1U << 2U, ~std::uint64_t{0}));
  }
  SECTION("an object nowhere") {
    bad = kNowhere;
  }
  SECTION("an object at no address") {
    bad = kOdd;
  }
  SECTION("an object at the first address") {
    bad = RemoteAddr{8};
  }
  SECTION("an object at the last address") {
    bad = RemoteAddr{std::numeric_limits<std::uint64_t>::max() - 7};
  }
  const auto fresh = heap.reader();
  CHECK(instance_attributes(fresh.reader, {bad, good}, "_name") ==
        std::vector{RemoteAddr{}, heap.str_type});
}

TEST_CASE("the name of a type is read up to its zero", "[python]") {
  PythonHeap heap(14);
  const std::string long_name(100, 'n');
  const RemoteAddr type = heap.type(long_name, 0);
  const auto fresh = heap.reader();
  CHECK(fresh.reader.type_name(heap.code_type).value() == "code");
  CHECK(fresh.reader.type_name(type).value() == long_name);
  heap.set(type, Field::TypeTpName, RemoteAddr{});
  CHECK(fresh.reader.type_name(type).value() == long_name);  // remembered
}

TEST_CASE("the name of a type may end where the memory ends", "[python]") {
  PythonHeap heap(14);
  heap.start_new_page();
  const RemoteAddr page = heap.allocate(PagedMemory::kPageSize);
  const RemoteAddr name = page + (PagedMemory::kPageSize - 5);
  heap.memory.write(name, std::as_bytes(std::span{"code", 5}));
  heap.start_new_page();
  const RemoteAddr type = heap.type("", 0);
  heap.set(type, Field::TypeTpName, name);
  const auto fresh = heap.reader();
  CHECK(fresh.reader.type_name(type).value() == "code");

  heap.memory.put(name + 4, 'X');  // no zero before the end
  const auto again = heap.reader();
  CHECK(again.reader.type_name(type).error().kind == ErrorKind::Fault);
}

TEST_CASE("a type name without an end is cut", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type(std::string(5000, 'n'), 0);
  const auto fresh = heap.reader();
  const auto name = fresh.reader.type_name(type);
  REQUIRE(name);
  CHECK(name->size() >= 256);
  CHECK(name->size() < 300);
}

TEST_CASE("a type without a readable name is a fault", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("code", 0);
  for (const std::uint64_t at : {std::uint64_t{0}, kNowhere.raw(), ~std::uint64_t{0} - 15}) {
    heap.set(type, Field::TypeTpName, at);
    const auto fresh = heap.reader();
    CHECK(fresh.reader.type_name(type).error().kind == ErrorKind::Fault);
    CHECK(fresh.reader.type_name(kNowhere).error().kind == ErrorKind::Fault);
  }
}

TEST_CASE("a pointer is null or what can be an address", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr at = heap.allocate(8);
  const auto read = [&](std::uint64_t raw) {
    heap.memory.put(at, raw);
    const auto fresh = heap.reader();
    return fresh.reader.pointer(at, 0);
  };
  CHECK(read(0).value() == RemoteAddr{});
  CHECK(read(0x1000).value() == RemoteAddr{0x1000});
  CHECK(read(0x00fffffffffffff8).value().raw() == 0x00fffffffffffff8);
  for (const std::uint64_t raw : {std::uint64_t{8}, std::uint64_t{0xff8}, std::uint64_t{0x1001},
                                  std::uint64_t{0x0100000000000000}, 0xdddddddddddddddd}) {
    CHECK(read(raw).error().kind == ErrorKind::Malformed);
  }
}

TEST_CASE("what is prefetched is there without a further call", "[python]") {
  PythonHeap heap(14);
  const RemoteAddr first = heap.str("first");
  heap.start_new_page();
  const RemoteAddr second = heap.str("second");
  const auto fresh = heap.reader();
  fresh.reader.prefetch({first, kOdd, RemoteAddr{}, second, kNowhere}, 64);
  fresh.reader.prefetch({heap.str_type}, 400);
  const std::size_t calls = heap.memory.calls;
  CHECK(read_str(fresh.reader, first).value() == "first");
  CHECK(read_str(fresh.reader, second).value() == "second");
  CHECK(heap.memory.calls == calls);
}
