// The stacks of real interpreters, compared with what the interpreters say themselves.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/oracle.hpp"

using namespace pyscope::test;
using nlohmann::json;

namespace {

/// A function of stacks.py, and some that must be on its stack, innermost first: what a case is
/// about.
struct Case {
  std::string name;
  std::vector<std::string> functions;
  std::vector<std::string> arguments = {};
  TargetOptions options = {};
  std::function<void(const Workspace&)> prepare = {};
};

std::ostream& operator<<(std::ostream& out, const Case& one) {
  return out << one.name;
}

bool has_functions(const json& thread, const std::vector<std::string>& wanted) {
  auto next = wanted.begin();
  for (const json& frame : python_frames(thread)) {
    if (next != wanted.end() && frame.at("qualified_name") == *next) ++next;
  }
  return next == wanted.end();
}

/// Runs each case on each interpreter. Returns the last dump and the target, still running.
void check_cases(const std::vector<Case>& cases) {
  const Case one = GENERATE_COPY(from_range(cases));
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(one, interpreter);
  if (one.name == "type_parameters" && interpreter.minor() < 12) return;  // new in 3.12
  std::vector<std::string> arguments{one.name};
  arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
  Workspace workspace(interpreter);
  if (one.prepare) one.prepare(workspace);
  Target target(std::move(workspace), "stacks.py", arguments, one.options);
  REQUIRE(target.read().at("ready") == true);

  const json dump = check_against_truth(target);

  const json& main = thread_of(dump, target.pid());
  CAPTURE(main.dump());
  CHECK(has_functions(main, one.functions));
  CHECK(check_source_lines(dump, target.workspace()) > 0);
}

}  // namespace

TEST_CASE("calls of functions are shown as Python sees them", "[live]") {
  check_cases({
      {"plain_calls", {"plain_calls.<locals>.inner", "plain_calls.<locals>.outer", "plain_calls"}},
      {"multi_line_calls", {"multi_line_calls.<locals>.add", "multi_line_calls"}},
      {"chained_calls", {"chained_calls.<locals>.Query.first", "chained_calls"}},
      {"star_calls", {"block", "star_calls.<locals>.target", "star_calls"}},
      {"lambdas", {"block", "lambdas.<locals>.<lambda>.<locals>.<lambda>", "lambdas"}},
      {"decorators",
       {"decorators.<locals>.decorated", "decorators.<locals>.Registered.__call__",
        "decorators.<locals>.repeated.<locals>.decorator.<locals>.wrapper"}},
  });
}

TEST_CASE("statements of all kinds are shown with the exact piece that runs", "[live]") {
  check_cases({
      {"try_except_finally", {"block", "try_except_finally"}},
      {"exception_groups", {"exception_groups.<locals>.<lambda>", "exception_groups"}},
      {"match_statement", {"match_statement.<locals>.Point.y", "match_statement"}},
      {"loops_and_walrus", {"loops_and_walrus.<locals>.Endless.__next__", "loops_and_walrus"}},
      {"f_strings", {"f_strings.<locals>.Value.__format__", "f_strings"}},
      {"asserts", {"asserts.<locals>.never_true", "asserts"}},
      {"contextmanagers", {"contextmanagers.<locals>.opened", "contextmanagers"}},
  });
}

