// The values of variables: what pyscope prints must be what repr() gives in the target itself.
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "memory/page_cache.hpp"
#include "pyscope/render.hpp"
#include "python/unpublished_offsets.hpp"
#include "session/session.hpp"
#include "support/catch.hpp"
#include "support/confinement.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"
#include "target/recorded_target.hpp"
#include "values/object_items.hpp"
#include "values/object_path.hpp"
#include "values/plain_value.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

const std::vector<std::string> kWithoutLimits{"--locals",    "--max-string",  "10000",
                                              "--max-items", "10000",         "--max-depth",
                                              "40",          "--show-secrets"};

json variables(const json& frame) {
  json found = json::object();
  for (const json& local : frame.at("locals"))
    found[local.at("name").get<std::string>()] = local;
  return found;
}

json frame_of(const json& dump, const std::string& function) {
  for (const json& thread : dump.at("threads")) {
    for (const json& frame : python_frames(thread)) {
      if (frame.at("function") == function) return frame;
    }
  }
  FAIL("no frame of " + function);
  return {};
}

}  // namespace

TEST_CASE("values are printed as Python prints them", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  const std::string kind = GENERATE("constants", "integers", "floats", "strings", "containers",
                                    "standard", "instances", "nested");
  CAPTURE(interpreter, kind);
  Target target(interpreter, "values.py", {kind});
  const json expected = target.read().at("expected");
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid(), kWithoutLimits);
  CAPTURE(dumped.err);
  CHECK(dumped.status == 0);
  const json found = variables(frame_of(dumped.json, "hold"));
  std::size_t equal = 0;
  for (const auto& [name, text] : expected.items()) {
    CAPTURE(name);
    REQUIRE(found.contains(name));
    CHECK(found.at(name).at("repr") == text);
    CHECK(found.at(name).at("truncated") == false);
    ++equal;
  }
  CHECK(equal == expected.size());
}

