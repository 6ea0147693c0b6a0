// Expected values are by the definition of the format, Objects/locations.md in CPython's sources,
// or what co_positions() gives.
#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "python/location_table.hpp"

using namespace pyscope;

namespace {

using Table = std::vector<std::uint8_t>;

/// The kinds of entries.
enum Kind : std::uint8_t { kOneLine0 = 10, kNoColumns = 13, kLong = 14, kNone = 15 };

/// The first byte of an entry.
constexpr std::uint8_t head(int kind, int units) {
  return static_cast<std::uint8_t>(0x80 | kind << 3 | (units - 1));
}

std::string to_text(const Position& position) {
  const auto number = [](const std::optional<std::int32_t>& value) {
    return value ? std::to_string(*value) : "?";
  };
  if (!position.line && !position.end_line) return "none";
  return number(position.line) + "-" + number(position.end_line) + ":" + number(position.column) +
         "-" + number(position.end_column);
}

/// The position of one unit as LINE-END_LINE:COLUMN-END_COLUMN, or "none", or "malformed".
std::string at(const Table& table, std::uint64_t unit, std::int32_t first_line = 100) {
  const auto position = find_location(std::as_bytes(std::span{table}), first_line, unit);
  if (!position) return position.error().kind == ErrorKind::Malformed ? "malformed" : "other";
  return to_text(*position);
}

Table from_hex(const std::string& text) {
  Table table;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    table.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return table;
}

/// All positions of a table; neighbours that are equal as COUNT*POSITION.
std::string all(const Table& table, std::int32_t first_line) {
  std::string text;
  std::string last;
  int count = 0;
  for (std::uint64_t unit = 0;; ++unit) {
    const std::string position = at(table, unit, first_line);
    if (count != 0 && position != last) {
      text += (text.empty() ? "" : " ") + std::to_string(count) + "*" + last;
      count = 0;
    }
    if (position == "malformed") return text;
    last = position;
    ++count;
  }
}

}  // namespace

TEST_CASE("a short entry has its columns in one byte", "[python]") {
  CHECK(at({head(0, 1), 0x00}, 0) == "100-100:0-0");
  CHECK(at({head(0, 1), 0x7f}, 0) == "100-100:7-22");
  CHECK(at({head(9, 1), 0x7f}, 0) == "100-100:79-94");
  CHECK(at({head(3, 1), 0x21}, 0) == "100-100:26-27");
}

TEST_CASE("a one-line entry goes on by up to two lines", "[python]") {
  CHECK(at({head(kOneLine0, 1), 80, 90}, 0) == "100-100:80-90");
  CHECK(at({head(kOneLine0 + 1, 1), 0, 127}, 0) == "101-101:0-127");
  CHECK(at({head(kOneLine0 + 2, 1), 3, 4}, 0) == "102-102:3-4");
}

TEST_CASE("an entry without columns has a signed line", "[python]") {
  CHECK(at({head(kNoColumns, 1), 0}, 0) == "100-100:?-?");
  CHECK(at({head(kNoColumns, 1), 5 << 1}, 0) == "105-105:?-?");
  CHECK(at({head(kNoColumns, 1), 5 << 1 | 1}, 0) == "95-95:?-?");
}

TEST_CASE("a long entry has both lines and both columns", "[python]") {
  CHECK(at({head(kLong, 1), 2 << 1, 3, 5, 8}, 0) == "102-105:4-7");
  CHECK(at({head(kLong, 1), 2 << 1 | 1, 0, 1, 1}, 0) == "98-98:0-0");
  CHECK(at({head(kLong, 1), 0, 0, 0, 0}, 0) == "100-100:?-?");
  CHECK(at({head(kLong, 1), 0, 0, 3, 0}, 0) == "100-100:2-?");
}

TEST_CASE("numbers of several bytes have their low bits first", "[python]") {
  CHECK(at({head(kLong, 1), 0x40 | 0, 0x04, 0x40 | 1, 0x01, 0x40 | 3, 0x02, 0x7f, 0x41, 0x01}, 0) ==
        "228-293:130-4222");
  CHECK(at({head(kNoColumns, 1), 0x40 | 1, 0x04}, 0, 1000) == "872-872:?-?");
  // The largest that CPython writes for an int.
  CHECK(at({head(kNoColumns, 1), 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x03}, 0, 0) ==
        "2147483647-2147483647:?-?");
}

TEST_CASE("an entry without a location leaves the line where it was", "[python]") {
  const Table table{head(kOneLine0 + 2, 1), 1, 2, head(kNone, 2), head(0, 1), 0x12};
  CHECK(at(table, 0) == "102-102:1-2");
  CHECK(at(table, 1) == "none");
  CHECK(at(table, 2) == "none");
  CHECK(at(table, 3) == "102-102:1-3");
}

TEST_CASE("entries cover up to eight units and the lines add up", "[python]") {
  const Table table{head(kOneLine0 + 1, 8),
                    1,
                    2,
                    head(kNoColumns, 3),
                    4 << 1,
                    head(kLong, 1),
                    3 << 1 | 1,
                    7,
                    1,
                    1};
  CHECK(all(table, 100) == "8*101-101:1-2 3*105-105:?-? 1*102-109:0-0");
}

TEST_CASE("a line before the first one of a file is none", "[python]") {
  CHECK(at({head(kNoColumns, 1), 9 << 1 | 1}, 0, 5) == "none");
  CHECK(at({head(kLong, 1), 9 << 1 | 1, 6, 1, 1}, 0, 5) == "?-2:0-0");
}

