#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "format/escape.hpp"

using namespace pyscope;
using namespace std::string_literals;

TEST_CASE("plain text is not changed by escaping", "[format]") {
  CHECK(escape("") == "");
  CHECK(escape("def f(x): return x ** 2  # ~!@#$%^&*()") ==
        "def f(x): return x ** 2  # ~!@#$%^&*()");
  CHECK(escape("Grüße, 日本語, 🐍") == "Grüße, 日本語, 🐍");
  CHECK(escape("a\u0301\u200d\U000e0100") == "a\u0301\u200d\U000e0100");
  CHECK(escape("\uFFFC\uFFFD\U0010FFFD") == "\uFFFC\uFFFD\U0010FFFD");
}

TEST_CASE("a backslash stays a single backslash", "[format]") {
  CHECK(escape(R"(print("a\nb"))") == R"(print("a\nb"))");
}

TEST_CASE("control characters are shown and not sent", "[format]") {
  CHECK(escape("\x1b[31mred\x07") == R"(\x1b[31mred\x07)");
  CHECK(escape("a\nb\rc\td"s) == R"(a\x0ab\x0dc\x09d)");
  CHECK(escape("a\0b\x7f"s) == R"(a\x00b\x7f)");
  // C1 is where some terminals look for one-character control sequences.
  CHECK(escape("\u0080\u009b31m\u009f") == R"(\x80\x9b31m\x9f)");
  CHECK(escape("\u00a0") == "\u00a0");
}

TEST_CASE("only tabs are kept when tabs are to be kept", "[format]") {
  CHECK(escape("a\tb\nc", Tabs::Keep) == "a\tb\\x0ac");
}

TEST_CASE("characters that reorder or hide text are escaped", "[format]") {
  CHECK(escape("\u202e") == R"(\u202e)");
  for (const auto* text :
       {"\u061c", "\u200b", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202d", "\u2060",
        "\u2066", "\u2067", "\u2068", "\u2069", "\ufeff", "\ufff9", "\U000e0001", "\U000e007f"}) {
    CAPTURE(text);
    CHECK(escape(text).find_first_not_of("\\uU0123456789abcdef") == std::string::npos);
  }
  CHECK(escape("\U000e0001") == R"(\U000e0001)");
  CHECK(escape("\u200c\u200d\u2027\u2070") == "\u200c\u200d\u2027\u2070");
}

TEST_CASE("noncharacters are escaped in every plane", "[format]") {
  CHECK(escape("\ufdd0\ufdef\ufffe\uffff") == R"(\ufdd0\ufdef\ufffe\uffff)");
  CHECK(escape("\U0001fffe\U0010ffff") == R"(\U0001fffe\U0010ffff)");
  CHECK(escape("\ufdcf\ufdf0") == "\ufdcf\ufdf0");
}

TEST_CASE("lone surrogates are escaped as what they are", "[format]") {
  CHECK(escape("a\xed\xa0\x80z") == R"(a\ud800z)");
  CHECK(escape("\xed\xb2\x80") == R"(\udc80)");
  CHECK(escape("\xed\xbf\xbf") == R"(\udfff)");
  CHECK(escape("\xed\x9f\xbf") == "\ud7ff");  // the last character before them
}

TEST_CASE("bytes that are not UTF-8 are escaped one by one", "[format]") {
  CHECK(escape("a\xff"
               "b") == R"(a\xffb)");
  CHECK(escape("\x80") == R"(\x80)");
  CHECK(escape("\xc0\xaf") == R"(\xc0\xaf)");                  // overlong
  CHECK(escape("\xe0\x80\xaf") == R"(\xe0\x80\xaf)");          // overlong
  CHECK(escape("\xf4\x90\x80\x80") == R"(\xf4\x90\x80\x80)");  // beyond U+10FFFF
  CHECK(escape("\xe6\x97") == R"(\xe6\x97)");                  // cut off
  CHECK(escape("\xed\xa0") == R"(\xed\xa0)");                  // half a surrogate
  CHECK(escape("\xe6\x97"
               "a") == R"(\xe6\x97a)");
}

TEST_CASE("every byte and every pair of bytes escapes to printable UTF-8", "[format]") {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text{static_cast<char>(first), static_cast<char>(second)};
      const std::string once = escape(text);
      // What is safe is not escaped again.
      REQUIRE(escape(once) == once);
      REQUIRE(!once.empty());
    }
  }
}

TEST_CASE("width counts columns and not characters", "[format]") {
  CHECK(display_width("") == 0);
  CHECK(display_width("abc") == 3);
  CHECK(display_width("é") == 1);
  CHECK(display_width("e\u0301") == 1);
  CHECK(display_width("日本") == 4);
  CHECK(display_width("🐍!") == 3);
}

TEST_CASE("clipped text fits and says that it was clipped", "[format]") {
  CHECK(clip("abcdef", 6) == "abcdef");
  CHECK(clip("abcdefg", 6) == "abc...");
  CHECK(clip("日本語日本語", 6) == "日...");
  CHECK(display_width(clip("日本語日本語", 8)) <= 8);
  CHECK(clip("", 3).empty());
  CHECK(clip("abcd", 3) == "...");
}
