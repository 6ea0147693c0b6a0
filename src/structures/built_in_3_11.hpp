// The structures of CPython 3.11. Made by scripts/make_layout.py from the debug
// information of CPython 3.11.7 (x86-64, glibc); don't edit it. What a structure doesn't have is
// not listed: an offset that no structure of this version has doesn't exist for it.
#pragma once

#include <array>

#include "structures/debug_offsets.hpp"

namespace pyscope {

inline constexpr auto kStructures311 = [] {
  using enum Field;
  return std::to_array<BuiltInField>({
      // _PyRuntimeState (Include/internal/pycore_runtime.h)
      {RuntimeSize, 166688},
      {RuntimeFinalizing, 24},
      {RuntimeInterpretersHead, 40},
      {RuntimeInterpretersMain, 48},
      {RuntimeGil, 360},
      // PyInterpreterState (Include/internal/pycore_interp.h)
      {InterpreterSize, 107752},
      {InterpreterId, 48},
      {InterpreterNext, 0},
      {InterpreterRuntime, 40},
      {InterpreterThreadsHead, 16},
      {InterpreterGc, 648},
      {InterpreterImportsModules, 888},
      {InterpreterSysdict, 904},
      {InterpreterBuiltins, 912},
      // PyThreadState (Include/cpython/pystate.h)
      {ThreadSize, 360},
      {ThreadPrev, 0},
      {ThreadNext, 8},
      {ThreadInterp, 16},
      {ThreadCframe, 56},
      {ThreadThreadId, 152},
      {ThreadNativeThreadId, 160},
      {ThreadDatastackChunk, 296},
      {ThreadStatus, 24},
      // _PyCFrame (Include/cpython/pystate.h)
      {CframeSize, 24},
      {CframeCurrentFrame, 8},
      {CframePrevious, 16},
      // _PyInterpreterFrame (Include/internal/pycore_frame.h)
      {FrameSize, 80},
      {FramePrevious, 48},
      {FrameExecutable, 32},
      {FrameInstrPtr, 56},
      {FrameLocalsplus, 72},
      {FrameOwner, 69},
      {FrameIsEntry, 68},
      {FrameGlobals, 8},
      {FrameLocals, 24},
      {FrameStacktop, 64},
      // PyCodeObject (Include/cpython/code.h)
      {CodeSize, 192},
      {CodeFilename, 112},
      {CodeName, 120},
      {CodeQualname, 128},
      {CodeLinetable, 136},
      {CodeFirstlineno, 72},
      {CodeArgcount, 56},
      {CodeLocalsplusnames, 96},
      {CodeLocalspluskinds, 104},
      {CodeCoCodeAdaptive, 184},
      {CodeObSize, 16},
      {CodeNames, 32},
      {CodeExceptiontable, 40},
      {CodeFlags, 48},
      {CodePosonlyargcount, 60},
      {CodeKwonlyargcount, 64},
      {CodeStacksize, 68},
      {CodeNlocalsplus, 76},
      {CodeFirsttraceable, 168},
      // PyObject (Include/object.h)
      {ObjectSize, 16},
      {ObjectObType, 8},
      // PyVarObject (Include/object.h)
      {VarObjectSize, 24},
      {VarObjectObSize, 16},
      // PyTypeObject (Include/cpython/object.h)
      {TypeSize, 408},
      {TypeTpName, 24},
      {TypeTpRepr, 88},
      {TypeTpFlags, 168},
      {TypeTpBasicsize, 32},
      {TypeTpItemsize, 40},
      {TypeTpDictoffset, 288},
      {TypeTpMembers, 240},
      {TypeTpBase, 256},
      {TypeTpDict, 264},
      {TypeTpMro, 344},
      // PyHeapTypeObject (Include/cpython/object.h)
      {HeapTypeSize, 904},
      {HeapTypeHtCachedKeys, 872},
      {HeapTypeHtQualname, 864},
      // PyTupleObject (Include/cpython/tupleobject.h)
      {TupleSize, 32},
      {TupleObItem, 24},
      {TupleObSize, 16},
      // PyListObject (Include/cpython/listobject.h)
      {ListSize, 40},
      {ListObItem, 24},
      {ListObSize, 16},
      {ListAllocated, 32},
      // PySetObject (Include/cpython/setobject.h)
      {SetSize, 200},
      {SetUsed, 24},
      {SetTable, 40},
      {SetMask, 32},
      // setentry (Include/cpython/setobject.h)
      {SetEntrySize, 16},
      {SetEntryKey, 0},
      {SetEntryHash, 8},
      // PyDictObject (Include/cpython/dictobject.h)
      {DictSize, 48},
      {DictMaKeys, 32},
      {DictMaValues, 40},
      {DictMaUsed, 16},
      // PyDictKeysObject (Include/internal/pycore_dict.h)
      {DictKeysSize, 32},
      {DictKeysLog2Size, 8},
      {DictKeysLog2IndexBytes, 9},
      {DictKeysKind, 10},
      {DictKeysNentries, 24},
      // PyDictKeyEntry (Include/internal/pycore_dict.h)
      {DictEntrySize, 24},
      {DictEntryKey, 8},
      {DictEntryValue, 16},
      // PyDictUnicodeEntry (Include/internal/pycore_dict.h)
      {DictStrEntrySize, 16},
      {DictStrEntryKey, 0},
      {DictStrEntryValue, 8},
      // PyFloatObject (Include/cpython/floatobject.h)
      {FloatSize, 24},
      {FloatObFval, 16},
      // PyLongObject (Include/cpython/longintrepr.h)
      {LongSize, 32},
      {LongLvTag, 16},
      {LongObDigit, 24},
      // PyBytesObject (Include/cpython/bytesobject.h)
      {BytesSize, 40},
      {BytesObSize, 16},
      {BytesObSval, 32},
      // PyUnicodeObject (Include/cpython/unicodeobject.h)
      {UnicodeSize, 80},
      {UnicodeState, 32},
      {UnicodeLength, 16},
      {UnicodeAsciiobjectSize, 48},
      {UnicodeCompactunicodeobjectSize, 72},
      // struct _gc_runtime_state (Include/internal/pycore_gc.h)
      {GcSize, 240},
      {GcCollecting, 200},
      // PyGenObject (Include/cpython/genobject.h)
      {GenSize, 88},
      {GenGiName, 32},
      {GenGiIframe, 80},
      {GenGiFrameState, 75},
      {GenGiQualname, 40},
      // struct _gil_runtime_state (Include/internal/pycore_gil.h)
      {GilSize, 208},
      {GilLastHolder, 8},
      {GilLocked, 16},
      {GilSwitchNumber, 24},
      {GilCond, 32},
      // _PyStackChunk (Include/cpython/pystate.h)
      {StackChunkPrevious, 0},
      // PyMemberDef (Include/structmember.h)
      {MemberDefSize, 40},
      {MemberDefName, 0},
      {MemberDefType, 8},
      {MemberDefOffset, 16},
      // PyMethodDef (Include/methodobject.h)
      {MethodDefSize, 32},
      {MethodDefName, 0},
      // defdictobject (Modules/_collectionsmodule.c)
      {DefaultDictSize, 56},
      {DefaultDictDefaultFactory, 48},
      // PyODictObject (Objects/odictobject.c)
      {OrderedDictSize, 112},
      {OrderedDictFirst, 48},
      // _ODictNode (Objects/odictobject.c)
      {OrderedDictNodeSize, 32},
      {OrderedDictNodeKey, 0},
      {OrderedDictNodeNext, 16},
      // dequeobject (Modules/_collectionsmodule.c)
      {DequeSize, 216},
      {DequeLeftblock, 24},
      {DequeLeftindex, 40},
      {DequeMaxlen, 64},
      // struct BLOCK (Modules/_collectionsmodule.c)
      {DequeBlockSize, 528},
      {DequeBlockData, 8},
      {DequeBlockRightlink, 520},
      {DequeBlockLength, 64},
      // _PyDictViewObject (Include/internal/pycore_dict.h)
      {DictViewSize, 24},
      {DictViewDict, 16},
      // mappingproxyobject (Objects/descrobject.c)
      {MappingProxySize, 24},
      {MappingProxyMapping, 16},
      // PyByteArrayObject (Include/cpython/bytearrayobject.h)
      {ByteArraySize, 56},
      {ByteArrayObStart, 40},
      // PyComplexObject (Include/cpython/complexobject.h)
      {ComplexSize, 32},
      {ComplexReal, 16},
      {ComplexImag, 24},
      // rangeobject (Objects/rangeobject.c)
      {RangeSize, 48},
      {RangeStart, 16},
      {RangeStop, 24},
      {RangeStep, 32},
      // PySliceObject (Include/sliceobject.h)
      {SliceSize, 40},
      {SliceStart, 16},
      {SliceStop, 24},
      {SliceStep, 32},
      // PyMemoryViewObject (Include/cpython/memoryobject.h)
      {MemoryViewSize, 144},
      {MemoryViewFlags, 40},
      {MemoryViewLen, 72},
      {MemoryViewReadonly, 88},
      {MemoryViewFormat, 96},
      // PyModuleObject (Include/internal/pycore_moduleobject.h)
      {ModuleSize, 56},
      {ModuleMdDict, 16},
      // PyFunctionObject (Include/cpython/funcobject.h)
      {FunctionSize, 136},
      {FunctionQualname, 40},
      {FunctionCode, 48},
      {FunctionClosure, 72},
      // PyMethodObject (Include/cpython/classobject.h)
      {MethodSize, 48},
      {MethodImFunc, 16},
      {MethodImSelf, 24},
      // PyCFunctionObject (Include/cpython/methodobject.h)
      {CFunctionSize, 56},
      {CFunctionMMl, 16},
      {CFunctionMSelf, 24},
      // PyCellObject (Include/cpython/cellobject.h)
      {CellSize, 24},
      {CellObRef, 16},
      // PyBaseExceptionObject (Include/cpython/pyerrors.h)
      {ExceptionSize, 72},
      {ExceptionArgs, 24},
      // PyWeakReference (Include/cpython/weakrefobject.h)
      {WeakRefSize, 64},
      {WeakRefWrObject, 16},
      // PyCoroWrapper (Objects/genobject.c)
      {AwaitableAwaited, 16},
      // PatternObject (Modules/_sre/sre.h)
      {PatternSize, 96},
      {PatternPattern, 48},
      {PatternFlags, 56},
      // partialobject (Modules/_functoolsmodule.c)
      {PartialSize, 64},
      {PartialFn, 16},
      {PartialArgs, 24},
      {PartialKw, 32},
      // lockobject (Modules/_threadmodule.c)
      {SemaphoreLockSize, 40},
      {SemaphoreLockSemaphore, 16},
      {SemaphoreLockLocked, 32},
      // rlockobject (Modules/_threadmodule.c)
      {RLockSize, 48},
      {RLockLock, 16},
      {RLockOwner, 24},
      {RLockCount, 32},
      // arrayobject (Modules/arraymodule.c)
      {ArraySize, 64},
      {ArrayObItem, 24},
      {ArrayObDescr, 40},
      // struct arraydescr (Modules/arraymodule.c)
      {ArrayDescrTypecode, 0},
      // PyDateTime_Date (Include/datetime.h)
      {DateSize, 32},
      {DateData, 25},
      // PyDateTime_Time (Include/datetime.h)
      {TimeSize, 40},
      {TimeHastzinfo, 24},
      {TimeData, 25},
      {TimeFold, 31},
      {TimeTzinfo, 32},
      // PyDateTime_DateTime (Include/datetime.h)
      {DateTimeSize, 48},
      {DateTimeHastzinfo, 24},
      {DateTimeData, 25},
      {DateTimeFold, 35},
      {DateTimeTzinfo, 40},
      // PyDateTime_Delta (Include/datetime.h)
      {TimeDeltaSize, 40},
      {TimeDeltaDays, 24},
      {TimeDeltaSeconds, 28},
      {TimeDeltaMicroseconds, 32},
      // PyDateTime_TimeZone (Modules/_datetimemodule.c)
      {TimeZoneSize, 32},
      {TimeZoneOffset, 16},
      {TimeZoneName, 24},
      // PyDecObject (Modules/_decimal/_decimal.c)
      {DecimalSize, 104},
      {DecimalFlags, 24},
      {DecimalExp, 32},
      {DecimalLen, 48},
      {DecimalData, 64},
      // FutureObj (Modules/_asynciomodule.c)
      {FutureSize, 128},
      {FutureState, 88},
      {FutureException, 48},
      {FutureResult, 64},
      {FutureLoop, 16},
      {FutureCallback0, 24},
      {FutureCallbacks, 40},
      // TaskObj (Modules/_asynciomodule.c)
      {TaskSize, 176},
      {TaskState, 88},
      {TaskCoro, 136},
      {TaskName, 144},
      {TaskFutWaiter, 128},
      {TaskNumCancelsRequested, 168},
      // simplequeueobject (Modules/_queuemodule.c)
      {SimpleQueueSize, 56},
      {SimpleQueueLock, 16},
      // SemLockObject (Modules/_multiprocessing/semaphore.c)
      {SemLockSize, 56},
      {SemLockHandle, 16},
      {SemLockLastTid, 24},
      {SemLockCount, 32},
      {SemLockMaxvalue, 36},
      {SemLockKind, 40},
  });
}();

}  // namespace pyscope
