#include "pyscope/fit_output.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "pyscope/render.hpp"
#include "unit/format_snapshot.hpp"

using namespace pyscope;
using namespace pyscope::test;

namespace {

constexpr std::uint64_t kMost = std::uint64_t{1} << 20U;

/// A shallow stack, and two that are deep and no plain recursion.
Snapshot deep_snapshot(const std::string& name) {
  Snapshot snapshot = make_snapshot();
  const std::uint32_t a = add_code(snapshot, name + "a", "/srv/app/" + name);
  const std::uint32_t b = add_code(snapshot, name + "b", "/srv/app/" + name);
  for (const pid_t tid : {4711, 4712, 4713}) {
    Thread thread = make_thread(tid, "worker", ThreadState::Blocked);
    const std::uint32_t depth = tid == 4711 ? 10 : 5000;
    for (std::uint32_t i = 0; i < depth; ++i)
      thread.frames.push_back(
          frame_at((i * i / 7 + i / 3) % 2 == 0 ? a : b, static_cast<std::int32_t>(i * 37 % 101)));
    snapshot.threads.push_back(std::move(thread));
  }
  return snapshot;
}

}  // namespace

TEST_CASE("output that would be too large has the innermost frames of each thread", "[format]") {
  // Each of these becomes several characters.
  const std::string name = GENERATE(std::string(900, 'n'), std::string(900, '\x1b'),
                                    std::string(900, '\xff'), std::string(900, '"'));
  CAPTURE(name.front());
  const OutputForm form = GENERATE(OutputForm::Text, OutputForm::Json);
  Snapshot snapshot = deep_snapshot(name);
  REQUIRE(exit_status(snapshot) == 0);
  fit_output(snapshot, form, kMost);
  const std::string out = form == OutputForm::Json ? render_json(snapshot, JsonStyle::Pretty)
                                                   : render_text(snapshot, {});
  CHECK(out.size() < kMost + kMost / 8);
  CHECK(snapshot.threads[0].frames.size() == 10);
  CHECK(snapshot.threads[0].error.empty());
  for (const std::size_t i : {1U, 2U}) {
    const Thread& thread = snapshot.threads[i];
    CHECK(thread.frames.size() > 20);
    CHECK(thread.truncated);
    CHECK(thread.error == "its " + std::to_string(5000 - thread.frames.size()) +
                              " outermost frames are left out, as the output would be too large "
                              "with them; --frames shows fewer of each thread");
  }
  CHECK(exit_status(snapshot) == 6);
  CHECK_FALSE(snapshot.capture.consistent);
}

TEST_CASE("output that fits is left as it is", "[format]") {
  const OutputForm form = GENERATE(OutputForm::Text, OutputForm::Json);
  Snapshot snapshot = deep_snapshot("f");
  fit_output(snapshot, form);
  CHECK(snapshot.threads[1].frames.size() == 5000);
  CHECK(exit_status(snapshot) == 0);
}
