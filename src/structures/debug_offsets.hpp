// The offsets and sizes of CPython's structures: one table, asked by Field. Two providers fill the
// table. CPython since 3.13 publishes some of the offsets itself, in _Py_DebugOffsets, the first
// member of _PyRuntime (Include/internal/pycore_debug_offsets.h). What a version doesn't publish is
// built in (built_in.hpp, layout_3_NN.cpp): of 3.12 and older, all. A published value wins over a
// built-in one.
//
// Nothing outside of this folder asks for the version: what differs from version to version is an
// offset here, or a bit mask, number or flag of PythonLayout.
#pragma once

#include <array>
#include <bitset>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pyscope/address.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// A member or the size of a structure, named as CPython names them, with the structure in front.
/// Offsets are relative to the structure, in bytes. First the fields that some supported version
/// publishes, in the order of the newest; then those that none does.
enum class Field : std::uint16_t {
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
  // What no supported version publishes.
  RuntimeInterpretersMain,
  RuntimeGil,
  InterpreterRuntime,
  ThreadCframe,
  CframeSize,
  CframeCurrentFrame,
  CframePrevious,
  FrameIsEntry,
  GilSize,
  GilLastHolder,
  GilLocked,
  GilSwitchNumber,
  GilCond,
  StackChunkPrevious,
  FrameGlobals,
  FrameLocals,
  FrameStacktop,
  CodeObSize,
  CodeNames,
  CodeExceptiontable,
  CodeFlags,
  CodePosonlyargcount,
  CodeKwonlyargcount,
  CodeStacksize,
  CodeNlocalsplus,
  CodeVersion,
  CodeFirsttraceable,
  VarObjectSize,
  VarObjectObSize,
  PreHeaderSize,
  PreHeaderDict,
  PreHeaderValues,
  TypeTpItemsize,
  TypeTpMembers,
  TypeTpBase,
  TypeTpDict,
  TypeTpMro,
  HeapTypeHtQualname,
  MemberDefSize,
  MemberDefName,
  MemberDefType,
  MemberDefOffset,
  MethodDefSize,
  MethodDefName,
  ListAllocated,
  DictMaUsed,
  DictKeysSize,
  DictKeysLog2Size,
  DictKeysLog2IndexBytes,
  DictKeysKind,
  DictKeysNentries,
  DictEntrySize,
  DictEntryKey,
  DictEntryValue,
  DictStrEntrySize,
  DictStrEntryKey,
  DictStrEntryValue,
  DictValuesCapacity,
  DictValuesUsed,
  DictValuesValid,
  DictValuesValues,
  SetEntrySize,
  SetEntryKey,
  SetEntryHash,
  DefaultDictSize,
  DefaultDictDefaultFactory,
  OrderedDictSize,
  OrderedDictFirst,
  OrderedDictNodeSize,
  OrderedDictNodeKey,
  OrderedDictNodeNext,
  DequeSize,
  DequeLeftblock,
  DequeLeftindex,
  DequeMaxlen,
  DequeBlockSize,
  DequeBlockData,
  DequeBlockRightlink,
  DequeBlockLength,
  DictViewSize,
  DictViewDict,
  MappingProxySize,
  MappingProxyMapping,
  ByteArraySize,
  ByteArrayObStart,
  ComplexSize,
  ComplexReal,
  ComplexImag,
  RangeSize,
  RangeStart,
  RangeStop,
  RangeStep,
  SliceSize,
  SliceStart,
  SliceStop,
  SliceStep,
  ArraySize,
  ArrayObItem,
  ArrayObDescr,
  ArrayDescrTypecode,
  MemoryViewSize,
  MemoryViewFlags,
  MemoryViewLen,
  MemoryViewReadonly,
  MemoryViewFormat,
  ModuleSize,
  ModuleMdDict,
  FunctionSize,
  FunctionQualname,
  FunctionCode,
  FunctionClosure,
  MethodSize,
  MethodImFunc,
  MethodImSelf,
  CFunctionSize,
  CFunctionMMl,
  CFunctionMSelf,
  CellSize,
  CellObRef,
  ExceptionSize,
  ExceptionArgs,
  WeakRefSize,
  WeakRefWrObject,
  GenGiQualname,
  AwaitableAwaited,
  DateSize,
  DateData,
  TimeSize,
  TimeHastzinfo,
  TimeData,
  TimeFold,
  TimeTzinfo,
  DateTimeSize,
  DateTimeHastzinfo,
  DateTimeData,
  DateTimeFold,
  DateTimeTzinfo,
  TimeDeltaSize,
  TimeDeltaDays,
  TimeDeltaSeconds,
  TimeDeltaMicroseconds,
  TimeZoneSize,
  TimeZoneOffset,
  TimeZoneName,
  DecimalSize,
  DecimalFlags,
  DecimalExp,
  DecimalLen,
  DecimalData,
  PatternSize,
  PatternPattern,
  PatternFlags,
  PartialSize,
  PartialFn,
  PartialArgs,
  PartialKw,
  FutureSize,
  FutureState,
  FutureException,
  FutureResult,
  FutureLoop,
  FutureCallback0,
  FutureCallbacks,
  TaskSize,
  TaskState,
  TaskCoro,
  TaskName,
  TaskFutWaiter,
  TaskNumCancelsRequested,
  TaskNode,
  LockSize,
  LockMutex,
  SemaphoreLockSize,
  SemaphoreLockSemaphore,
  SemaphoreLockLocked,
  RLockSize,
  RLockLock,
  RLockOwner,
  RLockCount,
  SimpleQueueSize,
  SimpleQueueLock,
  SimpleQueueHasThreadsWaiting,
  SimpleQueueGetIdx,
  SimpleQueueItems,
  SimpleQueueItemsCap,
  SimpleQueueNumItems,
  ThreadHandleSize,
  ThreadHandleIdent,
  ThreadHandleState,
  ThreadHandleThreadIsExiting,
  SemLockSize,
  SemLockHandle,
  SemLockLastTid,
  SemLockCount,
  SemLockMaxvalue,
  SemLockKind,
  WaitEntrySize,
  WaitEntryAddr,
  WaitEntrySema,
  WaitEntryNext,
  WaitEntryPrev,
  WaitEntryIsUnparking,
  NumpyArrayData,
  NumpyArrayNd,
  NumpyArrayDimensions,
  NumpyArrayStrides,
  NumpyArrayDescr,
  NumpyDescrTypeobj,
  NumpyDescrByteorder,
  NumpyDescrTypeNum,
  NumpyScalarObval,
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

/// A field that is known without the published table.
struct BuiltInField {
  Field field;
  std::uint64_t value;
};

/// Where the bits of PyASCIIObject.state begin (Include/cpython/unicodeobject.h).
struct StrStateBits {
  std::uint8_t kind = 2;  // three bits
  std::uint8_t compact = 5;
  std::uint8_t ascii = 6;
};

/// The states of a generator, which go: not started, suspended, executing, finished
/// (Include/internal/pycore_frame.h).
struct GeneratorStates {
  std::int8_t suspended = -2;   // at a `yield`
  std::int8_t delegating = -1;  // at an `await` or `yield from`
  std::int8_t executing = 0;
  std::int8_t completed = 1;
};

/// Where the values of an instance's attributes lie that has no dict of its own.
enum class InstanceValues : std::uint8_t {
  Inside,  // in the instance, as struct _dictvalues
  /// Elsewhere. The word that points to the dict points there instead: to one byte before (3.12).
  BehindTaggedPointer,
  BehindPointer,  // elsewhere, and a word of its own points there (3.11)
};

struct UnicodeVersion {
  std::uint8_t major = 0;
  std::uint8_t minor = 0;
  friend constexpr auto operator<=>(const UnicodeVersion&, const UnicodeVersion&) = default;
};

/// What pyscope knows of one minor version, in builds with a GIL or in free-threaded ones. Debug
/// builds have the same structures, as far as they are read.
struct OpcodeRange {
  std::uint8_t first = 0;
  std::uint8_t last = 0;
};

struct PythonLayout {
  std::uint8_t minor = 0;
  bool free_threaded = false;
  /// The fields of the published table, in its order, after the 24 bytes of header. Empty for a
  /// version that publishes none.
  std::span<const Field> fields;
  /// What it doesn't publish: first what it has in common with other versions, then its own, which
  /// wins. A field of neither doesn't exist in this version.
  std::array<std::span<const BuiltInField>, 3> built_in = {};

