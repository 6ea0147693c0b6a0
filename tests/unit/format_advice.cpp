#include <catch2/catch.hpp>

#include "format/advice.hpp"

using namespace pyscope;

TEST_CASE("where something is not verified there is advice, unless it was tried", "[format]") {
  Snapshot snapshot;
  snapshot.threads.emplace_back().consistent = true;
  snapshot.locals.emplace_back();
  CHECK(advice(snapshot).empty());
  snapshot.locals[0].consistent = false;
  CHECK(advice(snapshot).starts_with("--pause=all "));
  snapshot.threads[0].consistent = false;
  CHECK(advice(snapshot).starts_with("--pause "));
  snapshot.threads[0].error = "it can't be read";
  CHECK(advice(snapshot).starts_with("--pause=all "));
  snapshot.capture.paused_threads = 1;
  CHECK(advice(snapshot).empty());
}
