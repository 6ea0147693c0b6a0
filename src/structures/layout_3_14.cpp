// CPython 3.14. Sources: Include/internal/pycore_debug_offsets.h (the table),
// Include/cpython/pystate.h (status bits), Include/internal/pycore_stackref.h (tags),
// Include/cpython/code.h, Include/internal/pycore_gil.h, Include/cpython/object.h.
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
                                GcSize,
                                GcCollecting,
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
                                DebuggerScriptPathSize};
static_assert(DebugOffsets::kHeaderSize + 8 * kFields.size() == 760);

constexpr auto kBuiltIn = std::to_array<BuiltInField>({
    // PyCodeObject (Include/cpython/code.h)
    {CodeFirsttraceable, 192},
    // PyHeapTypeObject (Include/cpython/object.h)
    {HeapTypeHtQualname, 872},
    {HeapTypeSize, 936},
    {HeapTypeHtCachedKeys, 880},
    // PyByteArrayObject (Include/cpython/bytearrayobject.h)
    {ByteArraySize, 56},
    // PyModuleObject (Include/internal/pycore_moduleobject.h)
    {ModuleSize, 56},
    // PyFunctionObject (Include/cpython/funcobject.h)
    {FunctionSize, 152},
    // partialobject (Modules/_functoolsmodule.c)
    {PartialSize, 80},
    // FutureObj (Modules/_asynciomodule.c)
    {FutureSize, 112},
    {FutureState, 104},
    // TaskObj (_asynciomodule.c)
    {TaskSize, 168},
    {TaskState, 104},
    {TaskCoro, 128},
    {TaskName, 136},
    {TaskFutWaiter, 120},
    {TaskNumCancelsRequested, 112},
    {TaskNode, 152},
    // rlockobject (_threadmodule.c)
    {RLockSize, 40},
    // PyThreadState (Include/cpython/pystate.h)
    {ThreadHoldsGil, 36},
    // PyTypeObject (Include/cpython/object.h)
    {TypeTpBasicsize, 32},
    {TypeTpDictoffset, 288},
    // PyCompactUnicodeObject (Include/cpython/unicodeobject.h)
    {UnicodeCompactunicodeobjectSize, 56},
});

constexpr auto kBackwardJumps = std::to_array<std::uint8_t>({75, 76, 175, 176, 253, 255});
constexpr auto kChangingInstructions = std::to_array<OpcodeRange>({{4, 4},
                                                                   {8, 8},
                                                                   {37, 38},
                                                                   {44, 44},
                                                                   {52, 55},
                                                                   {66, 67},
                                                                   {78, 79},
                                                                   {98, 98},
                                                                   {107, 107},
                                                                   {109, 109},
                                                                   {143, 149},
                                                                   {151, 153},
                                                                   {155, 165},
                                                                   {201, 202},
                                                                   {234, 255}});

}  // namespace

const PythonLayout kLayout314 = {
    .minor = 14,
    .fields = kFields,
    .built_in = {kBuiltInWithGil, kBuiltInNumpy, kBuiltIn},
    .status = {.initialized = 1U << 0U,
               .unbound = 1U << 2U,
               .bound_gilstate = 1U << 3U,
               .cleared = 1U << 6U,
               .finalized = 1U << 7U},
    .tagged_references = true,
    .rlock_count_missing = 1,
    .backward_jumps = kBackwardJumps,
    .changing_instructions = kChangingInstructions,
    .with_except_start = 43,
    .unicode = {16, 0},
};

}  // namespace pyscope
