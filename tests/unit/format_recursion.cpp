#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "format/recursion.hpp"

using namespace pyscope;

namespace {

/// What is printed, a letter per frame and "<period x repeats>" for what is collapsed.
std::string collapsed(const std::string& frames) {
  const std::vector<std::uint32_t> numbers(frames.begin(), frames.end());
  std::string text;
  for (const Stretch& stretch : collapse_recursion(numbers)) {
    text += frames.substr(stretch.begin, stretch.shown);
    if (stretch.repeats == 0) continue;
    text += "<" + std::to_string(stretch.period) + "x" + std::to_string(stretch.repeats) + ">";
  }
  return text;
}

std::string times(std::size_t count, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i)
    all += text;
  return all;
}

}  // namespace

TEST_CASE("frames that do not repeat are all printed", "[format]") {
  CHECK(collapsed("").empty());
  CHECK(collapsed("a") == "a");
  CHECK(collapsed("abcabd") == "abcabd");
}

TEST_CASE("a function that calls itself is printed three times", "[format]") {
  CHECK(collapsed("aaa") == "aaa");
  CHECK(collapsed("aaaa") == "aaa<1x1>");
  CHECK(collapsed("xaaaaay") == "xaaa<1x2>y");
  CHECK(collapsed("aaaabbbbbb") == "aaa<1x1>bbb<1x3>");
}

TEST_CASE("functions that call each other in turn are collapsed", "[format]") {
  CHECK(collapsed("ababab") == "ababab");
  CHECK(collapsed("abababab") == "abab<2x2>");
  CHECK(collapsed("xababababay") == "xabab<2x2>ay");
  CHECK(collapsed(times(4, "abc")) == "abc<3x3>");
  CHECK(collapsed("<" + times(10, "abcd") + ">") == "<abcd<4x9>>");
}

TEST_CASE("the repetition that covers most is the one that is collapsed", "[format]") {
  CHECK(collapsed(times(5, "aaaab")) == "aaaab<5x4>");
  CHECK(collapsed(times(5, "aab")) == "aab<3x4>");
}

TEST_CASE("a period of sixteen frames is found and one of seventeen is not", "[format]") {
  const std::string sixteen = "abcdefghijklmnop";
  CHECK(collapsed(times(4, sixteen)) == sixteen + "<16x3>");
  const std::string seventeen = sixteen + "q";
  CHECK(collapsed(times(4, seventeen)) == times(4, seventeen));
}

TEST_CASE("a hundred thousand frames take a few lines", "[format]") {
  CHECK(collapsed(std::string(100'000, 'a')) == "aaa<1x99997>");
  CHECK(collapsed(times(50'000, "ab")) == "abab<2x49998>");
}

TEST_CASE("every frame is either printed or counted", "[format]") {
  std::uint32_t random = 1;
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint32_t> frames;
    for (int i = 0; i < 300; ++i) {
      random = random * 1664525U + 1013904223U;
      frames.push_back((random >> 20U) % (1 + static_cast<std::uint32_t>(round) % 4));
    }
    std::vector<std::uint32_t> expanded;
    for (const Stretch& stretch : collapse_recursion(frames)) {
      REQUIRE(stretch.begin == expanded.size());
      for (std::size_t i = 0; i < stretch.shown; ++i) {
        expanded.push_back(frames.at(stretch.begin + i));
      }
      for (std::size_t i = 0; i < stretch.repeats * stretch.period; ++i) {
        expanded.push_back(expanded.at(expanded.size() - stretch.period));
      }
    }
    REQUIRE(expanded == frames);
  }
}