TEST_CASE("a unit beyond the end of the table is malformed", "[python]") {
  const Table table{head(0, 3), 0};
  CHECK(at(table, 2) == "100-100:0-0");
  CHECK(at(table, 3) == "malformed");
  CHECK(at(table, ~std::uint64_t{0}) == "malformed");
}

TEST_CASE("code without a location table has no positions", "[python]") {
  CHECK(at({}, 0) == "none");
  CHECK(at({}, 12345) == "none");
}

TEST_CASE("a table that ends within an entry is malformed there and not before", "[python]") {
  const Table table{head(0, 1),
                    0x12,
                    head(kOneLine0, 1),
                    1,
                    2,
                    head(kNoColumns, 1),
                    0x42,
                    0x03,
                    head(kLong, 1),
                    0x42,
                    1,
                    0x45,
                    0x01,
                    0x46,
                    0x01,
                    head(kNone, 1)};
  const std::vector<std::size_t> ends{2, 5, 8, 15, 16};  // of the entries
  for (std::size_t size = 1; size <= table.size(); ++size) {
    const Table cut(table.begin(), table.begin() + static_cast<std::ptrdiff_t>(size));
    for (std::size_t unit = 0; unit < ends.size(); ++unit) {
      CAPTURE(size, unit);
      if (ends[unit] <= size) {
        CHECK(at(cut, unit) == at(table, unit));
      } else {
        CHECK(at(cut, unit) == "malformed");
      }
    }
  }
}

TEST_CASE("an entry without its mark is malformed", "[python]") {
  CHECK(at({0x00, 0x00}, 0) == "malformed");
  CHECK(at({head(0, 1), 0x00, 0x7f}, 1) == "malformed");
  CHECK(at({head(0, 1), 0x00, 0x7f}, 0) == "100-100:0-0");  // it is not looked at
}

TEST_CASE("a number longer than any int is malformed", "[python]") {
  CHECK(at({head(kNoColumns, 1), 0x41, 0x40, 0x40, 0x40, 0x40, 0x40, 0x00}, 0) == "malformed");
  Table endless{head(kLong, 1)};
  endless.insert(endless.end(), 1000, 0x7f);
  CHECK(at(endless, 0) == "malformed");
}

TEST_CASE("lines and columns that no int holds are none", "[python]") {
  const Table most{0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x3f};  // of six bytes, 36 bits
  Table line{head(kNoColumns, 1)};
  line.insert(line.end(), most.begin(), most.end());
  CHECK(at(line, 0) == "none");
  Table columns{head(kLong, 1), 0, 0};
  columns.insert(columns.end(), most.begin(), most.end());
  columns.insert(columns.end(), most.begin(), most.end());
  CHECK(at(columns, 0) == "100-100:?-?");
}

// The tables and positions below are those that CPython 3.14.8 makes of this program:
//
//  1 def total(prices, rate):
//  2     return sum(
//  3         price * (1 + rate)
//  4         for price in prices
//  5         if price is not None
//  6     )
//  7
//  8
//  9 class Store:
// 10     def fetch(self, key, *, retry=3):
// 11         for attempt in range(retry):
// 12             try:
// 13                 with self.lock:
// 14                     return self.cache[key]
// 15             except KeyError as error:
// 16                 self.log(error)
// 17         else:
// 18             return None

TEST_CASE("the positions of a function", "[python]") {
  // total
  CHECK(all(from_hex("f88000dc0b0ef400040f06e1151bf305040f06f300040c06f000040506"), 1) ==
        "1*none 1*1-1:0-0 5*2-2:11-14 5*2-6:14-5 2*4-4:21-27 4*2-6:14-5 4*2-6:11-5 1*2-6:4-5");
}

TEST_CASE("the positions of a generator expression", "[python]") {
  // total.<locals>.<genexpr>
  CHECK(all(from_hex("f8e9008000f000040f06e1151b8845d80b10f40500091b8805901190549518d7081ad2"
                     "081adb151bf9"),
            2) ==
        "1*none 2*2-2:?-? 1*2-2:0-0 1*2-6:14-5 2*4-4:21-27 1*4-4:12-17 1*5-5:11-16 "
        "5*3-3:8-26 1*3-3:8-13 1*3-3:17-18 1*3-3:21-25 6*3-3:17-25 11*3-3:8-26 4*4-4:21-27 "
        "2*none");
}

TEST_CASE("the positions of a class body", "[python]") {
  // Store
  CHECK(all(from_hex("f887008000f002080518a021f700080518f200080518"), 9) ==
        "1*none 9*9-9:0-0 1*10-18:4-23 1*10-10:34-35 11*10-18:4-23");
}

TEST_CASE("the positions of a function with exception handlers and a loop", "[python]") {
  // Store.fetch
  CHECK(all(from_hex("8000dc171c9855967c8847f002040d20d81519975997599359d81b1f9f3a993aa0639d"
                     "3ff70300161f9459f105001824f10e001418f70b00161f97599059fbe4131bf400010d"
                     "20d81014970891089815970f920ffbf003010d20fa"),
            10) ==
        "1*10-10:0-0 5*11-11:23-28 1*11-11:29-34 7*11-11:23-35 1*11-11:12-19 1*12-16:12-31 "
        "1*13-13:21-25 20*13-13:21-30 1*14-14:27-31 10*14-14:27-37 1*14-14:38-41 "
        "6*14-14:27-42 13*13-13:21-30 2*11-11:23-35 2*18-18:19-23 17*13-13:21-30 4*none "
        "5*15-15:19-27 5*15-16:12-31 1*16-16:16-20 10*16-16:16-24 1*16-16:25-30 "
        "11*16-16:16-31 4*none 1*15-16:12-31 3*none");
}
