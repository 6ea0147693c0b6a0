// What is called one instant is one: threads that pass a token along, and values whose invariants
// hold between any two bytecodes, are never seen in a state that there was at no moment.
#include <string>

#include "pyscope/capture.hpp"
#include "pyscope/inspect.hpp"
#include "support/catch.hpp"
#include "support/instant_pictures.hpp"
#include "support/target.hpp"

using namespace pyscope;
using test::add_picture;
using test::interpreters;
using test::is_possible;
using test::PictureTally;

TEST_CASE("a picture of one instant has no state that there was at no moment", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  test::Target target(interpreter, "instants.py");
  REQUIRE(target.read() == "ready");
  CaptureOptions options;
  options.source = false;
  options.locals = true;
  auto session = CaptureSession::attach(target.pid(), options);
  REQUIRE(session);
  PictureTally tally;
  for (int i = 0; i < 100; ++i) {
    const auto snapshot = session->capture();
    REQUIRE(snapshot);
    REQUIRE(snapshot->threads.size() == 5);
    add_picture(*snapshot, tally);
  }
  CAPTURE(tally.example, tally.doubted);
  CHECK(tally.impossible == 0);
  CHECK(tally.broken == 0);
  // Beside others that want every CPU, some have no moment of their own.
  CHECK(tally.one_instant > 50);
  CHECK(tally.values > 300);
}

TEST_CASE("values that change all the time are inspected as they were at one instant", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  test::Target target(interpreter, "instants.py");
  REQUIRE(target.read() == "ready");
  const auto inspector = Inspector::attach(target.pid(), InspectOptions{});
  REQUIRE(inspector);
  const std::vector<std::string> names{"swapped", "totals", "latest", "growing", "table", "ring"};
  std::vector<std::string> paths;
  for (const std::string& name : names)
    paths.push_back("MainThread/change:" + name);
  int consistent = 0;
  for (int i = 0; i < 30; ++i) {
    const auto inspection = inspector->read(paths);
    REQUIRE(inspection);
    for (std::size_t n = 0; n < names.size(); ++n) {
      const InspectedValue& value = inspection->values[n];
      CAPTURE(value.path, value.repr, value.error ? value.error->message : "");
      REQUIRE_FALSE(value.error);
      if (!value.consistent) continue;
      ++consistent;
      CHECK(is_possible(names[n], value.repr));
    }
  }
  CHECK(consistent > 90);
}

TEST_CASE("a list that is being sorted is not shown as empty", "[live]") {
  const test::Interpreter interpreter = GENERATE(from_range(interpreters()));
  CAPTURE(interpreter);
  test::Target target(interpreter, "sorting.py");
  REQUIRE(target.read() == "ready");
  const auto inspector = Inspector::attach(target.pid(), InspectOptions{});
  REQUIRE(inspector);
  const auto inspection = inspector->read({"numbers"});
  REQUIRE(inspection);
  const InspectedValue& value = inspection->values.front();
  CHECK(value.repr.find("that is being sorted") != std::string::npos);
  CHECK(value.truncated);
}
