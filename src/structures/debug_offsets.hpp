// _Py_DebugOffsets: the table in which a CPython since 3.13 publishes the offsets of its own
// structures. It is the first member of _PyRuntime (Include/internal/pycore_debug_offsets.h). What
// differs from version to version is data: one PythonLayout for each minor version, in
// layout_3_NN.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pyscope/address.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// Every field that some supported version publishes, in the order of the newest. Named as there,
/// with the structure's name in front.
enum class Field : std::uint8_t {
  RuntimeSize,
  RuntimeFinalizing,
  RuntimeInterpretersHead,
  InterpreterSize,
  InterpreterId,
  InterpreterNext,
  InterpreterThreadsHead,
  InterpreterThreadsMain,
  InterpreterGc,
  InterpreterImportsModules,
  InterpreterSysdict,
  InterpreterBuiltins,
  InterpreterCevalGil,
  InterpreterGil,
  InterpreterGilEnabled,
  InterpreterGilLocked,
  InterpreterGilHolder,
  InterpreterCodeObjectGeneration,
  InterpreterTlbcGeneration,
  ThreadSize,
  ThreadPrev,
  ThreadNext,
  ThreadInterp,
  ThreadCurrentFrame,
  ThreadBaseFrame,
  ThreadLastProfiledFrame,
  ThreadLastProfiledFrameSeq,
  ThreadThreadId,
  ThreadNativeThreadId,
  ThreadDatastackChunk,
  ThreadStatus,
  ThreadHoldsGil,
  ThreadGilRequested,
  ThreadCurrentException,
  ThreadExcState,
  ErrStackItemExcValue,
  FrameSize,
  FramePrevious,
  FrameExecutable,
  FrameInstrPtr,
  FrameLocalsplus,
  FrameOwner,
  FrameStackpointer,
  FrameTlbcIndex,
  CodeSize,
  CodeFilename,
  CodeName,
  CodeQualname,
  CodeLinetable,
  CodeFirstlineno,
  CodeArgcount,
  CodeLocalsplusnames,
  CodeLocalspluskinds,
  CodeCoCodeAdaptive,
  CodeCoTlbc,
  ObjectSize,
  ObjectObType,
  TypeSize,
  TypeTpName,
  TypeTpRepr,
  TypeTpFlags,
  TypeTpBasicsize,
  TypeTpDictoffset,
  HeapTypeSize,
  HeapTypeHtCachedKeys,
  TupleSize,
  TupleObItem,
  TupleObSize,
  ListSize,
  ListObItem,
  ListObSize,
  SetSize,
  SetUsed,
  SetTable,
  SetMask,
  DictSize,
  DictMaKeys,
  DictMaValues,
  FloatSize,
  FloatObFval,
  LongSize,
  LongLvTag,
  LongObDigit,
  BytesSize,
  BytesObSize,
  BytesObSval,
  UnicodeSize,
  UnicodeState,
  UnicodeLength,
  UnicodeAsciiobjectSize,
  UnicodeCompactunicodeobjectSize,
  GcSize,
  GcCollecting,
  GcFrame,
  GcGenerationStatsSize,
  GcGenerationStats,
  GenSize,
  GenGiName,
  GenGiIframe,
  GenGiFrameState,
  ListNodeNext,
  ListNodePrev,
  DebuggerEvalBreaker,
  DebuggerRemoteDebuggerSupport,
  DebuggerRemoteDebuggingEnabled,
  DebuggerPendingCall,
  DebuggerScriptPath,
  DebuggerScriptPathSize,
  Count
};

/// The version word and the flags in front of the table.
struct PythonVersion {
  std::uint8_t major = 0;
  std::uint8_t minor = 0;
  std::uint8_t micro = 0;
  std::uint8_t level = 0;  // 0xA alpha, 0xB beta, 0xC release candidate, 0xF final
  std::uint8_t serial = 0;
  bool free_threaded = false;

  /// As PY_VERSION_HEX encodes it.
  [[nodiscard]] static PythonVersion from_hex(std::uint32_t hex);
  /// "3.14.8", "3.15.0rc1"
  [[nodiscard]] std::string text() const;
};

/// PyGenObject, and coroutines and asynchronous generators likewise
/// (Include/internal/pycore_genobject.h); and the numbers of its states, which go: not started,
/// suspended, executing, finished.
struct GeneratorLayout {
  std::uint64_t frame_state = 67;
  std::uint64_t frame = 72;
  std::int8_t suspended = -2;
  std::int8_t executing = 0;
  std::int8_t completed = 1;
};

/// TaskObj and FutureObj (Modules/_asynciomodule.c).
struct TaskLayout {
  std::uint64_t state = 104;
  std::uint64_t coroutine = 128;
  std::uint64_t name = 136;
};

/// What pyscope knows of one minor version. Offsets are for builds with a GIL and in bytes.
struct PythonLayout {
  std::uint8_t minor = 0;
  /// The fields of the published table, in its order, after the 24 bytes of header.
  std::span<const Field> fields;