  /// Bits of PyThreadState._status. No bit: that version has none.
  struct StatusBits {
    std::uint32_t initialized = 0;
    std::uint32_t unbound = 0;  // was bound to an OS thread that has ended
    /// Of all states of an OS thread, the one that PyGILState_GetThisThreadState() gives: the one
    /// that the thread has attached last (tstate_activate in Python/pystate.c). Without this bit, a
    /// state has the ids of the thread that made it until its own thread begins.
    std::uint32_t bound_gilstate = 0;
    std::uint32_t cleared = 0;
    std::uint32_t finalized = 0;
  } status;

  /// True where a frame names the code unit that was executed last (prev_instr, until 3.12), one
  /// before the code in a frame that hasn't begun; later frames name the one that is executed.
  bool names_last_unit = false;
  /// True where the sign of an int is that of its size (until 3.11).
  bool int_size_has_sign = false;
  InstanceValues instance_values = InstanceValues::Inside;

  /// True where frame slots are _PyStackRef with tag bits (since 3.14); 3.13 has plain pointers.
  bool tagged_references = false;

  /// What the counter of a held RLock lacks: 1 since 3.14.
  std::uint64_t rlock_count_missing = 0;

  /// The opcodes that end a loop, in all their forms (Include/opcode_ids.h). ENTER_EXECUTOR is what
  /// a JIT puts in their place.
  std::span<const std::uint8_t> backward_jumps = {};
  /// The opcodes whose C code may change a container that is on the evaluation stack: items that
  /// are set, added or removed, `+=`, calls; and those that stand in place of any (instrumented
  /// ones, and ENTER_EXECUTOR).
  std::span<const OpcodeRange> changing_instructions = {};

