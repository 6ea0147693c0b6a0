// The expected marks in the first table were printed by the traceback module of CPython 3.13.0 for
// the same line and columns.

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "format/anchor.hpp"
#include "format/escape.hpp"
#include "format/underline.hpp"

using namespace pyscope;

namespace {

constexpr std::string_view kOpen = "«";
constexpr std::string_view kClose = "»";

struct MarkedSource {
  std::string line;
  Position position;
};

/// "x = «f(y)»" is the line "x = f(y)" of which `f(y)` is executed.
MarkedSource parse(std::string_view marked) {
  const auto open = marked.find(kOpen);
  const auto close = marked.find(kClose);
  MarkedSource source;
  source.line = marked.substr(0, open);
  source.line += marked.substr(open + kOpen.size(), close - open - kOpen.size());
  source.line += marked.substr(close + kClose.size());
  source.position = {7, 7, static_cast<std::int32_t>(open),
                     static_cast<std::int32_t>(close - kOpen.size())};
  return source;
}

UnderlinedLine underline_marked(std::string_view marked) {
  const MarkedSource source = parse(marked);
  return underline(source.line, source.position);
}

struct Case {
  std::string_view source;
  std::string_view marks;
};

// clang-format off
constexpr auto kLikePython = std::to_array<Case>({
    {R"py(«foo(1, bar(2))»)py", "~~~^^^^^^^^^^^"},
    {R"py(x = foo(«bar(2)»))py", "        ~~~^^^"},
    {R"py(y = 1 + «f(x)»)py", "        ~^^^"},
    {R"py(if «check(a)» and b:)py", "   ~~~~~^^^"},
    {R"py(return «foo(x)»)py", ""},
    {R"py(return «self.foo(x)»)py", "       ~~~~~~~~^^^"},
    {R"py(return «foo(1)(2)»)py", "       ~~~~~~^^^"},
    {R"py(x = «foo(x)»)py", ""},
    {R"py(x = «self.store.get(key)»)py", ""},
    {R"py(x = y = «foo(x)»)py", "        ~~~^^^"},
    {R"py(x: int = «foo(x)»)py", "         ~~~^^^"},
    {R"py(self.x = «foo(x)»)py", "         ~~~^^^"},
    {R"py(x = «foo(x)»  # a note)py", ""},
    {R"py(x += «foo(x)»)py", "     ~~~^^^"},
    {R"py(«f("(", ")")»)py", "~^^^^^^^^^^"},
    {R"py(«f("a", 'b]', """c)""")» or None)py", "~^^^^^^^^^^^^^^^^^^^^^"},
    {R"py(«f("\"(", '\'')»)py", "~^^^^^^^^^^^^^"},
    {R"py(«f(r"\", 1)» if x else y)py", "^^^^^^^^^^"},
    {R"py(«f(rb"\\", b")")».g)py", "~^^^^^^^^^^^^^^"},
    {R"py(«f(f"{x['a']}")» + 1)py", "~^^^^^^^^^^^^^"},
    {R"py(«f(f"{x["a"]}", 2)» + 1)py", "~^^^^^^^^^^^^^^^^"},
    {R"py(«f(f"{x:{width}}{{")» + 1)py", "~^^^^^^^^^^^^^^^^^^"},
    {R"py(«f(f"{d['}']!r:>{w}}")» + 1)py", "~^^^^^^^^^^^^^^^^^^^^"},
    {R"py(«f(f"\N{EN DASH}{x}")» + 1)py", "~^^^^^^^^^^^^^^^^^^^"},
    {R"py(«f"{x}"»)py", ""},
    {R"py(print(«f"{x}".join(y)»))py", "      ~~~~~~~~~~~^^^"},
    {R"py(«"a" "b".join(x)» + z)py", "~~~~~~~~~~~~^^^"},
    {R"py(«"%s (" % name»)py", "~~~~~~~^~~~~~"},
    {R"py(«a.b.c().d(1)»)py", "~~~~~~~~~^^^"},
    {R"py(«a.b().c»)py", ""},
    {R"py(x = «a.b().c»)py", "    ^^^^^^^"},
    {R"py(«a.b(1)[2]»)py", "~~~~~~^^^"},
    {R"py(«x[i][j]»)py", "~~~~^^^"},
    {R"py(y = «x[i]»[j])py", "    ~^^^"},
    {R"py(y = «x[i][j]»)py", "    ~~~~^^^"},
    {R"py(«x["a]"]["b"]» + 1)py", "~~~~~~~^^^^^"},
    {R"py(«d[1:2, ...]»)py", "~^^^^^^^^^^"},
    {R"py(«x[f(y)]» = 2)py", "~^^^^^^"},
    {R"py(«x[f(y)]».z)py", "~^^^^^^"},
    {R"py(«x [ 0 ]»)py", "~~^^^^^"},
    {R"py(z = «a < b»)py", "    ^^^^^"},
    {R"py(if «a <= b»: pass)py", "   ^^^^^^"},
    {R"py(z = «a + b * c»)py", "    ~~^~~~~~~"},
    {R"py(z = a + «b * c»)py", "        ~~^~~"},
    {R"py(z = «a - b + c»)py", "    ~~~~~~^~~"},
    {R"py(z = «a ** b ** c»)py", "    ~~^^~~~~~~~"},
    {R"py(z = «-a ** b»)py", "    ^^^^^^^"},
    {R"py(z = «-a * b»)py", "    ~~~^~~"},
    {R"py(z = «a ** -b»)py", "    ~~^^~~~"},
    {R"py(z = «a // b»)py", "    ~~^^~~"},
    {R"py(z = «a << 1 | b»)py", "    ~~~~~~~^~~"},
    {R"py(z = «a@b»)py", "    ~^~"},
    {R"py(z = «a+b»)py", "    ~^~"},
    {R"py(z = «a   %   b»)py", "    ~~~~^~~~~"},
    {R"py(z = «f(a) + g(b)»)py", "    ~~~~~^~~~~~"},
    {R"py(z = «(a + b) * c»)py", "    ~~~~~~~~^~~"},
    {R"py(z = «a * (b + c)»)py", "    ~~^~~~~~~~~"},
    {R"py(z = «1e-5 + x»)py", "    ~~~~~^~~"},
    {R"py(z = «0xe-1»)py", "    ~~~^~"},
    {R"py(z = «1.5.real + 2»)py", "    ~~~~~~~~~^~~"},
    {R"py(z = «~a & b»)py", "    ~~~^~~"},
    {R"py(z = «a if b else c + d»)py", "    ^^^^^^^^^^^^^^^^^"},
    {R"py(z = «a or b + c»)py", "    ^^^^^^^^^^"},
    {R"py(z = «not a + b»)py", "    ^^^^^^^^^"},
    {R"py(z = «a == b + c»)py", "    ^^^^^^^^^^"},
    {R"py(z = «a, b + c»)py", "    ^^^^^^^^"},
    {R"py(z = «lambda: f(x)»)py", "    ^^^^^^^^^^^^"},
    {R"py(z = «(lambda: f(x))()»)py", ""},
    {R"py(z = «await f(x)»)py", "    ^^^^^^^^^^"},
    {R"py(«await f(x)»)py", ""},
    {R"py(z = «await f(x) + 1»)py", "    ~~~~~~~~~~~^~~"},
    {R"py(z = «[f(x) for x in y]»)py", "    ^^^^^^^^^^^^^^^^^"},
    {R"py(z = «{**a, "b": 1}»)py", "    ^^^^^^^^^^^^^"},
    {R"py(z = «(yield x)»)py", "    ^^^^^^^^^"},
    {R"py(«raise ValueError(x)»)py", ""},
    {R"py(raise «ValueError(x)»)py", "      ~~~~~~~~~~^^^"},
    {R"py(«import os»)py", ""},
    {R"py(«import os».path)py", "^^^^^^^^^"},
    {R"py(@«decorate(1)»)py", " ~~~~~~~~^^^"},
    {R"py(@«app.route("/")»)py", " ~~~~~~~~~^^^^^"},
    {R"py(with «open(path)» as f:)py", "     ~~~~^^^^^^"},
    {R"py(for x in «items()»:)py", "         ~~~~~^^"},
    {R"py(«assert x == 1»)py", ""},
    {R"py(assert «x == 1», y)py", "       ^^^^^^"},
    {R"py(del «x[0]»)py", "    ~^^^"},
    {R"py(«x.y» = z)py", "^^^"},
    {R"py(«x» + y)py", "^"},
    {R"py(«x»)py", ""},
    {R"py(«return x»)py", ""},
    {R"py(print(«x»))py", "      ^"},
    {R"py(print(«...»))py", "      ^^^"},
    {R"py(print(«日本(x)»))py", "      ~~~~^^^"},
    {R"py(s = 日本 + «f(x)»)py", "           ~^^^"},
    {R"py(s = "日本" + «f("語")»)py", "             ~^^^^^^"},
    {R"py(print("日本", «x["語"] + "é"»))py", "              ~~~~~~~~^~~~~"},
    {R"py(é = «x + y»)py", "    ~~^~~"},
    {R"py(    «a(b)» + c  )py", "~^^^"},
});
// clang-format on

}  // namespace

TEST_CASE("a call that is all of its line is not marked", "[format]") {
  for (const char* line : {"«foo()»", "    «self.model.train(1, x)»", "«serve(get_user)»  "}) {
    CAPTURE(line);
    CHECK(underline_marked(line).marks.empty());
  }
  // Here marks tell which of several calls, or that there is more on the line.
  for (const char* line :
       {"«foo(bar(2))»", "«a.b().c(1)»", "«x[0](1)»", "«foo()» + 1", "«(a)(1)»"}) {
    CAPTURE(line);
    CHECK_FALSE(underline_marked(line).marks.empty());
  }
}

TEST_CASE("an expression is underlined as in tracebacks of Python", "[format]") {
  for (const Case& expected : kLikePython) {
    CAPTURE(expected.source);
    CHECK(underline_marked(expected.source).marks == expected.marks);
  }
}

TEST_CASE("the text under which the marks stand is the line without indentation", "[format]") {
  CHECK(underline_marked("    «a(b)»  ").text == "a(b)");
  CHECK(underline_marked("\t\f «a(b)» + 1\r").text == "a(b) + 1");
  CHECK(underline_marked("\t\f «a(b)» + 1\r").marks == "~^^^");
}

TEST_CASE("an operator is marked without the bracket behind it", "[format]") {
  // CPython takes the bracket for the operator's second character.
  CHECK(underline_marked("return «3*(x)»").marks == "       ~^~~~");
}

TEST_CASE("a result that is assigned to a name in any script is not underlined", "[format]") {
  // CPython compares bytes with characters here, and so underlines it unless all is ASCII.
  CHECK(underline_marked("größe = «f(x)»").marks.empty());
}

TEST_CASE("marks stand below the columns and not below the bytes", "[format]") {
  // Unlike CPython, which counts a combining character as a column.
  CHECK(underline_marked("e\u0301 = 1 + «f(e\u0301)»").marks == "        ~^^^");
  CHECK(underline_marked("e\u0301 = 1 + «f(e\u0301)»").text == "e\u0301 = 1 + f(e\u0301)");
  // The text of an escape is as wide as it is printed.
  CHECK(underline_marked("«f(\"\x1b\")» + 1").text == R"(f("\x1b") + 1)");
  CHECK(underline_marked("«f(\"\x1b\")» + 1").marks == "~^^^^^^^^");
}

TEST_CASE("tabs within a line become spaces and the marks follow", "[format]") {
  const UnderlinedLine line = underline_marked("\tx =\t«f(1)» + 1");
  CHECK(line.text == "x =     f(1) + 1");
  CHECK(line.marks == "        ~^^^");
}

TEST_CASE("of an expression over several lines the first is underlined to its end", "[format]") {
  const std::string_view line = "    result = call(first,  ";
  const UnderlinedLine partly = underline(line, {3, 5, 13, 9});
  CHECK(partly.text == "result = call(first,");
  CHECK(partly.marks == "         ^^^^^^^^^^^");
  CHECK(underline(line, {3, 5, 4, 9}).marks.empty());  // all of the line
  CHECK(underline(line, {3, 5, 13, -1}).marks.empty());
  CHECK(underline(line, {3, 2, 13, 20}).marks.empty());
}

TEST_CASE("columns that do not fit the line give no marks", "[format]") {
  constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();
  constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
  const std::string line = "  x = f(日本) + 1";
  const auto size = static_cast<std::int32_t>(line.size());
  REQUIRE(underline(line, {7, 7, 6, 15}).marks == "    ~^^^^^^");
  const auto columns = std::to_array<std::pair<std::int32_t, std::int32_t>>({
      {-1, 15},
      {6, -1},
      {15, 6},
      {6, 6},
      {6, size + 1},
      {size, size + 1},
      {kMax, kMax},
      {kMin, kMax},
      {6, kMax},
      {kMin, 15},
      {9, 15},
      {6, 9},
      {6, 10},
      {0, 15},
  });
  for (const auto& [begin, end] : columns) {
    CAPTURE(begin, end);
    CHECK(underline(line, {7, 7, begin, end}).marks.empty());
    CHECK(underline(line, {7, 7, begin, end}).text == "x = f(日本) + 1");
  }
  CHECK(underline(line, {7, 7, 6, std::nullopt}).marks.empty());
  CHECK(underline(line, {7, 7, std::nullopt, 15}).marks.empty());
  CHECK(underline(line, {7, std::nullopt, 6, 15}).marks.empty());
  CHECK(underline(line, {std::nullopt, 7, 6, 15}).marks.empty());
  CHECK(underline("f(1) + 2 ", {7, 7, 0, 9}).marks.empty());  // the space behind it
  CHECK(underline("", {7, 7, 0, 1}).marks.empty());
  CHECK(underline("", {7, 7, 0, 0}).text.empty());
  CHECK(underline(" \t ", {7, 7, 0, 3}).text.empty());
}

TEST_CASE("columns mean nothing in a line that is not UTF-8", "[format]") {
  const UnderlinedLine line = underline("x = f('\xe9') + 1", {7, 7, 4, 10});
  CHECK(line.text == R"(x = f('\xe9') + 1)");
  CHECK(line.marks.empty());
}

TEST_CASE("a line of megabytes is cut", "[format]") {
  const std::string wide = "x = [" + std::string(1'000'000, '1') + "]";
  const UnderlinedLine line = underline(wide, {1, 1, 4, static_cast<std::int32_t>(wide.size())});
  CHECK(line.text.size() < 600);
  CHECK(line.text.ends_with("..."));
  CHECK(line.marks.size() <= line.text.size());
  std::string narrow = "x = '";
  for (int i = 0; i < 100'000; ++i)
    narrow += "\u0301";
  CHECK(underline(narrow, {1, 1, 0, 1}).text.size() < 4000);
}

TEST_CASE("a line that is too wide is cut around what is marked", "[format]") {
  const auto cut = [](std::string_view marked, std::size_t columns) {
    const MarkedSource source = parse(marked);
    const UnderlinedLine line = underline(source.line, source.position, columns);
    return line.text + "\n" + line.marks;
  };
  // What fits exactly stays.
  CHECK(cut("abc = «f(x)» + d", 14) == "abc = f(x) + d\n      ~^^^");
  // On the right alone, if all marks are seen so.
  CHECK(cut("abc = «f(x)» + d", 13) == "abc = f(x)...\n      ~^^^");
  CHECK(cut("abc = «f(x)» + some + more", 15) == "abc = f(x) +...\n      ~^^^");
  // On both sides, and no more of the left than must be.
  CHECK(cut("abc = «f(x)» + some + more", 12) == "...= f(x)...\n     ~^^^");
  CHECK(cut("abc + some + more + «f(x)»", 12) == "...re + f(x)\n        ~^^^");
  // Marks that are too wide themselves are seen from their beginning on.
  CHECK(cut("abc = «fun(one, two, three)» + 1", 14) == "...fun(one,...\n   ~~~^^^^^");
  CHECK(cut("«fun(one, two, three)» + 1", 14) == "fun(one, tw...\n~~~^^^^^^^^");
  // Without marks the beginning is shown.
  CHECK(underline("abc + some + more", {}, 10).text == "abc + s...");
  // A wide character is not cut in half.
  CHECK(cut("x = «日本語日本語(1)» + 1", 12) == "...日本語...\n   ~~~~~~");
  // A terminal that claims to be narrower still.
  CHECK(underline("abc + some + more", {}, 1).text == "abc + s...");
}

TEST_CASE("what is not understood has no anchor", "[format]") {
  for (const auto* text : {"",          " ",        "(",      ")",       "f(",
                           "f)",        "f(]",      "f(a]",   "f('a",    "f(\"\"\"a\")",
                           "a +",       "+",        "a b",    "a..b",    "f(f'{x')",
                           "f(f'{x:')", "f(a # b)", "f(a \\", "1 2",     "x[",
                           "a ++",      "$x()",     "`x`()",  "zz'a'()", "a.()",
                           "a := f()",  "f(x) ==",  "await",  "?()",     "a->b",
                           "x; f()",    "\\f()"}) {
    CAPTURE(text);
    CHECK_FALSE(find_anchor(text));
  }
}

TEST_CASE("deep nesting neither overflows the stack nor takes long", "[format]") {
  std::string brackets = "f" + std::string(200'000, '(') + std::string(200'000, ')');
  REQUIRE(find_anchor(brackets));
  CHECK(find_anchor(brackets)->begin == 1);
  std::string fields = "f(";
  for (int i = 0; i < 100'000; ++i)
    fields += "f'{";
  CHECK_FALSE(find_anchor(fields));
  std::string specs = "f(f'";
  for (int i = 0; i < 100'000; ++i)
    specs += "{:";
  CHECK_FALSE(find_anchor(specs));
}

TEST_CASE("no text and no columns can break the underlining", "[format]") {
  // All short texts of the characters that the scanner treats in a special way.
  constexpr std::string_view kAlphabet = "a1.('\"f{}[:\\#+*";
  constexpr std::size_t kLength = 4;
  std::array<std::size_t, kLength> digits{};
  for (bool more = true; more;) {
    std::string text;
    for (const std::size_t digit : digits)
      text += kAlphabet[digit];
    if (const auto anchor = find_anchor(text)) {
      REQUIRE(anchor->begin < anchor->end);
      REQUIRE(anchor->end <= text.size());
    }
    const UnderlinedLine line = underline(text, {1, 1, 0, 3});
    REQUIRE(line.marks.size() <= display_width(line.text));
    more = false;
    for (std::size_t& digit : digits) {
      digit = (digit + 1) % kAlphabet.size();
      if (digit != 0) {
        more = true;
        break;
      }
    }
  }
}

TEST_CASE("what takes no column can not be underlined", "[format]") {
  const UnderlinedLine line = underline("  a\u0301 = b", {1, 1, 3, 5});
  CHECK(line.text == "a\u0301 = b");
  CHECK(line.marks.empty());
}