  // What the table doesn't publish. Each was read in the sources of that version and checked on
  // live interpreters.

  /// Bits of PyThreadState._status. No bit: that version has none.
  struct StatusBits {
    std::uint32_t initialized = 0;
    std::uint32_t unbound = 0;  // was bound to an OS thread that has ended
    std::uint32_t cleared = 0;
    std::uint32_t finalized = 0;
    std::uint32_t holds_gil = 0;  // 3.13 only; later a field of its own
  } status;

  /// True where frame slots are _PyStackRef with tag bits (since 3.14); 3.13 has plain pointers.
  bool tagged_references = false;

  // PyCodeObject
  std::uint64_t code_units = 16;  // ob_size: the number of 16-bit code units
  std::uint64_t code_version = 92;
  std::uint64_t code_first_traceable = 0;

  // struct _gil_runtime_state, relative to itself; glibc's sizes of mutexes and conditions.
  std::uint64_t gil_last_holder = 8;
  std::uint64_t gil_locked = 16;
  std::uint64_t gil_switch_number = 24;
  // Where a thread sleeps that waits for the GIL: on the condition or its mutex; or, having given
  // the GIL up by request and on its way to take it again, on those for the switch.
  std::uint64_t gil_condition = 32;
  std::uint64_t gil_conditions_end = 208;

  // Python objects
  std::uint64_t type_basicsize = 32;
  std::uint64_t type_cached_keys = 0;     // PyHeapTypeObject.ht_cached_keys
  std::uint64_t module_dict = 16;         // PyModuleObject.md_dict
  std::int64_t managed_dict = -24;        // PyObject to its managed dict pointer
  std::uint64_t rlock_count_missing = 0;  // what a held RLock's counter lacks: 1 since 3.14

  /// The opcodes that end a loop, in all their forms (Include/opcode_ids.h). ENTER_EXECUTOR is what
  /// a JIT puts in their place.
  std::span<const std::uint8_t> backward_jumps = {};

  // Locks
  /// True where _thread.RLock waits on a sem_t of its own (3.13), not in the parking lot as all
  /// other locks do.
  bool rlock_is_semaphore = false;
  /// True where a `with` statement keeps the bound __exit__ on the evaluation stack (until 3.13);
  /// later it keeps the function and the object, in this order.
  bool with_keeps_bound_exit = false;
  std::uint8_t with_except_start = 0;  // the opcode WITH_EXCEPT_START (opcode_ids.h)

  GeneratorLayout generator = {};
  TaskLayout task = {};

  /// Whether repr() of a bytearray escapes a single quote between double ones (until 3.14).
  bool bytearray_escapes_quotes = true;

  /// The two tag bits of a _PyStackRef: 01 for a reference that isn't counted, 3 for a number of
  /// the interpreter's own; null is a tag without a pointer.
  static constexpr std::uint64_t kReferenceTags = 3;
  /// What a slot of a frame refers to, as an address.
  [[nodiscard]] std::uint64_t untagged(std::uint64_t slot) const {
    return tagged_references ? slot & ~kReferenceTags : slot;
  }
  [[nodiscard]] bool is_tagged_number(std::uint64_t slot) const {
    return tagged_references && (slot & kReferenceTags) == kReferenceTags;
  }
};

/// The layout of a minor version of CPython 3, or null.
[[nodiscard]] const PythonLayout* find_layout(std::uint8_t minor);
/// "3.13, 3.14 and 3.15": for messages.
[[nodiscard]] std::string supported_versions();

class DebugOffsets {
 public:
  static constexpr std::string_view kCookie = "xdebugpy";
  static constexpr std::size_t kHeaderSize = 24;
  /// No version's table is larger.
  static constexpr std::size_t kMaxSize = kHeaderSize + 8 * static_cast<std::size_t>(Field::Count);

  /// Decodes and validates a table. `bytes` starts at the cookie and may be longer than the table.
  /// Fails with Malformed if there is no cookie or a value can't be right (every later read relies
  /// on them), with Unsupported for a version that pyscope doesn't know; both say what was found.
  [[nodiscard]] static Result<DebugOffsets> decode(std::span<const std::byte> bytes);
  /// The version that a table says it is of, whether pyscope knows that or not. Fails with
  /// Malformed if there is no cookie, or the version can't be one.
  [[nodiscard]] static Result<PythonVersion> decode_version(std::span<const std::byte> bytes);

  [[nodiscard]] const PythonVersion& version() const { return version_; }
  [[nodiscard]] const PythonLayout& layout() const { return *layout_; }
  /// The field's value; 0 where this version doesn't publish it.
  [[nodiscard]] std::uint64_t operator[](Field field) const {
    return values_[static_cast<std::size_t>(field)];
  }
  [[nodiscard]] bool publishes(Field field) const;

 private:
  DebugOffsets() = default;

  PythonVersion version_;
  const PythonLayout* layout_ = nullptr;
  std::array<std::uint64_t, static_cast<std::size_t>(Field::Count)> values_{};
};

}  // namespace pyscope
