// The offsets and sizes that no version publishes and that are the same in 3.13, 3.14 and 3.15, in
// builds with a GIL, debug builds or not. Those that differ stand in layout_3_NN.cpp, which wins.
// Each was read in CPython's sources, in the file that is named, and checked on live interpreters.
#pragma once

#include <array>

#include "structures/debug_offsets.hpp"

namespace pyscope {

inline constexpr auto kBuiltInWithGil = [] {
  using enum Field;
  return std::to_array<BuiltInField>({
      // struct _gil_runtime_state (Include/internal/pycore_gil.h), with the mutexes and conditions
      // of glibc. All of it from cond on is what threads sleep on that wait for the GIL.
      {GilSize, 208},
      {GilLastHolder, 8},
      {GilLocked, 16},
      {GilSwitchNumber, 24},
      {GilCond, 32},
      // struct _PyStackChunk (Include/internal/pycore_pystate.h, 3.13: Include/cpython/pystate.h).
      {StackChunkPrevious, 0},
      // _PyInterpreterFrame (Include/internal/pycore_interpframe_structs.h, 3.13: pycore_frame.h).
      {FrameGlobals, 24},
      {FrameLocals, 40},
      // PyCodeObject (Include/cpython/code.h).
      {CodeObSize, 16},
      {CodeNames, 32},
      {CodeExceptiontable, 40},
      {CodeFlags, 48},
      {CodePosonlyargcount, 56},
      {CodeKwonlyargcount, 60},
      {CodeStacksize, 64},
      {CodeNlocalsplus, 72},
      {CodeVersion, 92},
      // PyVarObject (Include/object.h).
      {VarObjectSize, 24},
      {VarObjectObSize, 16},
      // What lies before an object (Include/internal/pycore_object.h): all of it, and how far
      // before the object the pointer to its managed dict lies.
      {PreHeaderSize, 32},
      {PreHeaderDict, 24},
      // PyTypeObject (Include/cpython/object.h).
      {TypeTpMembers, 240},
      {TypeTpBase, 256},
      {TypeTpDict, 264},
      {TypeTpMro, 344},
      // PyMemberDef (Include/descrobject.h).
      {MemberDefSize, 40},
      {MemberDefName, 0},
      {MemberDefType, 8},
      {MemberDefOffset, 16},
      // PyMethodDef (Include/methodobject.h).
      {MethodDefSize, 32},
      {MethodDefName, 0},
      // PyDictObject (Include/cpython/dictobject.h).
      {DictMaUsed, 16},
      // PyDictKeysObject (Include/internal/pycore_dict.h). Its size is that of its header, which
      // the indices follow, and these the entries.
      {DictKeysSize, 32},
      {DictKeysLog2Size, 8},
      {DictKeysLog2IndexBytes, 9},
      {DictKeysKind, 10},
      {DictKeysNentries, 24},
      // PyDictKeyEntry (pycore_dict.h): of keys of all types.
      {DictEntrySize, 24},
      {DictEntryKey, 8},
      {DictEntryValue, 16},
      // PyDictUnicodeEntry (pycore_dict.h): where all keys are str, or shared by instances.
      {DictStrEntrySize, 16},
      {DictStrEntryKey, 0},
      {DictStrEntryValue, 8},
      // struct _dictvalues (pycore_dict.h): of a split dict, or within an instance. `values` has
      // `capacity` pointers; behind them stands the order in which they were set, a byte each.
      {DictValuesCapacity, 0},
      {DictValuesUsed, 1},
      {DictValuesValid, 3},
      {DictValuesValues, 8},
      // PyListObject (Include/cpython/listobject.h).
      {ListAllocated, 32},
      // setentry (Include/cpython/setobject.h).
      {SetEntrySize, 16},
      {SetEntryKey, 0},
      {SetEntryHash, 8},
      // defdictobject (Modules/_collectionsmodule.c).
      {DefaultDictSize, 56},
      {DefaultDictDefaultFactory, 48},
      // PyODictObject (Objects/odictobject.c).
      {OrderedDictSize, 112},
      {OrderedDictFirst, 48},
      // _ODictNode (odictobject.c).
      {OrderedDictNodeSize, 32},
      {OrderedDictNodeKey, 0},
      {OrderedDictNodeNext, 16},
      // dequeobject (_collectionsmodule.c).
      {DequeSize, 216},
      {DequeLeftblock, 24},
      {DequeLeftindex, 40},
      {DequeMaxlen, 64},
      // BLOCK (_collectionsmodule.c); and how many items are in one.
      {DequeBlockSize, 528},
      {DequeBlockData, 8},
      {DequeBlockRightlink, 520},
      {DequeBlockLength, 64},
      // _PyDictViewObject (Include/internal/pycore_dict.h).
      {DictViewSize, 24},
      {DictViewDict, 16},
      // mappingproxyobject (Objects/descrobject.c).
      {MappingProxySize, 24},
      {MappingProxyMapping, 16},
      // PyByteArrayObject (Include/cpython/bytearrayobject.h); ob_start is where the content
      // begins, behind what was deleted in front.
      {ByteArrayObStart, 40},
      // PyComplexObject (Include/cpython/complexobject.h).
      {ComplexSize, 32},
      {ComplexReal, 16},
      {ComplexImag, 24},
      // rangeobject (Objects/rangeobject.c).
      {RangeSize, 48},
      {RangeStart, 16},
      {RangeStop, 24},
      {RangeStep, 32},
      // PySliceObject (Include/sliceobject.h).
      {SliceSize, 40},
      {SliceStart, 16},
      {SliceStop, 24},
      {SliceStep, 32},
      // arrayobject (Modules/arraymodule.c).
      {ArraySize, 64},
      {ArrayObItem, 24},
      {ArrayObDescr, 40},
      // struct arraydescr (arraymodule.c).
      {ArrayDescrTypecode, 0},
      // PyMemoryViewObject (Include/cpython/memoryobject.h), with the members of its Py_buffer.
      {MemoryViewSize, 144},
      {MemoryViewFlags, 40},
      {MemoryViewLen, 72},
      {MemoryViewReadonly, 88},
      {MemoryViewFormat, 96},
      // PyModuleObject (Include/internal/pycore_moduleobject.h).
      {ModuleMdDict, 16},
      // PyFunctionObject (Include/cpython/funcobject.h).
      {FunctionQualname, 40},
      {FunctionCode, 48},
      {FunctionClosure, 72},
      // PyMethodObject (Include/cpython/classobject.h).
      {MethodSize, 48},
      {MethodImFunc, 16},
      {MethodImSelf, 24},
      // PyCFunctionObject (Include/cpython/methodobject.h).
      {CFunctionSize, 56},
      {CFunctionMMl, 16},
      {CFunctionMSelf, 24},
      // PyCellObject (Include/cpython/cellobject.h).
      {CellSize, 24},
      {CellObRef, 16},
      // PyBaseExceptionObject (Include/cpython/pyerrors.h).
      {ExceptionSize, 72},
      {ExceptionArgs, 24},
      // PyWeakReference (Include/cpython/weakrefobject.h).
      {WeakRefSize, 64},
      {WeakRefWrObject, 16},
      // PyGenObject, and those of coroutines and asynchronous generators
      // (Include/internal/pycore_genobject.h).
      {GenGiQualname, 32},
      // The first member of PyCoroWrapper, PyAsyncGenASend, PyAsyncGenAThrow and
      // anextawaitableobject
      // (Objects/genobject.c, iterobject.c) and of futureiterobject (_asynciomodule.c).
      {AwaitableAwaited, 16},
      // PyDateTime_Date (Include/datetime.h), whose data are bytes, the highest first.
      {DateSize, 32},
      {DateData, 25},
      // PyDateTime_Time (datetime.h).
      {TimeSize, 40},
      {TimeHastzinfo, 24},
      {TimeData, 25},
      {TimeFold, 31},
      {TimeTzinfo, 32},
      // PyDateTime_DateTime (datetime.h).
      {DateTimeSize, 48},
      {DateTimeHastzinfo, 24},
      {DateTimeData, 25},
      {DateTimeFold, 35},
      {DateTimeTzinfo, 40},
      // PyDateTime_Delta (datetime.h).
      {TimeDeltaSize, 40},
      {TimeDeltaDays, 24},
      {TimeDeltaSeconds, 28},
      {TimeDeltaMicroseconds, 32},
      // PyDateTime_TimeZone (Modules/_datetimemodule.c).
      {TimeZoneSize, 32},
      {TimeZoneOffset, 16},
      {TimeZoneName, 24},
      // PyDecObject (Modules/_decimal/_decimal.c), with the members of its mpd_t.
      {DecimalSize, 104},
      {DecimalFlags, 24},
      {DecimalExp, 32},
      {DecimalLen, 48},
      {DecimalData, 64},
      // PatternObject (Modules/_sre/sre.h); larger in debug builds, behind these.
      {PatternSize, 96},
      {PatternPattern, 48},
      {PatternFlags, 56},
      // partialobject (Modules/_functoolsmodule.c).
      {PartialFn, 16},
      {PartialArgs, 24},
      {PartialKw, 32},
      // FutureObj (Modules/_asynciomodule.c).
      {FutureException, 48},
      {FutureResult, 64},
      {FutureLoop, 16},
      {FutureCallback0, 24},
      {FutureCallbacks, 40},
      // lockobject (Modules/_threadmodule.c) of a PyMutex; its type has this size.
      {LockSize, 24},
      {LockMutex, 16},
      // rlockobject (_threadmodule.c). Its lock is a pointer to a sem_t in 3.13, and later a
      // PyMutex.
      {RLockLock, 16},
      {RLockOwner, 24},
      {RLockCount, 32},
      // simplequeueobject (Modules/_queuemodule.c): the byte that those park on that wait for an
      // item, and its RingBuf.
      {SimpleQueueSize, 72},
      {SimpleQueueHasThreadsWaiting, 16},
      {SimpleQueueGetIdx, 32},
      {SimpleQueueItems, 40},
      {SimpleQueueItemsCap, 48},
      {SimpleQueueNumItems, 56},
      // ThreadHandle (_threadmodule.c).
      {ThreadHandleSize, 72},
      {ThreadHandleIdent, 32},
      {ThreadHandleState, 52},
      {ThreadHandleThreadIsExiting, 57},
      // SemLockObject (Modules/_multiprocessing/semaphore.c).
      {SemLockSize, 56},
      {SemLockHandle, 16},
      {SemLockLastTid, 24},
      {SemLockCount, 32},
      {SemLockMaxvalue, 36},
      {SemLockKind, 40},
      // struct wait_entry (Python/parking_lot.c), with the sem_t of glibc as its semaphore.
      {WaitEntrySize, 64},
      {WaitEntryAddr, 0},
      {WaitEntrySema, 8},
      {WaitEntryNext, 40},
      {WaitEntryPrev, 48},
      {WaitEntryIsUnparking, 56},
  });
}();

/// The structures of numpy, which depend on no version of CPython in builds with a GIL.
inline constexpr auto kBuiltInNumpy = [] {
  using enum Field;
  return std::to_array<BuiltInField>({
      // PyArrayObject_fields (numpy/core/include/numpy/ndarraytypes.h), of numpy 1 and 2.
      {NumpyArrayData, 16},
      {NumpyArrayNd, 24},
      {NumpyArrayDimensions, 32},
      {NumpyArrayStrides, 40},
      {NumpyArrayDescr, 56},
      // PyArray_Descr (ndarraytypes.h).
      {NumpyDescrTypeobj, 16},
      {NumpyDescrByteorder, 26},
      {NumpyDescrTypeNum, 28},
      // The scalars of numpy (arrayscalars.h).
      {NumpyScalarObval, 16},
  });
}();

}  // namespace pyscope
