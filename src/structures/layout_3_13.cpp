// CPython 3.13. Sources: Include/internal/pycore_runtime.h (the table), Include/cpython/pystate.h
// (status bits), Include/cpython/code.h, Include/internal/pycore_gil.h, Include/cpython/object.h.
#include "structures/built_in.hpp"
#include "structures/layouts.hpp"

namespace pyscope {
namespace {

using enum Field;

constexpr std::array kFields = {RuntimeSize,
                                RuntimeFinalizing,
                                RuntimeInterpretersHead,
                                InterpreterSize,
                                InterpreterId,
                                InterpreterNext,
                                InterpreterThreadsHead,
                                InterpreterGc,
                                InterpreterImportsModules,
                                InterpreterSysdict,
                                InterpreterBuiltins,
                                InterpreterCevalGil,
                                InterpreterGil,
                                InterpreterGilEnabled,
                                InterpreterGilLocked,
                                InterpreterGilHolder,
                                ThreadSize,
                                ThreadPrev,
                                ThreadNext,
                                ThreadInterp,
                                ThreadCurrentFrame,
                                ThreadThreadId,
                                ThreadNativeThreadId,
                                ThreadDatastackChunk,
                                ThreadStatus,
                                FrameSize,
                                FramePrevious,
                                FrameExecutable,
                                FrameInstrPtr,
                                FrameLocalsplus,
                                FrameOwner,
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
                                ObjectSize,
                                ObjectObType,
                                TypeSize,
                                TypeTpName,
                                TypeTpRepr,
                                TypeTpFlags,
                                TupleSize,
                                TupleObItem,
                                TupleObSize,
                                ListSize,
                                ListObItem,
                                ListObSize,
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
                                GcSize,
                                GcCollecting};
static_assert(DebugOffsets::kHeaderSize + 8 * kFields.size() == 584);

constexpr auto kBuiltIn = std::to_array<BuiltInField>({
    // _PyInterpreterFrame (Include/internal/pycore_frame.h)
    {FrameStacktop, 64},
    // PyCodeObject (Include/cpython/code.h)
    {CodeFirsttraceable, 184},
    // PyHeapTypeObject (Include/cpython/object.h)
    {HeapTypeHtQualname, 872},
    {HeapTypeSize, 928},
    {HeapTypeHtCachedKeys, 880},
    // PyByteArrayObject (Include/cpython/bytearrayobject.h)
    {ByteArraySize, 56},
    // PyModuleObject (Include/internal/pycore_moduleobject.h)
    {ModuleSize, 56},
    // PyFunctionObject (Include/cpython/funcobject.h)
    {FunctionSize, 144},
    // partialobject (Modules/_functoolsmodule.c)
    {PartialSize, 64},
    // FutureObj (Modules/_asynciomodule.c)
    {FutureSize, 104},
    {FutureState, 96},
    // TaskObj (_asynciomodule.c)
    {TaskSize, 144},
    {TaskState, 96},
    {TaskCoro, 120},
    {TaskName, 128},
    {TaskFutWaiter, 112},
    {TaskNumCancelsRequested, 104},
    // lockobject of 3.13.0 (Modules/_threadmodule.c)
    {SemaphoreLockSize, 40},
    {SemaphoreLockSemaphore, 16},
    {SemaphoreLockLocked, 32},
    // rlockobject (_threadmodule.c)
    {RLockSize, 48},
    // PyTypeObject (Include/cpython/object.h)
    {TypeTpBasicsize, 32},
    {TypeTpDictoffset, 288},
    // PySetObject (Include/cpython/setobject.h)
    {SetSize, 200},
    {SetUsed, 24},
    {SetTable, 40},
    {SetMask, 32},
    // PyCompactUnicodeObject (Include/cpython/unicodeobject.h)
    {UnicodeCompactunicodeobjectSize, 56},
    // PyGenObject (Include/internal/pycore_genobject.h)
    {GenSize, 152},
    {GenGiName, 24},
    {GenGiIframe, 72},
    {GenGiFrameState, 67},
});

constexpr auto kBackwardJumps = std::to_array<std::uint8_t>({77, 78, 249, 70});
constexpr auto kChangingInstructions = std::to_array<OpcodeRange>({{9, 9},
                                                                   {38, 39},
                                                                   {45, 45},
                                                                   {53, 57},
                                                                   {68, 70},
                                                                   {80, 81},
                                                                   {95, 95},
                                                                   {105, 105},
                                                                   {107, 107},
                                                                   {162, 168},
                                                                   {171, 181},
                                                                   {212, 213},
                                                                   {236, 254}});

}  // namespace

const PythonLayout kLayout313 = {
    .minor = 13,
    .fields = kFields,
    .built_in = {kBuiltInWithGil, kBuiltInNumpy, kBuiltIn},
    .status = {.initialized = 1U << 0U,
               .unbound = 1U << 2U,
               .bound_gilstate = 1U << 3U,
               .cleared = 1U << 7U,
               .finalized = 1U << 8U},
    .tagged_references = false,
    .backward_jumps = kBackwardJumps,
    .changing_instructions = kChangingInstructions,
    .rlock_is_semaphore = true,
    .with_keeps_bound_exit = true,
    .with_except_start = 44,
    .unicode = {15, 1},
};

}  // namespace pyscope
