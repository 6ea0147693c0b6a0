#include <catch2/catch.hpp>

#include "native/machinery.hpp"

using namespace pyscope;

TEST_CASE(
    "machinery: calling conventions and the loop are folded, whatever the compiler appended") {
  for (const char* name :
       {"_PyEval_EvalFrameDefault", "_PyEval_EvalFrameDefault.cold",
        "_TAIL_CALL_CALL_PY_EXACT_ARGS", "PyObject_Vectorcall",
        "_PyObject_VectorcallTstate.constprop.0", "cfunction_vectorcall_O", "method_vectorcall",
        "slot_tp_call", "gen_iternext", "pymain_run_python.isra.0", "thread_run"}) {
    CAPTURE(name);
    CHECK(is_call_machinery(name));
  }
}

TEST_CASE("machinery: what a Python function asked for stays") {
  for (const char* name :
       {"", "builtin_sum", "list_sort_impl", "os_read", "time_sleep", "map_next", "dict_subscript",
        "_Py_Dealloc", "gc_collect_main", "take_gil", "read"}) {
    CAPTURE(name);
    CHECK_FALSE(is_call_machinery(name));
  }
}

TEST_CASE("machinery: the function that unpacks the arguments of another one") {
  CHECK(takes_arguments_for("builtin_sum", "builtin_sum_impl"));
  CHECK(takes_arguments_for("os_read", "os_read_impl.isra.0"));
  CHECK_FALSE(takes_arguments_for("builtin_sum", "builtin_summary_impl"));
  CHECK_FALSE(takes_arguments_for("builtin_sum", "builtin_sum"));
  CHECK_FALSE(takes_arguments_for("builtin_sum_impl", "builtin_sum"));
  CHECK_FALSE(takes_arguments_for("", "_impl"));
}

TEST_CASE("machinery: Python code that was compiled") {
  CHECK(is_compiled_python("py::jit:executor"));
  CHECK_FALSE(is_compiled_python("__main__::total(long long)"));
  CHECK_FALSE(is_compiled_python(""));
}

TEST_CASE("machinery: where threads begin") {
  CHECK(begins_thread("__libc_start_main_impl"));
  CHECK(begins_thread("_start"));
  CHECK(begins_thread("start_thread"));
  CHECK(begins_thread("__clone3"));
  CHECK_FALSE(begins_thread("main"));
}