TEST_CASE("variables are told by how they came to the function", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "values.py", {"arguments"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped = dump(target.pid(), {"--locals"});
  CHECK(dumped.status == 0);
  const auto check = [](const json& found, const std::string& name, const std::string& kind,
                        const json& parameter, const std::string& repr) {
    CAPTURE(name);
    REQUIRE(found.contains(name));
    const json& local = found.at(name);
    CHECK(local.at("kind") == kind);
    CHECK(local.value("parameter", json()) == parameter);
    CHECK(local.at("repr") == repr);
  };
  const json outer = variables(frame_of(dumped.json, "outer"));
  check(outer, "first", "argument", "positional_only", "'1'");
  check(outer, "second", "argument", "positional_or_keyword", "2");
  check(outer, "rest", "argument", "var_positional", "(4, 5)");
  check(outer, "third", "argument", "keyword_only", "3");
  check(outer, "others", "argument", "var_keyword", "{'key': 'v'}");
  check(outer, "captured", "cell", nullptr, "'captured'");
  check(outer, "loop", "local", nullptr, "[0, 1, 2]");
  CHECK_FALSE(outer.contains("unbound"));
  CHECK_FALSE(outer.contains("number"));
  const json inner = variables(frame_of(dumped.json, "inner"));
  check(inner, "own", "argument", "positional_or_keyword", "<class '__main__.Order'>");
  check(inner, "local", "local", nullptr, "'captured1'");
  check(inner, "captured", "free", nullptr, "'captured'");
  check(inner, "first", "free", nullptr, "'1'");
  check(variables(frame_of(dumped.json, "Body")), "inside", "local", nullptr, "5");
  const json module = variables(frame_of(dumped.json, "<module>"));
  CHECK(module.contains("never"));
  CHECK_FALSE(module.contains("__name__"));
  CHECK(frame_of(dumped.json, "<module>").at("locals_left_out") > 0);

  const std::string text = run_pyscope({"dump", "--locals", std::to_string(target.pid())}).out;
  for (const auto* line :
       {"      first    = '1'  (positional-only)\n", "      *rest    = (4, 5)\n",
        "      third    = 3  (keyword-only)\n", "      **others = {'key': 'v'}\n",
        "      captured = 'captured'  (from an enclosing function)\n"}) {
    CAPTURE(line, text);
    CHECK(text.find(line) != std::string::npos);
  }
  CHECK_FALSE(dump(target.pid()).json.at("threads").at(0).at("frames").at(0).contains("locals"));
}

TEST_CASE("what is named like a secret is masked unless it is asked for", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "values.py", {"secrets"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto repr = [&](const std::vector<std::string>& options) {
    const json dumped = dump(target.pid(), options).json;
    const json leak = variables(frame_of(dumped, "leak"));
    json found;
    for (const auto& [name, local] : leak.items())
      found[name] = local.at("repr");
    return found;
  };
  const json masked = repr({"--locals"});
  CHECK(masked.at("password") == "'***'");
  CHECK(masked.at("api_key") == "None");
  CHECK(masked.at("harmless") == "'ok'");
  CHECK(masked.at("session") == "{'Authorization': '***', 'user': 'ann', 'none_token': None}");
  CHECK(masked.at("client") == "namespace(private_key='***', name='n')");
  CHECK(masked.at("headers") == "[(b'host', b'h'), (b'cookie', '***'), ('x-api-key', '***')]");
  CHECK(masked.at("url") == "'see postgres://***@db/shop?x=1'");
  CHECK(masked.at("raw") == "b'redis://***@cache/0'");
  CHECK(masked.at("url_without_user") == "'https://host/ann@x'");
  CHECK(masked.at("environment") == "{'PWD': '/srv', 'OLDPWD': '/', 'DB_PASSWORD': '***'}");
  CHECK(masked.at("max_tokens") == "4096");
  CHECK(masked.at("pin") == "1234");
  CHECK(repr({"--locals", "--secret", "pin"}).at("pin") == "'***'");
  CHECK(repr({"--locals", "--secret", "x", "--secret", "PIN"}).at("pin") == "'***'");
  const json shown = repr({"--locals", "--show-secrets"});
  CHECK(shown.at("password") == "'hunter2'");
  CHECK(shown.at("url") == "'see postgres://ann:pass@db/shop?x=1'");
  CHECK(shown.at("headers") == "[(b'host', b'h'), (b'cookie', b'c=1'), ('x-api-key', 'k')]");
  CHECK(shown.at("session") == "{'Authorization': 'Bearer x', 'user': 'ann', 'none_token': None}");
  CHECK(shown.at("client") == "namespace(private_key=b'k', name='n')");
}

TEST_CASE("a command line is shown without its secrets", "[live]") {
  const Interpreter interpreter = interpreters().front();
  Target target(interpreter, "values.py", {"secrets", "--password", "hunter2", "--dsn=pg://u:p@h"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const auto words = [&](const std::vector<std::string>& options) {
    const auto command =
        dump(target.pid(), options).json.at("command").get<std::vector<std::string>>();
    return std::vector<std::string>(command.end() - 3, command.end());
  };
  CHECK(words({}) == std::vector<std::string>{"--password", "***", "--dsn=pg://***@h"});
  CHECK(words({"--show-secrets"}) ==
        std::vector<std::string>{"--password", "hunter2", "--dsn=pg://u:p@h"});
}

TEST_CASE("what is too much is cut and says how much there is", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "values.py", {"large"});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const Dump dumped =
      dump(target.pid(), {"--locals", "--max-string", "3", "--max-items", "2", "--max-depth", "3"});
  CHECK(dumped.status == 0);
  const json found = variables(frame_of(dumped.json, "carry"));
  const auto cut = [&](const std::string& name) {
    CHECK(found.at(name).at("truncated") == true);
    return found.at(name).at("repr").get<std::string>();
  };
  CHECK(cut("text") == "'xxx…' (5,242,880 characters)");
  CHECK(cut("raw") == "b'yyy…' (300 bytes)");
  CHECK(cut("items") == "[0, 1, … 999,998 more]");
  CHECK(cut("deep") == "[[[[… 1 item]]]]");
  CHECK(cut("table") == "{0: 0, 1: 1, … 28 more}");
  CHECK(cut("attributes").ends_with(" attribute_0=0 attribute_1=1 …>"));
  CHECK(
      run_pyscope({"dump", "--locals", "--max-items", "0", std::to_string(target.pid())}).status ==
      2);
  for (const auto* verb : {"dump", "inspect"}) {
    const Outcome refused =
        run_pyscope({verb, std::to_string(target.pid()), "--max-depth", "100000"});
    CHECK(refused.status == 2);
    CHECK(refused.err.find("200") != std::string::npos);
  }
}

TEST_CASE("values that change while they are read cost no more than a mark", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  Target target(interpreter, "values.py", {"restless"});
  (void)target.read();
  // Where pyscope may keep a thread from running, the values are exact.
  PyscopeOptions options;
  const bool confined = GENERATE(false, true);
  if (confined) options.before_exec = [] { refuse_system_call(SYS_sched_setaffinity, EPERM); };
  int marked = 0;
  int verified = 0;
  for (int i = 0; i < 20; ++i) {
    const Dump dumped = dump(target.pid(), kWithoutLimits, options);
    CHECK((dumped.status == 0 || dumped.status == 6));
    verified += dumped.status == 0 ? 1 : 0;
    for (const json& thread : dumped.json.at("threads")) {
      for (const json& frame : python_frames(thread)) {
        if (!frame.contains("locals_changed")) continue;
        ++marked;
        CHECK(frame.contains("locals_doubt"));
        CHECK(dumped.status == 6);
      }
    }
  }
  CHECK((confined ? marked : verified) > 0);
}

TEST_CASE("values in memory that makes no sense are never the end of it", "[live]") {
  const std::string kind = GENERATE("standard", "containers", "instances", "nested");
  CAPTURE(kind);
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  if (interpreter.debug()) return;
  Target target(interpreter, "values.py", {kind});
  (void)target.read();
  REQUIRE(all_sleep(target.pid()));
  const std::string file = target.workspace().outside("recording");
  REQUIRE(
      run_pyscope({"dump", "--locals", "--record", file, std::to_string(target.pid())}).status ==
      0);
  const auto recording = pyscope::read_recording(file);
  REQUIRE(recording);
  std::vector<pyscope::RemoteRange> ranges;
  recording->memory.for_each_range([&](pyscope::RemoteAddr at, std::span<const std::byte> bytes) {
    ranges.push_back({at, bytes.size()});
  });
  std::array<std::byte, pyscope::DebugOffsets::kMaxSize> table{};
  REQUIRE(recording->memory.read(recording->runtime, table));
  const auto offsets = interpreter.minor() >= 13
                           ? pyscope::DebugOffsets::decode(table)
                           : pyscope::identify_runtime(recording->memory, recording->runtime, {});
  REQUIRE(offsets);
  const pyscope::Runtime runtime{recording->runtime, *offsets};
  pyscope::CaptureOptions options;
  options.locals = true;
  std::mt19937_64 random(20261124);
  for (int round = 0; round < 8; ++round) {
    pyscope::ImageMemory altered = recording->memory;
    for (int change = 0; change < 400; ++change) {
      const auto& range = ranges[random() % ranges.size()];
      const pyscope::RemoteAddr at = range.start + random() % range.size / 8 * 8;
      const auto word = pyscope::read_as<std::uint64_t>(altered, at);
      if (!word || recording->runtime.raw() / 4096 == at.raw() / 4096) continue;
      // Another pointer, a huge or negative number, a bit.
      const std::uint64_t values[] = {
          ranges[random() % ranges.size()].start.raw() + random() % 4096 / 8 * 8,
          random(),
          ~std::uint64_t{0},
          std::uint64_t{1} << random() % 64,
          *word ^ (std::uint64_t{1} << random() % 64),
          at.raw()};
      altered.put_value(at, values[random() % std::size(values)]);
    }
    const auto snapshot = pyscope::read_snapshot(pyscope::RecordedTarget(*recording, altered),
                                                 runtime, options, pyscope::Log{});
    if (!snapshot) continue;
    CHECK_FALSE(pyscope::render_text(*snapshot, {}).empty());
    CHECK(json::accept(pyscope::render_json(*snapshot, pyscope::JsonStyle::Compact)));
    // The same for paths.
    pyscope::Budget budget_of_reading;
    const pyscope::TargetMemory memory(altered, budget_of_reading);
    const pyscope::PageCache cache(memory);
    const pyscope::Reader reader(cache, runtime.offsets);
    pyscope::ObjectReader objects(reader);
    const auto found = pyscope::read_interpreters(reader, runtime.at);
    if (!found) continue;
    pyscope::PathResolver resolver(objects, found->interpreters.front());
    for (const auto* text :
         {"__main__", "Color", "Color.RED._value_", "Order", "keep[0]", "sys", "sys.modules",
          "sys.modules['os']", "threading._active", "Slots.u", "nothing"}) {
      const auto path = pyscope::parse_path(text);
      REQUIRE(path);
      const auto object = resolver.from_modules(*path);
      if (!object || object->plain) continue;
      CHECK(pyscope::list_items(objects, object->object, 50).items.size() <= 50);
      pyscope::ReprBudget budget;
      const pyscope::ValueLimits limits;
      (void)pyscope::plain_value(
          pyscope::ValueDecoder(objects, limits, budget).decode(object->object, ""), limits);
    }
  }
}
