#include "structures/debug_offsets.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "structures/layouts.hpp"

namespace pyscope {
namespace {

enum class Group : std::uint8_t {
  Runtime,
  Interpreter,
  Thread,
  ErrStackItem,
  Frame,
  Code,
  Object,
  Type,
  HeapType,
  Tuple,
  List,
  Set,
  Dict,
  Float,
  Long,
  Bytes,
  Unicode,
  Gc,
  Gen,
  ListNode,
  Debugger,
  Cframe,
  Gil,
  StackChunk,
  VarObject,
  PreHeader,
  MemberDef,
  MethodDef,
  DictKeys,
  DictEntry,
  DictStrEntry,
  DictValues,
  SetEntry,
  DefaultDict,
  OrderedDict,
  OrderedDictNode,
  Deque,
  DequeBlock,
  DictView,
  MappingProxy,
  ByteArray,
  Complex,
  Range,
  Slice,
  Array,
  ArrayDescr,
  MemoryView,
  Module,
  Function,
  Method,
  CFunction,
  Cell,
  Exception,
  WeakRef,
  Awaitable,
  Date,
  Time,
  DateTime,
  TimeDelta,
  TimeZone,
  Decimal,
  Pattern,
  Partial,
  Future,
  Task,
  Lock,
  SemaphoreLock,
  RLock,
  SimpleQueue,
  ThreadHandle,
  SemLock,
  WaitEntry,
  NumpyArray,
  NumpyDescr,
  NumpyScalar,
  Count
};

/// The largest structure that is believed, for each group. CPython promises none of these; they are
/// a few times what real builds have, and they bound what is read at one time.
constexpr auto kMaxStructure = [] {
  std::array<std::uint64_t, static_cast<std::size_t>(Group::Count)> limits{};
  limits.fill(4096);
  const auto set = [&](Group group, std::uint64_t limit) {
    limits[static_cast<std::size_t>(group)] = limit;
  };
  set(Group::Runtime, 4U << 20U);
  set(Group::Interpreter, 4U << 20U);
  set(Group::Thread, 64U << 10U);
  set(Group::Gc, 64U << 10U);
  set(Group::Type, 8192);
  set(Group::HeapType, 8192);
  set(Group::Debugger, 4U << 20U);  // partly relative to the interpreter
  return limits;
}();

enum class Role : std::uint8_t {
  Size,    // sizeof the group's structure
  Offset,  // of a member of that structure
  Length,  // of something else
};

struct FieldSpec {
  Field field;
  std::string_view name;
  Group group;
  Role role;
  std::uint8_t width;  // of the member, in bytes
};

constexpr auto kFieldSpecs = std::to_array<FieldSpec>({
    {Field::RuntimeSize, "runtime_state.size", Group::Runtime, Role::Size, 8},
    {Field::RuntimeFinalizing, "runtime_state.finalizing", Group::Runtime, Role::Offset, 8},
    {Field::RuntimeInterpretersHead, "runtime_state.interpreters_head", Group::Runtime,
     Role::Offset, 8},
    {Field::InterpreterSize, "interpreter_state.size", Group::Interpreter, Role::Size, 8},
    {Field::InterpreterId, "interpreter_state.id", Group::Interpreter, Role::Offset, 8},
    {Field::InterpreterNext, "interpreter_state.next", Group::Interpreter, Role::Offset, 8},
    {Field::InterpreterThreadsHead, "interpreter_state.threads_head", Group::Interpreter,
     Role::Offset, 8},
    {Field::InterpreterThreadsMain, "interpreter_state.threads_main", Group::Interpreter,
     Role::Offset, 8},
    {Field::InterpreterGc, "interpreter_state.gc", Group::Interpreter, Role::Offset, 8},
    {Field::InterpreterImportsModules, "interpreter_state.imports_modules", Group::Interpreter,
     Role::Offset, 8},
    {Field::InterpreterSysdict, "interpreter_state.sysdict", Group::Interpreter, Role::Offset, 8},
    {Field::InterpreterBuiltins, "interpreter_state.builtins", Group::Interpreter, Role::Offset, 8},
    {Field::InterpreterCevalGil, "interpreter_state.ceval_gil", Group::Interpreter, Role::Offset,
     8},
    {Field::InterpreterGil, "interpreter_state.gil_runtime_state", Group::Interpreter, Role::Offset,
     8},
    {Field::InterpreterGilEnabled, "interpreter_state.gil_runtime_state_enabled",
     Group::Interpreter, Role::Offset, 4},
    {Field::InterpreterGilLocked, "interpreter_state.gil_runtime_state_locked", Group::Interpreter,
     Role::Offset, 4},
    {Field::InterpreterGilHolder, "interpreter_state.gil_runtime_state_holder", Group::Interpreter,
     Role::Offset, 8},
    {Field::InterpreterCodeObjectGeneration, "interpreter_state.code_object_generation",
     Group::Interpreter, Role::Offset, 8},
    {Field::InterpreterTlbcGeneration, "interpreter_state.tlbc_generation", Group::Interpreter,
     Role::Offset, 4},
    {Field::ThreadSize, "thread_state.size", Group::Thread, Role::Size, 8},
    {Field::ThreadPrev, "thread_state.prev", Group::Thread, Role::Offset, 8},
    {Field::ThreadNext, "thread_state.next", Group::Thread, Role::Offset, 8},
    {Field::ThreadInterp, "thread_state.interp", Group::Thread, Role::Offset, 8},
    {Field::ThreadCurrentFrame, "thread_state.current_frame", Group::Thread, Role::Offset, 8},
    {Field::ThreadBaseFrame, "thread_state.base_frame", Group::Thread, Role::Offset, 8},
    {Field::ThreadLastProfiledFrame, "thread_state.last_profiled_frame", Group::Thread,
     Role::Offset, 8},
    {Field::ThreadLastProfiledFrameSeq, "thread_state.last_profiled_frame_seq", Group::Thread,
     Role::Offset, 8},
    {Field::ThreadThreadId, "thread_state.thread_id", Group::Thread, Role::Offset, 8},
    {Field::ThreadNativeThreadId, "thread_state.native_thread_id", Group::Thread, Role::Offset, 8},
    {Field::ThreadDatastackChunk, "thread_state.datastack_chunk", Group::Thread, Role::Offset, 8},
    {Field::ThreadStatus, "thread_state.status", Group::Thread, Role::Offset, 4},
    {Field::ThreadHoldsGil, "thread_state.holds_gil", Group::Thread, Role::Offset, 4},
    {Field::ThreadGilRequested, "thread_state.gil_requested", Group::Thread, Role::Offset, 4},
    {Field::ThreadCurrentException, "thread_state.current_exception", Group::Thread, Role::Offset,
     8},
    {Field::ThreadExcState, "thread_state.exc_state", Group::Thread, Role::Offset, 8},
    {Field::ErrStackItemExcValue, "err_stackitem.exc_value", Group::ErrStackItem, Role::Offset, 8},
    {Field::FrameSize, "interpreter_frame.size", Group::Frame, Role::Size, 8},
    {Field::FramePrevious, "interpreter_frame.previous", Group::Frame, Role::Offset, 8},
    {Field::FrameExecutable, "interpreter_frame.executable", Group::Frame, Role::Offset, 8},
    {Field::FrameInstrPtr, "interpreter_frame.instr_ptr", Group::Frame, Role::Offset, 8},
    {Field::FrameLocalsplus, "interpreter_frame.localsplus", Group::Frame, Role::Offset, 8},
    {Field::FrameOwner, "interpreter_frame.owner", Group::Frame, Role::Offset, 1},
    {Field::FrameStackpointer, "interpreter_frame.stackpointer", Group::Frame, Role::Offset, 8},
    {Field::FrameTlbcIndex, "interpreter_frame.tlbc_index", Group::Frame, Role::Offset, 4},
    {Field::CodeSize, "code_object.size", Group::Code, Role::Size, 8},
    {Field::CodeFilename, "code_object.filename", Group::Code, Role::Offset, 8},
    {Field::CodeName, "code_object.name", Group::Code, Role::Offset, 8},
    {Field::CodeQualname, "code_object.qualname", Group::Code, Role::Offset, 8},
    {Field::CodeLinetable, "code_object.linetable", Group::Code, Role::Offset, 8},
    {Field::CodeFirstlineno, "code_object.firstlineno", Group::Code, Role::Offset, 4},
    {Field::CodeArgcount, "code_object.argcount", Group::Code, Role::Offset, 4},
    {Field::CodeLocalsplusnames, "code_object.localsplusnames", Group::Code, Role::Offset, 8},
    {Field::CodeLocalspluskinds, "code_object.localspluskinds", Group::Code, Role::Offset, 8},
    {Field::CodeCoCodeAdaptive, "code_object.co_code_adaptive", Group::Code, Role::Offset, 1},
    {Field::CodeCoTlbc, "code_object.co_tlbc", Group::Code, Role::Offset, 8},
    {Field::ObjectSize, "pyobject.size", Group::Object, Role::Size, 8},
    {Field::ObjectObType, "pyobject.ob_type", Group::Object, Role::Offset, 8},
    {Field::TypeSize, "type_object.size", Group::Type, Role::Size, 8},
    {Field::TypeTpName, "type_object.tp_name", Group::Type, Role::Offset, 8},
    {Field::TypeTpRepr, "type_object.tp_repr", Group::Type, Role::Offset, 8},
    {Field::TypeTpFlags, "type_object.tp_flags", Group::Type, Role::Offset, 8},
    {Field::TypeTpBasicsize, "type_object.tp_basicsize", Group::Type, Role::Offset, 8},
    {Field::TypeTpDictoffset, "type_object.tp_dictoffset", Group::Type, Role::Offset, 8},
    {Field::HeapTypeSize, "heap_type_object.size", Group::HeapType, Role::Size, 8},
    {Field::HeapTypeHtCachedKeys, "heap_type_object.ht_cached_keys", Group::HeapType, Role::Offset,
     8},
    {Field::TupleSize, "tuple_object.size", Group::Tuple, Role::Size, 8},
    {Field::TupleObItem, "tuple_object.ob_item", Group::Tuple, Role::Offset, 8},
    {Field::TupleObSize, "tuple_object.ob_size", Group::Tuple, Role::Offset, 8},
    {Field::ListSize, "list_object.size", Group::List, Role::Size, 8},
    {Field::ListObItem, "list_object.ob_item", Group::List, Role::Offset, 8},
    {Field::ListObSize, "list_object.ob_size", Group::List, Role::Offset, 8},
    {Field::SetSize, "set_object.size", Group::Set, Role::Size, 8},
    {Field::SetUsed, "set_object.used", Group::Set, Role::Offset, 8},
    {Field::SetTable, "set_object.table", Group::Set, Role::Offset, 8},
    {Field::SetMask, "set_object.mask", Group::Set, Role::Offset, 8},
    {Field::DictSize, "dict_object.size", Group::Dict, Role::Size, 8},
    {Field::DictMaKeys, "dict_object.ma_keys", Group::Dict, Role::Offset, 8},
    {Field::DictMaValues, "dict_object.ma_values", Group::Dict, Role::Offset, 8},
    {Field::FloatSize, "float_object.size", Group::Float, Role::Size, 8},
    {Field::FloatObFval, "float_object.ob_fval", Group::Float, Role::Offset, 8},
    {Field::LongSize, "long_object.size", Group::Long, Role::Size, 8},
    {Field::LongLvTag, "long_object.lv_tag", Group::Long, Role::Offset, 8},
    {Field::LongObDigit, "long_object.ob_digit", Group::Long, Role::Offset, 8},
    {Field::BytesSize, "bytes_object.size", Group::Bytes, Role::Size, 8},
    {Field::BytesObSize, "bytes_object.ob_size", Group::Bytes, Role::Offset, 8},
    {Field::BytesObSval, "bytes_object.ob_sval", Group::Bytes, Role::Offset, 1},
    {Field::UnicodeSize, "unicode_object.size", Group::Unicode, Role::Size, 8},
    {Field::UnicodeState, "unicode_object.state", Group::Unicode, Role::Offset, 4},
    {Field::UnicodeLength, "unicode_object.length", Group::Unicode, Role::Offset, 8},
    {Field::UnicodeAsciiobjectSize, "unicode_object.asciiobject_size", Group::Unicode, Role::Length,
     8},
    {Field::UnicodeCompactunicodeobjectSize, "unicode_object.compactunicodeobject_size",
     Group::Unicode, Role::Length, 8},
    {Field::GcSize, "gc.size", Group::Gc, Role::Size, 8},
    {Field::GcCollecting, "gc.collecting", Group::Gc, Role::Offset, 4},
    {Field::GcFrame, "gc.frame", Group::Gc, Role::Offset, 8},
    {Field::GcGenerationStatsSize, "gc.generation_stats_size", Group::Gc, Role::Length, 8},
    {Field::GcGenerationStats, "gc.generation_stats", Group::Gc, Role::Offset, 8},
    {Field::GenSize, "gen_object.size", Group::Gen, Role::Size, 8},
    {Field::GenGiName, "gen_object.gi_name", Group::Gen, Role::Offset, 8},
    {Field::GenGiIframe, "gen_object.gi_iframe", Group::Gen, Role::Offset, 8},
    {Field::GenGiFrameState, "gen_object.gi_frame_state", Group::Gen, Role::Offset, 1},
    {Field::ListNodeNext, "llist_node.next", Group::ListNode, Role::Offset, 8},
    {Field::ListNodePrev, "llist_node.prev", Group::ListNode, Role::Offset, 8},
    {Field::DebuggerEvalBreaker, "debugger_support.eval_breaker", Group::Debugger, Role::Offset, 8},
    {Field::DebuggerRemoteDebuggerSupport, "debugger_support.remote_debugger_support",
     Group::Debugger, Role::Offset, 8},
    {Field::DebuggerRemoteDebuggingEnabled, "debugger_support.remote_debugging_enabled",
     Group::Debugger, Role::Offset, 4},
    {Field::DebuggerPendingCall, "debugger_support.debugger_pending_call", Group::Debugger,
     Role::Offset, 4},
    {Field::DebuggerScriptPath, "debugger_support.debugger_script_path", Group::Debugger,
     Role::Offset, 1},
    {Field::DebuggerScriptPathSize, "debugger_support.debugger_script_path_size", Group::Debugger,
     Role::Length, 8},
    {Field::RuntimeInterpretersMain, "runtime_state.interpreters_main", Group::Runtime,
     Role::Offset, 8},
    {Field::RuntimeGil, "runtime_state.gil", Group::Runtime, Role::Offset, 8},
    {Field::InterpreterRuntime, "interpreter_state.runtime", Group::Interpreter, Role::Offset, 8},
    {Field::ThreadCframe, "thread_state.cframe", Group::Thread, Role::Offset, 8},
    {Field::CframeSize, "cframe.size", Group::Cframe, Role::Size, 8},
    {Field::CframeCurrentFrame, "cframe.current_frame", Group::Cframe, Role::Offset, 8},
    {Field::CframePrevious, "cframe.previous", Group::Cframe, Role::Offset, 8},
    {Field::FrameIsEntry, "interpreter_frame.is_entry", Group::Frame, Role::Offset, 1},
    {Field::GilSize, "gil.size", Group::Gil, Role::Size, 8},
    {Field::GilLastHolder, "gil.last_holder", Group::Gil, Role::Offset, 8},
    {Field::GilLocked, "gil.locked", Group::Gil, Role::Offset, 4},
    {Field::GilSwitchNumber, "gil.switch_number", Group::Gil, Role::Offset, 8},
    {Field::GilCond, "gil.cond", Group::Gil, Role::Offset, 8},
    {Field::StackChunkPrevious, "stack_chunk.previous", Group::StackChunk, Role::Offset, 8},
    {Field::FrameGlobals, "interpreter_frame.f_globals", Group::Frame, Role::Offset, 8},
    {Field::FrameLocals, "interpreter_frame.f_locals", Group::Frame, Role::Offset, 8},
    {Field::FrameStacktop, "interpreter_frame.stacktop", Group::Frame, Role::Offset, 4},
    {Field::CodeObSize, "code_object.ob_size", Group::Code, Role::Offset, 8},
    {Field::CodeNames, "code_object.names", Group::Code, Role::Offset, 8},
    {Field::CodeExceptiontable, "code_object.exceptiontable", Group::Code, Role::Offset, 8},
    {Field::CodeFlags, "code_object.flags", Group::Code, Role::Offset, 4},
    {Field::CodePosonlyargcount, "code_object.posonlyargcount", Group::Code, Role::Offset, 4},
    {Field::CodeKwonlyargcount, "code_object.kwonlyargcount", Group::Code, Role::Offset, 4},
    {Field::CodeStacksize, "code_object.stacksize", Group::Code, Role::Offset, 4},
    {Field::CodeNlocalsplus, "code_object.nlocalsplus", Group::Code, Role::Offset, 4},
    {Field::CodeVersion, "code_object.version", Group::Code, Role::Offset, 4},
    {Field::CodeFirsttraceable, "code_object.firsttraceable", Group::Code, Role::Offset, 4},
    {Field::VarObjectSize, "var_object.size", Group::VarObject, Role::Size, 8},
    {Field::VarObjectObSize, "var_object.ob_size", Group::VarObject, Role::Offset, 8},
    {Field::PreHeaderSize, "pre_header.size", Group::PreHeader, Role::Size, 8},
    {Field::PreHeaderDict, "pre_header.dict", Group::PreHeader, Role::Length, 8},
    {Field::PreHeaderValues, "pre_header.values", Group::PreHeader, Role::Length, 8},
    {Field::TypeTpItemsize, "type_object.tp_itemsize", Group::Type, Role::Offset, 8},
    {Field::TypeTpMembers, "type_object.tp_members", Group::Type, Role::Offset, 8},
    {Field::TypeTpBase, "type_object.tp_base", Group::Type, Role::Offset, 8},
    {Field::TypeTpDict, "type_object.tp_dict", Group::Type, Role::Offset, 8},
    {Field::TypeTpMro, "type_object.tp_mro", Group::Type, Role::Offset, 8},
    {Field::HeapTypeHtQualname, "heap_type_object.ht_qualname", Group::HeapType, Role::Offset, 8},
    {Field::MemberDefSize, "member_def.size", Group::MemberDef, Role::Size, 8},
    {Field::MemberDefName, "member_def.name", Group::MemberDef, Role::Offset, 8},
    {Field::MemberDefType, "member_def.type", Group::MemberDef, Role::Offset, 4},
    {Field::MemberDefOffset, "member_def.offset", Group::MemberDef, Role::Offset, 8},
    {Field::MethodDefSize, "method_def.size", Group::MethodDef, Role::Size, 8},
    {Field::MethodDefName, "method_def.ml_name", Group::MethodDef, Role::Offset, 8},
    {Field::ListAllocated, "list_object.allocated", Group::List, Role::Offset, 8},
    {Field::DictMaUsed, "dict_object.ma_used", Group::Dict, Role::Offset, 8},
    {Field::DictKeysSize, "dict_keys.size", Group::DictKeys, Role::Size, 8},
    {Field::DictKeysLog2Size, "dict_keys.dk_log2_size", Group::DictKeys, Role::Offset, 1},
    {Field::DictKeysLog2IndexBytes, "dict_keys.dk_log2_index_bytes", Group::DictKeys, Role::Offset,
     1},
    {Field::DictKeysKind, "dict_keys.dk_kind", Group::DictKeys, Role::Offset, 1},
    {Field::DictKeysNentries, "dict_keys.dk_nentries", Group::DictKeys, Role::Offset, 8},
    {Field::DictEntrySize, "dict_entry.size", Group::DictEntry, Role::Size, 8},
    {Field::DictEntryKey, "dict_entry.me_key", Group::DictEntry, Role::Offset, 8},
    {Field::DictEntryValue, "dict_entry.me_value", Group::DictEntry, Role::Offset, 8},
    {Field::DictStrEntrySize, "dict_str_entry.size", Group::DictStrEntry, Role::Size, 8},
    {Field::DictStrEntryKey, "dict_str_entry.me_key", Group::DictStrEntry, Role::Offset, 8},
    {Field::DictStrEntryValue, "dict_str_entry.me_value", Group::DictStrEntry, Role::Offset, 8},
    {Field::DictValuesCapacity, "dict_values.capacity", Group::DictValues, Role::Offset, 1},
    {Field::DictValuesUsed, "dict_values.size", Group::DictValues, Role::Offset, 1},
    {Field::DictValuesValid, "dict_values.valid", Group::DictValues, Role::Offset, 1},
    {Field::DictValuesValues, "dict_values.values", Group::DictValues, Role::Offset, 8},
    {Field::SetEntrySize, "set_entry.size", Group::SetEntry, Role::Size, 8},
    {Field::SetEntryKey, "set_entry.key", Group::SetEntry, Role::Offset, 8},
    {Field::SetEntryHash, "set_entry.hash", Group::SetEntry, Role::Offset, 8},
    {Field::DefaultDictSize, "default_dict.size", Group::DefaultDict, Role::Size, 8},
    {Field::DefaultDictDefaultFactory, "default_dict.default_factory", Group::DefaultDict,
     Role::Offset, 8},
    {Field::OrderedDictSize, "ordered_dict.size", Group::OrderedDict, Role::Size, 8},
    {Field::OrderedDictFirst, "ordered_dict.od_first", Group::OrderedDict, Role::Offset, 8},
    {Field::OrderedDictNodeSize, "ordered_dict_node.size", Group::OrderedDictNode, Role::Size, 8},
    {Field::OrderedDictNodeKey, "ordered_dict_node.key", Group::OrderedDictNode, Role::Offset, 8},
    {Field::OrderedDictNodeNext, "ordered_dict_node.next", Group::OrderedDictNode, Role::Offset, 8},
    {Field::DequeSize, "deque.size", Group::Deque, Role::Size, 8},
    {Field::DequeLeftblock, "deque.leftblock", Group::Deque, Role::Offset, 8},
    {Field::DequeLeftindex, "deque.leftindex", Group::Deque, Role::Offset, 8},
    {Field::DequeMaxlen, "deque.maxlen", Group::Deque, Role::Offset, 8},
    {Field::DequeBlockSize, "deque_block.size", Group::DequeBlock, Role::Size, 8},
    {Field::DequeBlockData, "deque_block.data", Group::DequeBlock, Role::Offset, 8},
    {Field::DequeBlockRightlink, "deque_block.rightlink", Group::DequeBlock, Role::Offset, 8},
    {Field::DequeBlockLength, "deque_block.length", Group::DequeBlock, Role::Length, 8},
    {Field::DictViewSize, "dict_view.size", Group::DictView, Role::Size, 8},
    {Field::DictViewDict, "dict_view.dv_dict", Group::DictView, Role::Offset, 8},
    {Field::MappingProxySize, "mapping_proxy.size", Group::MappingProxy, Role::Size, 8},
    {Field::MappingProxyMapping, "mapping_proxy.mapping", Group::MappingProxy, Role::Offset, 8},
    {Field::ByteArraySize, "byte_array.size", Group::ByteArray, Role::Size, 8},
    {Field::ByteArrayObStart, "byte_array.ob_start", Group::ByteArray, Role::Offset, 8},
    {Field::ComplexSize, "complex_object.size", Group::Complex, Role::Size, 8},
    {Field::ComplexReal, "complex_object.cval.real", Group::Complex, Role::Offset, 8},
    {Field::ComplexImag, "complex_object.cval.imag", Group::Complex, Role::Offset, 8},
    {Field::RangeSize, "range_object.size", Group::Range, Role::Size, 8},
    {Field::RangeStart, "range_object.start", Group::Range, Role::Offset, 8},
    {Field::RangeStop, "range_object.stop", Group::Range, Role::Offset, 8},
    {Field::RangeStep, "range_object.step", Group::Range, Role::Offset, 8},
    {Field::SliceSize, "slice_object.size", Group::Slice, Role::Size, 8},
    {Field::SliceStart, "slice_object.start", Group::Slice, Role::Offset, 8},
    {Field::SliceStop, "slice_object.stop", Group::Slice, Role::Offset, 8},
    {Field::SliceStep, "slice_object.step", Group::Slice, Role::Offset, 8},
    {Field::ArraySize, "array_object.size", Group::Array, Role::Size, 8},
    {Field::ArrayObItem, "array_object.ob_item", Group::Array, Role::Offset, 8},
    {Field::ArrayObDescr, "array_object.ob_descr", Group::Array, Role::Offset, 8},
    {Field::ArrayDescrTypecode, "array_descr.typecode", Group::ArrayDescr, Role::Offset, 1},
    {Field::MemoryViewSize, "memory_view.size", Group::MemoryView, Role::Size, 8},
    {Field::MemoryViewFlags, "memory_view.flags", Group::MemoryView, Role::Offset, 4},
    {Field::MemoryViewLen, "memory_view.view.len", Group::MemoryView, Role::Offset, 8},
    {Field::MemoryViewReadonly, "memory_view.view.readonly", Group::MemoryView, Role::Offset, 4},
    {Field::MemoryViewFormat, "memory_view.view.format", Group::MemoryView, Role::Offset, 8},
    {Field::ModuleSize, "module_object.size", Group::Module, Role::Size, 8},
    {Field::ModuleMdDict, "module_object.md_dict", Group::Module, Role::Offset, 8},
    {Field::FunctionSize, "function_object.size", Group::Function, Role::Size, 8},
    {Field::FunctionQualname, "function_object.func_qualname", Group::Function, Role::Offset, 8},
    {Field::FunctionCode, "function_object.func_code", Group::Function, Role::Offset, 8},
    {Field::FunctionClosure, "function_object.func_closure", Group::Function, Role::Offset, 8},
    {Field::MethodSize, "method_object.size", Group::Method, Role::Size, 8},
    {Field::MethodImFunc, "method_object.im_func", Group::Method, Role::Offset, 8},
    {Field::MethodImSelf, "method_object.im_self", Group::Method, Role::Offset, 8},
    {Field::CFunctionSize, "c_function.size", Group::CFunction, Role::Size, 8},
    {Field::CFunctionMMl, "c_function.m_ml", Group::CFunction, Role::Offset, 8},
    {Field::CFunctionMSelf, "c_function.m_self", Group::CFunction, Role::Offset, 8},
    {Field::CellSize, "cell_object.size", Group::Cell, Role::Size, 8},
    {Field::CellObRef, "cell_object.ob_ref", Group::Cell, Role::Offset, 8},
    {Field::ExceptionSize, "exception_object.size", Group::Exception, Role::Size, 8},
    {Field::ExceptionArgs, "exception_object.args", Group::Exception, Role::Offset, 8},
    {Field::WeakRefSize, "weak_ref.size", Group::WeakRef, Role::Size, 8},
    {Field::WeakRefWrObject, "weak_ref.wr_object", Group::WeakRef, Role::Offset, 8},
    {Field::GenGiQualname, "gen_object.gi_qualname", Group::Gen, Role::Offset, 8},
    {Field::AwaitableAwaited, "awaitable.awaited", Group::Awaitable, Role::Offset, 8},
    {Field::DateSize, "date_object.size", Group::Date, Role::Size, 8},
    {Field::DateData, "date_object.data", Group::Date, Role::Offset, 1},
    {Field::TimeSize, "time_object.size", Group::Time, Role::Size, 8},
    {Field::TimeHastzinfo, "time_object.hastzinfo", Group::Time, Role::Offset, 1},
    {Field::TimeData, "time_object.data", Group::Time, Role::Offset, 1},
    {Field::TimeFold, "time_object.fold", Group::Time, Role::Offset, 1},
    {Field::TimeTzinfo, "time_object.tzinfo", Group::Time, Role::Offset, 8},
    {Field::DateTimeSize, "date_time_object.size", Group::DateTime, Role::Size, 8},
    {Field::DateTimeHastzinfo, "date_time_object.hastzinfo", Group::DateTime, Role::Offset, 1},
    {Field::DateTimeData, "date_time_object.data", Group::DateTime, Role::Offset, 1},
    {Field::DateTimeFold, "date_time_object.fold", Group::DateTime, Role::Offset, 1},
    {Field::DateTimeTzinfo, "date_time_object.tzinfo", Group::DateTime, Role::Offset, 8},
    {Field::TimeDeltaSize, "time_delta.size", Group::TimeDelta, Role::Size, 8},
    {Field::TimeDeltaDays, "time_delta.days", Group::TimeDelta, Role::Offset, 4},
    {Field::TimeDeltaSeconds, "time_delta.seconds", Group::TimeDelta, Role::Offset, 4},
    {Field::TimeDeltaMicroseconds, "time_delta.microseconds", Group::TimeDelta, Role::Offset, 4},
    {Field::TimeZoneSize, "time_zone.size", Group::TimeZone, Role::Size, 8},
    {Field::TimeZoneOffset, "time_zone.offset", Group::TimeZone, Role::Offset, 8},
    {Field::TimeZoneName, "time_zone.name", Group::TimeZone, Role::Offset, 8},
    {Field::DecimalSize, "decimal_object.size", Group::Decimal, Role::Size, 8},
    {Field::DecimalFlags, "decimal_object.dec.flags", Group::Decimal, Role::Offset, 1},
    {Field::DecimalExp, "decimal_object.dec.exp", Group::Decimal, Role::Offset, 8},
    {Field::DecimalLen, "decimal_object.dec.len", Group::Decimal, Role::Offset, 8},
    {Field::DecimalData, "decimal_object.dec.data", Group::Decimal, Role::Offset, 8},
    {Field::PatternSize, "pattern_object.size", Group::Pattern, Role::Size, 8},
    {Field::PatternPattern, "pattern_object.pattern", Group::Pattern, Role::Offset, 8},
    {Field::PatternFlags, "pattern_object.flags", Group::Pattern, Role::Offset, 4},
    {Field::PartialSize, "partial_object.size", Group::Partial, Role::Size, 8},
    {Field::PartialFn, "partial_object.fn", Group::Partial, Role::Offset, 8},
    {Field::PartialArgs, "partial_object.args", Group::Partial, Role::Offset, 8},
    {Field::PartialKw, "partial_object.kw", Group::Partial, Role::Offset, 8},
    {Field::FutureSize, "future_object.size", Group::Future, Role::Size, 8},
    {Field::FutureState, "future_object.fut_state", Group::Future, Role::Offset, 4},
    {Field::FutureException, "future_object.fut_exception0", Group::Future, Role::Offset, 8},
    {Field::FutureResult, "future_object.fut_result", Group::Future, Role::Offset, 8},
    {Field::FutureLoop, "future_object.fut_loop", Group::Future, Role::Offset, 8},
    {Field::FutureCallback0, "future_object.fut_callback0", Group::Future, Role::Offset, 8},
    {Field::FutureCallbacks, "future_object.fut_callbacks", Group::Future, Role::Offset, 8},
    {Field::TaskSize, "task_object.size", Group::Task, Role::Size, 8},
    {Field::TaskState, "task_object.task_state", Group::Task, Role::Offset, 4},
    {Field::TaskCoro, "task_object.task_coro", Group::Task, Role::Offset, 8},
    {Field::TaskName, "task_object.task_name", Group::Task, Role::Offset, 8},
    {Field::TaskFutWaiter, "task_object.task_fut_waiter", Group::Task, Role::Offset, 8},
    {Field::TaskNumCancelsRequested, "task_object.task_num_cancels_requested", Group::Task,
     Role::Offset, 4},
    {Field::TaskNode, "task_object.task_node", Group::Task, Role::Offset, 8},
    {Field::LockSize, "lock_object.size", Group::Lock, Role::Size, 8},
    {Field::LockMutex, "lock_object.lock", Group::Lock, Role::Offset, 1},
    {Field::SemaphoreLockSize, "semaphore_lock.size", Group::SemaphoreLock, Role::Size, 8},
    {Field::SemaphoreLockSemaphore, "semaphore_lock.lock_lock", Group::SemaphoreLock, Role::Offset,
     8},
    {Field::SemaphoreLockLocked, "semaphore_lock.locked", Group::SemaphoreLock, Role::Offset, 1},
    {Field::RLockSize, "rlock_object.size", Group::RLock, Role::Size, 8},
    {Field::RLockLock, "rlock_object.lock", Group::RLock, Role::Offset, 1},
    {Field::RLockOwner, "rlock_object.owner", Group::RLock, Role::Offset, 8},
    {Field::RLockCount, "rlock_object.count", Group::RLock, Role::Offset, 8},
    {Field::SimpleQueueSize, "simple_queue.size", Group::SimpleQueue, Role::Size, 8},
    {Field::SimpleQueueLock, "simple_queue.lock", Group::SimpleQueue, Role::Offset, 8},
    {Field::SimpleQueueHasThreadsWaiting, "simple_queue.has_threads_waiting", Group::SimpleQueue,
     Role::Offset, 1},
    {Field::SimpleQueueGetIdx, "simple_queue.get_idx", Group::SimpleQueue, Role::Offset, 8},
    {Field::SimpleQueueItems, "simple_queue.items", Group::SimpleQueue, Role::Offset, 8},
    {Field::SimpleQueueItemsCap, "simple_queue.items_cap", Group::SimpleQueue, Role::Offset, 8},
    {Field::SimpleQueueNumItems, "simple_queue.num_items", Group::SimpleQueue, Role::Offset, 8},
    {Field::ThreadHandleSize, "thread_handle.size", Group::ThreadHandle, Role::Size, 8},
    {Field::ThreadHandleIdent, "thread_handle.ident", Group::ThreadHandle, Role::Offset, 8},
    {Field::ThreadHandleState, "thread_handle.state", Group::ThreadHandle, Role::Offset, 4},
    {Field::ThreadHandleThreadIsExiting, "thread_handle.thread_is_exiting", Group::ThreadHandle,
     Role::Offset, 1},
    {Field::SemLockSize, "sem_lock.size", Group::SemLock, Role::Size, 8},
    {Field::SemLockHandle, "sem_lock.handle", Group::SemLock, Role::Offset, 8},
    {Field::SemLockLastTid, "sem_lock.last_tid", Group::SemLock, Role::Offset, 8},
    {Field::SemLockCount, "sem_lock.count", Group::SemLock, Role::Offset, 4},
    {Field::SemLockMaxvalue, "sem_lock.maxvalue", Group::SemLock, Role::Offset, 4},
    {Field::SemLockKind, "sem_lock.kind", Group::SemLock, Role::Offset, 4},
    {Field::WaitEntrySize, "wait_entry.size", Group::WaitEntry, Role::Size, 8},
    {Field::WaitEntryAddr, "wait_entry.addr", Group::WaitEntry, Role::Offset, 8},
    {Field::WaitEntrySema, "wait_entry.sema", Group::WaitEntry, Role::Offset, 8},
    {Field::WaitEntryNext, "wait_entry.node.next", Group::WaitEntry, Role::Offset, 8},
    {Field::WaitEntryPrev, "wait_entry.node.prev", Group::WaitEntry, Role::Offset, 8},
    {Field::WaitEntryIsUnparking, "wait_entry.is_unparking", Group::WaitEntry, Role::Offset, 1},
    {Field::NumpyArrayData, "numpy.array.data", Group::NumpyArray, Role::Offset, 8},
    {Field::NumpyArrayNd, "numpy.array.nd", Group::NumpyArray, Role::Offset, 4},
    {Field::NumpyArrayDimensions, "numpy.array.dimensions", Group::NumpyArray, Role::Offset, 8},
    {Field::NumpyArrayStrides, "numpy.array.strides", Group::NumpyArray, Role::Offset, 8},
    {Field::NumpyArrayDescr, "numpy.array.descr", Group::NumpyArray, Role::Offset, 8},
    {Field::NumpyDescrTypeobj, "numpy.descr.typeobj", Group::NumpyDescr, Role::Offset, 8},
    {Field::NumpyDescrByteorder, "numpy.descr.byteorder", Group::NumpyDescr, Role::Offset, 1},
    {Field::NumpyDescrTypeNum, "numpy.descr.type_num", Group::NumpyDescr, Role::Offset, 4},
    {Field::NumpyScalarObval, "numpy.scalar.obval", Group::NumpyScalar, Role::Offset, 8},
});
static_assert(kFieldSpecs.size() == static_cast<std::size_t>(Field::Count));
static_assert([] {
  for (std::size_t i = 0; i < kFieldSpecs.size(); ++i) {
    if (static_cast<std::size_t>(kFieldSpecs[i].field) != i) return false;
  }
  return true;
}());

/// The size of each structure, where there is a field for it.
constexpr auto kSizes = [] {
  std::array<std::optional<Field>, static_cast<std::size_t>(Group::Count)> sizes{};
  for (const FieldSpec& spec : kFieldSpecs) {
    if (spec.role == Role::Size) sizes[static_cast<std::size_t>(spec.group)] = spec.field;
  }
  return sizes;
}();

const FieldSpec& spec_of(Field field) {
  return kFieldSpecs[static_cast<std::size_t>(field)];
}

std::uint64_t word_at(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

tl::unexpected<Error> bad_table(const PythonVersion& version, const std::string& why) {
  return fail(ErrorKind::Malformed, fmt::format("the debug offsets of CPython {} make no sense: {}",
                                                version.text(), why));
}

Error pre_release(const PythonVersion& version) {
  return {ErrorKind::Unsupported,
          fmt::format("this is CPython {}, a pre-release, whose structures may be those of no "
                      "other version",
                      version.text()),
          fmt::format("run the service on a final release of 3.{}", version.minor)};
}

Result<void> validate(const DebugOffsets& offsets) {
  const PythonVersion& version = offsets.version();
  for (const FieldSpec& spec : kFieldSpecs) {
    if (const auto fault = fault_of(offsets, spec.field)) return bad_table(version, *fault);
  }
  const std::uint64_t object_size = version.free_threaded ? 32 : 16;
  if (offsets[Field::ObjectSize] != object_size ||
      offsets[Field::ObjectObType] != object_size - 8) {
    return bad_table(version,
                     fmt::format("an object header of {} bytes with the type at {}",
                                 offsets[Field::ObjectSize], offsets[Field::ObjectObType]));
  }
  if (!offsets.has(Field::InterpreterGil)) return {};
  // The GIL's members are given relative to the interpreter that it is embedded in.
  constexpr std::uint64_t kMaxGilSize = 512;
  const std::uint64_t gil = offsets[Field::InterpreterGil];
  for (const Field field : {Field::InterpreterGilLocked, Field::InterpreterGilHolder}) {
    if (offsets[field] <= gil || offsets[field] >= gil + kMaxGilSize) {
      return bad_table(version, fmt::format("{} is {} with the GIL at {}", spec_of(field).name,
                                            offsets[field], gil));
    }
  }
  return {};
}

}  // namespace

PythonVersion PythonVersion::from_hex(std::uint32_t hex) {
  PythonVersion version;
  version.major = static_cast<std::uint8_t>(hex >> 24U);
  version.minor = static_cast<std::uint8_t>(hex >> 16U);
  version.micro = static_cast<std::uint8_t>(hex >> 8U);
  version.level = static_cast<std::uint8_t>((hex >> 4U) & 0xFU);
  version.serial = static_cast<std::uint8_t>(hex & 0xFU);
  return version;
}

std::string PythonVersion::text() const {
  std::string text = fmt::format("{}.{}.{}", major, minor, micro);
  if (level == 0xA) text += fmt::format("a{}", serial);
  if (level == 0xB) text += fmt::format("b{}", serial);
  if (level == 0xC) text += fmt::format("rc{}", serial);
  return text;
}

std::string_view name_of(Field field) {
  return spec_of(field).name;
}

std::optional<std::string> fault_of(const DebugOffsets& offsets, Field field) {
  if (!offsets.has(field)) return std::nullopt;
  const FieldSpec& spec = spec_of(field);
  const std::uint64_t value = offsets[field];
  const std::uint64_t limit = kMaxStructure[static_cast<std::size_t>(spec.group)];
  if (spec.role != Role::Offset) {
    const bool bad = value > limit || (spec.role == Role::Size && value == 0);
    return bad ? std::optional(fmt::format("{} is {}", spec.name, value)) : std::nullopt;
  }
  const std::optional<Field> size = kSizes[static_cast<std::size_t>(spec.group)];
  const std::uint64_t structure = size && offsets.has(*size) ? offsets[*size] : limit;
  if (value % spec.width == 0 && value <= structure && structure - value >= spec.width) {
    return std::nullopt;
  }
  return fmt::format("{} is {}, outside of its structure of {} bytes or not aligned to {}",
                     spec.name, value, structure, spec.width);
}

const PythonLayout* find_layout(std::uint8_t minor, bool free_threaded) {
  const auto found =
      std::find_if(kLayouts.begin(), kLayouts.end(), [&](const PythonLayout* layout) {
        return layout->minor == minor && layout->free_threaded == free_threaded;
      });
  return found == kLayouts.end() ? nullptr : *found;
}

std::string supported_versions() {
  std::vector<int> minors;
  for (const PythonLayout* layout : kLayouts) {
    if (!layout->free_threaded) minors.push_back(layout->minor);
  }
  std::string text;
  for (std::size_t i = 0; i < minors.size(); ++i) {
    if (i != 0) text += i + 1 == minors.size() ? " and " : ", ";
    text += fmt::format("3.{}", minors[i]);
  }
  return text;
}

Result<PythonVersion> DebugOffsets::decode_version(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderSize ||
      std::memcmp(bytes.data(), kCookie.data(), kCookie.size()) != 0) {
    return fail(ErrorKind::Malformed, "there is no table of debug offsets");
  }
  const std::uint64_t version_word = word_at(bytes, 8);
  const std::uint64_t free_threaded = word_at(bytes, 16);
  PythonVersion version = PythonVersion::from_hex(static_cast<std::uint32_t>(version_word));
  if (version_word > UINT32_MAX || version.major != 3) {
    return fail(ErrorKind::Malformed,
                fmt::format("a table of debug offsets with the version {:#x}", version_word));
  }
  if (free_threaded > 1) {
    return bad_table(version, fmt::format("free_threaded is {}", free_threaded));
  }
  version.free_threaded = free_threaded == 1;
  return version;
}

Result<DebugOffsets> DebugOffsets::decode(std::span<const std::byte> bytes) {
  const auto decoded = decode_version(bytes);
  if (!decoded) return fail(decoded.error());
  const PythonVersion& version = *decoded;
  const PythonLayout* known = find_layout(version.minor);
  if (known == nullptr || known->fields.empty()) {
    return fail(
        ErrorKind::Unsupported,
        fmt::format("this is CPython {}, whose structures pyscope does not know: it knows {}",
                    version.text(), supported_versions()),
        "use a newer pyscope, if there is one");
  }
  // The table is fixed only from the first final release on; alphas and betas had others.
  if (version.level != 0xF && version.level != 0xC) return fail(pre_release(version));
  const PythonLayout* layout = find_layout(version.minor, version.free_threaded);
  if (layout == nullptr) {
    return fail(
        ErrorKind::Unsupported,
        fmt::format("this is a free-threaded build of CPython {}, which pyscope cannot read yet",
                    version.text()),
        "run the service on a build with a GIL");
  }
  const std::size_t count = layout->fields.size();
  if (bytes.size() < kHeaderSize + 8 * count) {
    return bad_table(version, fmt::format("it ends after {} bytes", bytes.size()));
  }
  std::vector<std::uint64_t> published(count);
  std::memcpy(published.data(), bytes.data() + kHeaderSize, 8 * count);
  return assemble(version, *layout, published);
}

Result<DebugOffsets> DebugOffsets::built_in(const PythonVersion& version) {
  const PythonLayout* layout = find_layout(version.minor, version.free_threaded);
  if (version.major != 3 || layout == nullptr || !layout->fields.empty()) {
    return fail(ErrorKind::Unsupported,
                fmt::format("the structures of CPython {} are not built in", version.text()));
  }
  if (version.level != 0xF && version.level != 0xC) return fail(pre_release(version));
  return assemble(version, *layout, {});
}

Result<DebugOffsets> DebugOffsets::assemble(const PythonVersion& version,
                                            const PythonLayout& layout,
                                            std::span<const std::uint64_t> published) {
  DebugOffsets offsets;
  offsets.version_ = version;
  offsets.layout_ = &layout;
  for (const auto& built_in : layout.built_in) {
    for (const BuiltInField& known : built_in)
      offsets.set(known.field, known.value);
  }
  for (std::size_t i = 0; i < layout.fields.size(); ++i)
    offsets.set(layout.fields[i], published[i]);
  if (auto valid = validate(offsets); !valid) return fail(std::move(valid).error());
  if (!offsets.has(Field::InterpreterGil)) return offsets;
  // The GIL is published relative to the interpreter that it is embedded in.
  const std::uint64_t gil = offsets[Field::InterpreterGil];
  offsets.set(Field::GilLocked, offsets[Field::InterpreterGilLocked] - gil);
  offsets.set(Field::GilLastHolder, offsets[Field::InterpreterGilHolder] - gil);
  return offsets;
}

}  // namespace pyscope