TEST_CASE("positions that need the long forms of a location table are exact", "[live]") {
  check_cases({
      {"long_lines", {"long_lines"}},
      {"very_long_lines", {"<module>", "very_long_lines"}},
      {"non_ascii_columns", {"non_ascii_columns"}},
      {"code_without_positions", {"code_without_positions.<locals>.bare"}},
      {"large_function", {"block", "large", "<module>", "large_function"}},
      {.name = "imported",
       .functions = {"block", "late", "<module>", "imported"},
       .arguments = {"late_lines"},
       .prepare =
           [](const Workspace& workspace) {
             workspace.write("late_lines.py", "import stacks\n" + std::string(70'000, '\n') +
                                                  "def late():\n    return (\n" +
                                                  std::string(300, '\n') +
                                                  "        stacks.block()\n    )\n\n\nlate()\n");
           }},
      {.name = "multi_line_calls",
       .functions = {"multi_line_calls"},
       .options = {.flags = {"-X", "no_debug_ranges"}}},
  });
}

TEST_CASE("generators are shown between what they call and what drives them", "[live]") {
  check_cases({
      {"generators",
       {"block", "generators.<locals>.numbers", "generators.<locals>.middle",
        "generators.<locals>.outer", "generators.<locals>.infinite", "generators"}},
      {"generator_send_and_throw",
       {"generator_send_and_throw.<locals>.closing", "generator_send_and_throw"}},
      {"generator_expression", {"generator_expression.<locals>.<genexpr>", "generator_expression"}},
  });
}

TEST_CASE("comprehensions are shown as Python sees them", "[live]") {
  check_cases({
      {"comprehension_list", {"block", "comprehension_list"}},
      {"comprehension_set", {"block", "comprehension_set"}},
      {"comprehension_dict", {"block", "comprehension_dict"}},
      {"comprehension_nested", {"block", "comprehension_nested"}},
      {"comprehension_in_class", {"block", "comprehension_in_class.<locals>.Body"}},
  });
}

TEST_CASE("coroutines and async generators are shown with who awaits them", "[live]") {
  check_cases({
      {"coroutines",
       {"block", "coroutines.<locals>.leaf", "coroutines.<locals>.middle",
        "coroutines.<locals>.Awaitable.__await__", "coroutines.<locals>.await_it", "coroutines"}},
      {"coroutine_by_hand",
       {"coroutine_by_hand.<locals>.Step.__await__", "coroutine_by_hand.<locals>.run"}},
      {"async_generators",
       {"async_generators.<locals>.numbers", "async_generators.<locals>.doubled",
        "async_generators.<locals>.main"}},
      {"async_context",
       {"async_context.<locals>.opened", "_AsyncGeneratorContextManager.__aexit__",
        "async_context.<locals>.main"}},
  });
}

TEST_CASE("an event loop is shown in its callback or idle", "[live]") {
  check_cases({
      {"asyncio_callback", {"block", "Handle._run", "asyncio_callback"}},
      {"asyncio_idle", {"BaseEventLoop._run_once", "asyncio_idle"}},
      {"asyncio_to_thread", {"BaseEventLoop._run_once", "asyncio_to_thread"}},
  });
}

TEST_CASE("code that was executed from a string is shown with its names", "[live]") {
  check_cases({
      {"executed_code", {"block", "<module>", "executed_code"}},
      {"executed_with_a_name", {"generated", "C", "<module>", "executed_with_a_name"}},
      {"evaluated", {"<lambda>", "<module>", "evaluated"}},
      {"renamed_code", {"Ünïcode.<𝒬ual>\\u202ename", "renamed_code"}},
      {"type_parameters", {"block", "T", "<module>", "type_parameters"}},
  });
}

TEST_CASE("code of classes is shown with its qualified names", "[live]") {
  check_cases({
      {"nested_classes",
       {"Outer.Inner.Innermost.method.<locals>.local.<locals>.Local.method",
        "Outer.Inner.Innermost.method.<locals>.local", "Outer.Inner.Innermost.method",
        "Outer.Inner.Innermost.of_class", "Outer.Inner.Innermost.of_nobody",
        "nested_classes.<locals>.Body"}},
      {"class_body", {"class_body.<locals>.Metaclass.__new__", "class_body"}},
      {"inheritance",
       {"inheritance.<locals>.Base.hello", "inheritance.<locals>.Base.__init_subclass__"}},
  });
}

TEST_CASE("finalizers are shown on top of what they interrupt", "[live]") {
  check_cases({
      {"finalizer_in_collection", {"block", "finalizer_in_collection.<locals>.Cycle.__del__"}},
      {"finalizer_in_automatic_collection",
       {"finalizer_in_automatic_collection.<locals>.Cycle.__del__",
        "finalizer_in_automatic_collection"}},
      {"finalizer_by_reference_count",
       {"finalizer_by_reference_count.<locals>.Last.__del__",
        "finalizer_by_reference_count.<locals>.drop"}},
      {"weak_reference_callback", {"weak_reference_callback.<locals>.<lambda>"}},
  });
}

TEST_CASE("Python code that C functions call back is shown with their callers", "[live]") {
  check_cases({
      {"sort_key", {"sort_key.<locals>.<lambda>", "sort_key"}},
      {"sort_comparison", {"sort_comparison.<locals>.Item.__lt__", "sort_comparison"}},
      {"sort_cmp_to_key", {"sort_cmp_to_key.<locals>.<lambda>", "sort_cmp_to_key"}},
      {"partial", {"partial.<locals>.<lambda>", "partial"}},
      {"mapped", {"mapped.<locals>.<lambda>", "mapped"}},
      {"reduced", {"reduced.<locals>.<lambda>", "reduced"}},
      {"substituted", {"substituted.<locals>.<lambda>", "sub", "substituted"}},
      {"method_caller", {"method_caller.<locals>.Target.method", "method_caller"}},
  });
}

TEST_CASE("special methods are shown with the expressions that call them", "[live]") {
  check_cases({
      {"properties",
       {"properties.<locals>.Object.__getattr__", "properties.<locals>.Object.cached",
        "properties.<locals>.Object.value"}},
      {"attribute_hooks",
       {"attribute_hooks.<locals>.Object.__len__", "attribute_hooks.<locals>.Object.__getitem__",
        "attribute_hooks.<locals>.Object.__getattribute__",
        "attribute_hooks.<locals>.Descriptor.__get__",
        "attribute_hooks.<locals>.Descriptor.__set__"}},
      {"operators",
       {"operators.<locals>.Number.__matmul__", "operators.<locals>.Number.__hash__",
        "operators.<locals>.Number.__bool__", "operators.<locals>.Number.__add__"}},
  });
}

TEST_CASE("callbacks from foreign code are shown in its own threads too", "[live]") {
  check_cases({
      {"ctypes_callback", {"ctypes_callback.<locals>.compare", "ctypes_callback"}},
      {"ctypes_callback_in_a_foreign_thread", {"ctypes_callback_in_a_foreign_thread"}},
  });
}

TEST_CASE("calls that the interpreter has specialised are shown like others", "[live]") {
  check_cases({
      {"hot_constructor", {"Hot.__init__", "hot_constructor.<locals>.make", "hot_constructor"}},
      {"hot_calls",
       {"block", "hot_calls.<locals>.Object.descend", "hot_calls.<locals>.Object.__getitem__"}},
  });
}

TEST_CASE("threads of all interpreters are shown with the interpreter that they run in", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  const auto kinds = GENERATE(values<std::vector<std::string>>(
      {{"isolated"}, {"legacy"}, {"idle"}, {"isolated", "idle", "legacy", "isolated", "legacy"}}));
  CAPTURE(interpreter, kinds);
  // 3.11 keeps the thread state with which an interpreter was made: a state of the same thread.
  if (interpreter.minor() < 12) return;
  Target target(interpreter, "subinterpreters.py", kinds);
  const json ready = target.read();

  const json dump = check_against_truth(target);

  json ids = json::array();
  for (const json& one : dump.at("interpreters")) {
    CHECK(one.at("gil_held_by").is_null());
    CHECK(one.at("collecting_garbage") == false);
    ids.push_back(one.at("id"));
  }
  CHECK(ids == ready.at("interpreters"));
}

TEST_CASE("threads in interpreters of the public module are shown", "[live]") {
  const Interpreter interpreter = GENERATE(from_range(interpreters()));
  if (interpreter.minor() < 14) return;  // concurrent.interpreters is new in 3.14
  CAPTURE(interpreter);
  Target target(interpreter, "subinterpreters.py", {"public", "public"});
  REQUIRE(target.read().at("interpreters").size() == 3);
  check_against_truth(target);
}
