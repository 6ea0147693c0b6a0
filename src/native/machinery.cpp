#include "native/machinery.hpp"

#include <algorithm>
#include <array>

namespace pyscope {
namespace {

// By how they begin. Objects/call.c, Objects/methodobject.c, Objects/descrobject.c,
// Objects/classobject.c, Objects/genobject.c, Python/ceval.c, Python/pythonrun.c, Modules/main.c,
// Modules/_threadmodule.c, Python/thread_pthread.h.
constexpr std::array kCallMachinery = std::to_array<std::string_view>({
    "PyEval_Eval",
    "_PyEval_",
    "_TAIL_CALL_",
    "PyObject_Call",
    "PyObject_Vectorcall",
    "PyVectorcall_",
    "_PyObject_Call",
    "_PyObject_FastCall",
    "_PyObject_MakeTpCall",
    "_PyObject_MaybeCallSpecial",
    "_PyObject_Vectorcall",
    "_PyVectorcall_",
    "_PyFunction_Vectorcall",
    "_PyStack_",
    "_Py_BuiltinCallFast",
    "_PyCallMethodDescriptor",
    "_Py_VectorCall",
    "_Py_CallBuiltinClass",
    "object_vacall",
    "callmethod",
    "call_attribute",
    "call_unbound",
    "call_method",
    "vectorcall_",
    "maybe_call_special",
    "method_vectorcall",
    "classmethoddescr_call",
    "methoddescr_call",
    "wrapperdescr_",
    "wrapper_call",
    "cfunction_",
    "slot_tp_",
    "slot_nb_",
    "slot_sq_",
    "slot_mp_",
    "slot_am_",
    "type_call",
    "gen_send_ex",
    "gen_iternext",
    "_PyGen_",
    "PyGen_am_send",
    "PyIter_Send",
    "PyIter_Next",
    "iternext",
    "_Py_slot_",
    "Py_DECREF",
    "Py_XDECREF",
    "PyStackRef_",
    "run_eval_code_obj",
    "run_mod",
    "pyrun_",
    "PyRun_",
    "_PyRun_",
    "pymain_",
    "Py_RunMain",
    "Py_BytesMain",
    "Py_Main",
    "thread_run",
    "pythread_wrapper",
    "_PyJIT_Entry",
});

constexpr std::array kBeginnings = std::to_array<std::string_view>({
    "_start",
    "__libc_start_",
    "start_thread",
    "clone",
    "__clone",
    "thread_start",
});

template <class Names>
bool begins_with_any(std::string_view function, const Names& names) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view name) { return function.starts_with(name); });
}

}  // namespace

bool is_call_machinery(std::string_view function) {
  return begins_with_any(function, kCallMachinery);
}

bool takes_arguments_for(std::string_view function, std::string_view callee) {
  return !function.empty() && callee.starts_with(function) &&
         callee.substr(function.size()).starts_with("_impl");
}

bool is_compiled_python(std::string_view function) {
  return function.starts_with("py::jit:");
}

bool begins_thread(std::string_view function) {
  return begins_with_any(function, kBeginnings);
}

}  // namespace pyscope
