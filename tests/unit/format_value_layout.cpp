// Large values over several lines.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <string_view>

#include "format/value_layout.hpp"

using namespace pyscope;

namespace {

/// Without what the layout puts in, and without the spaces that it takes away at line ends.
std::string without_space(std::string_view text) {
  std::string out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out),
               [](char c) { return c != ' ' && c != '\n'; });
  return out;
}

}  // namespace

TEST_CASE("a value that fits stays on its line", "[format]") {
  CHECK(lay_out("{'a': [1, 2]}", 80) == "{'a': [1, 2]}");
  CHECK(lay_out("{'a': [1, 2]}", 0) == "{'a': [1, 2]}");
  CHECK(lay_out("", 10).empty());
}

TEST_CASE("a large value is laid out as pprint does", "[format]") {
  CHECK(lay_out("{'default': {'engine': 'postgresql', 'host': 'db-1.shop.internal', 'options': "
                "{'connect_timeout': 5, 'keepalives': 1}}, 'replica': {'engine': 'postgresql', "
                "'host': 'db-2.shop.internal', 'options': {'connect_timeout': 5, 'keepalives': "
                "1}}}",
                100) ==
        R"({'default': {'engine': 'postgresql',
             'host': 'db-1.shop.internal',
             'options': {'connect_timeout': 5, 'keepalives': 1}},
 'replica': {'engine': 'postgresql',
             'host': 'db-2.shop.internal',
             'options': {'connect_timeout': 5, 'keepalives': 1}}})");
  // Numbers and short words fill lines.
  CHECK(lay_out("[100, 200, 300, 400, 500, 600, 700, 800, 900]", 30) ==
        "[100, 200, 300, 400, 500, 600,\n 700, 800, 900]");
  CHECK(lay_out("[Order(id=1, total=12.5), Order(id=2, total=7.25)]", 40) ==
        "[Order(id=1, total=12.5),\n Order(id=2, total=7.25)]");
  // An object's attributes stand below each other, too.
  CHECK(lay_out("<Inventory at 0x7f9719d1d2b0 lock=<locked _thread.lock object> stock={'tea': 1}>",
                50) ==
        "<Inventory at 0x7f9719d1d2b0\n lock=<locked _thread.lock object>\n stock={'tea': 1}>");
  // Behind a path.
  CHECK(lay_out("[1000000, 2000000, 3000000, 4000000]", 40, 8) ==
        "[1000000, 2000000, 3000000,\n         4000000]");
}

TEST_CASE("brackets and commas in strings are no structure", "[format]") {
  const std::string repr = R"({'a, (b': '[1, 2', "it's": "x, \" ]", 'third': b'\'{,'})";
  const std::string lines = lay_out(repr, 24);
  CHECK(without_space(lines) == without_space(repr));
  CHECK(lines == "{'a, (b': '[1, 2',\n \"it's\": \"x, \\\" ]\",\n 'third': b'\\'{,'}");
}

TEST_CASE("text that is no repr() is laid out without loss and in time", "[format]") {
  for (const std::string& repr :
       {std::string(100'000, '['), std::string(100'000, ']'), std::string(100'000, '<'),
        std::string("[") + std::string(50'000, '\'') + "]", std::string(100'000, '"'),
        [] {
          std::string escaped = "[\"";
          for (int i = 0; i < 50'000; ++i)
            escaped += "\\\"";
          return escaped;
        }(),
        [] {
          std::string nested;
          for (int i = 0; i < 20'000; ++i)
            nested += "[1, {2: <a b=(";
          return nested;
        }(),
        [] {
          std::string nested = std::string(30'000, '(') + "1, 2" + std::string(30'000, ')');
          return nested;
        }(),
        std::string("{'a': 1, <b(c>, d]}, {{'x', ") + std::string(200, 'y')}) {
    CHECK(without_space(lay_out(repr, 40)) == without_space(repr));
  }
}
