// The grammar of paths, and which names are near one that isn't there.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "values/nearest_names.hpp"
#include "values/path_syntax.hpp"

using namespace pyscope;

namespace {

std::vector<std::string> steps_of(const std::string& text) {
  const auto path = parse_path(text);
  REQUIRE(path);
  std::vector<std::string> steps;
  for (const PathStep& step : path->steps)
    steps.push_back((step.kind == PathStep::Kind::Attribute ? "." : "[]") + step.text);
  return steps;
}

}  // namespace

TEST_CASE("a path is names and subscripts") {
  using Steps = std::vector<std::string>;
  CHECK(steps_of("a") == Steps{".a"});
  CHECK(steps_of("shop.orders[3].state") == Steps{".shop", ".orders", "[]3", ".state"});
  CHECK(steps_of("a['x.y[z]'][-1]") == Steps{".a", "[]'x.y[z]'", "[]-1"});
  CHECK(steps_of("a[ (1, '[') ].b") == Steps{".a", "[](1, '[')", ".b"});
  CHECK(steps_of("größe._x1") == Steps{".größe", "._x1"});
  // Python's compiler makes identifiers NFKC.
  CHECK(steps_of("\uFB01.gro\u0308sse[\uFB01]") == Steps{".fi", ".grösse", "[]\uFB01"});
}

TEST_CASE("a subscript that is a literal is one") {
  const auto step = [](const std::string& text) {
    const auto path = parse_path("a[" + text + "]");
    REQUIRE(path);
    return path->steps.at(1);
  };
  CHECK(step("'it\\'s'").key == "it's");
  CHECK(step("\"a\\x41\\u20ac\\n\"").key == "aA€\n");
  CHECK(step("b'\\xff'").key == "\xff");
  CHECK(step("b'\\xff'").bytes);
  CHECK(step("-12").index == -12);
  CHECK_FALSE(step("12a").index);
  CHECK_FALSE(step("name").key);
  CHECK_FALSE(step("'a' 'b'").key);
  CHECK_FALSE(step("'\\xz1'").key);
  CHECK_FALSE(step("99999999999999999999").index);
}

TEST_CASE("what stands before a colon names a frame") {
  const auto path = parse_path("ThreadPool-0_1 [a:b]/Store.fetch:row['a:b']");
  REQUIRE(path);
  CHECK(path->in_frame);
  CHECK(path->thread == "ThreadPool-0_1 [a:b]");
  CHECK(path->frame == "Store.fetch");
  CHECK(path->steps.size() == 2);
  CHECK(path->up_to(1) == "ThreadPool-0_1 [a:b]/Store.fetch:row");
  CHECK(parse_path("worker:x")->thread == "worker");
  CHECK(parse_path("worker:x")->frame.empty());
  CHECK(parse_path(":x")->in_frame);
  CHECK_FALSE(parse_path("d['x:y']")->in_frame);
  CHECK(parse_path("d['x:y'].z")->up_to(2) == "d['x:y']");
}

TEST_CASE("what is no path is refused with the place") {
  for (const auto* text :
       {"", ".", "a.", ".a", "a..b", "a[", "a[]", "a]", "[1]", "a b", "1a", "a['", "a[1]b", "a:"}) {
    CAPTURE(text);
    const auto path = parse_path(text);
    REQUIRE_FALSE(path);
    CHECK(path.error().kind == ErrorKind::Usage);
    CHECK(path.error().message.find("character") != std::string::npos);
  }
  std::string long_path = "a";
  for (int i = 0; i < 1000; ++i)
    long_path += ".a";
  CHECK_FALSE(parse_path(long_path));
  CHECK_FALSE(parse_path(std::string(100'000, '[')));
}

TEST_CASE("the nearest names are those that were meant") {
  using Names = std::vector<std::string>;
  const Names names{"stock", "lock", "password", "connection_pool", "Stocks", "x"};
  CHECK(nearest_names("stokc", names) == Names{"stock", "Stocks"});
  CHECK(nearest_names("STOCK", names) == Names{"stock", "Stocks", "lock"});
  CHECK(nearest_names("pool", names) == Names{"connection_pool"});
  CHECK(nearest_names("zebra", names).empty());
  CHECK(nearest_names("", {}).empty());
  CHECK(nearest_hint("zebra", {"a", "b"}) == "there are a, b");
  CHECK(nearest_hint("zebra", {}).empty());
}