  /// True where _thread.RLock waits on a sem_t of its own (3.13), not in the parking lot as all
  /// other locks do.
  bool rlock_is_semaphore = false;
  /// True where a `with` statement keeps the bound __exit__ on the evaluation stack (until 3.13);
  /// later the function and the object are there, in this order.
  bool with_keeps_bound_exit = false;
  std::uint8_t with_except_start = 0;  // the opcode WITH_EXCEPT_START (opcode_ids.h)

  GeneratorStates generator = {};
  /// The forms of the opcode RESUME, where a generator has no state of its own for `await` and
  /// `yield from` (until 3.12): the argument of the RESUME at which the generator will go on tells.
  std::span<const std::uint8_t> resumes = {};
  /// In the frame of a generator that is suspended at an `await` or `yield from`: how far below the
  /// top of the evaluation stack the object lies that it waits for, in slots.
  std::uint8_t awaited_slot = 1;
  StrStateBits str_state = {};

  /// The Unicode version by which repr() escapes characters.
  UnicodeVersion unicode = {};

  /// Whether repr() of an OrderedDict has a list of pairs (until 3.11) in place of a dict.
  bool ordered_dict_has_pairs = false;

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

class DebugOffsets;

/// "type_object.tp_base"
[[nodiscard]] std::string_view name_of(Field field);
/// What is wrong with a field: an offset that isn't within its structure or not aligned, a size or
/// length that no such structure has. Nothing if all is well.
[[nodiscard]] std::optional<std::string> fault_of(const DebugOffsets& offsets, Field field);

/// The layout of a minor version of CPython 3, or null.
[[nodiscard]] const PythonLayout* find_layout(std::uint8_t minor, bool free_threaded = false);
/// "3.11, 3.12, 3.13, 3.14 and 3.15": for messages.
[[nodiscard]] std::string supported_versions();

class DebugOffsets {
 public:
  static constexpr std::string_view kCookie = "xdebugpy";
  static constexpr std::size_t kHeaderSize = 24;
  /// How many fields there are that some version publishes.
  static constexpr std::size_t kPublishable =
      static_cast<std::size_t>(Field::DebuggerScriptPathSize) + 1;
  /// No version's table is larger.
  static constexpr std::size_t kMaxSize = kHeaderSize + 8 * kPublishable;

  /// Decodes a published table, adds what is built in, and validates all of it. `bytes` starts at
  /// the cookie and may be longer than the table. Fails with Malformed if there is no cookie or a
  /// value can't be right (every later read relies on them), with Unsupported for a version that
  /// pyscope doesn't know; both say what was found.
  [[nodiscard]] static Result<DebugOffsets> decode(std::span<const std::byte> bytes);
  /// The offsets of a version that publishes none, for its built-in layout. Fails with Unsupported
  /// for a version that has no such layout, and for pre-releases.
  [[nodiscard]] static Result<DebugOffsets> built_in(const PythonVersion& version);
  /// The version that a table says it is of, whether pyscope knows that or not. Fails with
  /// Malformed if there is no cookie, or the version can't be one.
  [[nodiscard]] static Result<PythonVersion> decode_version(std::span<const std::byte> bytes);

  [[nodiscard]] const PythonVersion& version() const { return version_; }
  [[nodiscard]] const PythonLayout& layout() const { return *layout_; }
  /// The field's value; 0 where this version doesn't have the field.
  [[nodiscard]] std::uint64_t operator[](Field field) const {
    return values_[static_cast<std::size_t>(field)];
  }
  /// Whether this version has the field, published or built in. All have most of them; ask for the
  /// others (ThreadBaseFrame, ThreadGilRequested, SemaphoreLockLocked, …) before they are used.
  [[nodiscard]] bool has(Field field) const { return known_[static_cast<std::size_t>(field)]; }

 private:
  DebugOffsets() = default;
  /// Puts the table together. `published`: the words of the layout's fields, in their order.
  [[nodiscard]] static Result<DebugOffsets> assemble(const PythonVersion& version,
                                                     const PythonLayout& layout,
                                                     std::span<const std::uint64_t> published);
  void set(Field field, std::uint64_t value) {
    values_[static_cast<std::size_t>(field)] = value;
    known_.set(static_cast<std::size_t>(field));
  }

  PythonVersion version_;
  const PythonLayout* layout_ = nullptr;
  std::bitset<static_cast<std::size_t>(Field::Count)> known_;
  std::array<std::uint64_t, static_cast<std::size_t>(Field::Count)> values_{};
};

}  // namespace pyscope
