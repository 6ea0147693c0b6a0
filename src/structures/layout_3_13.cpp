// CPython 3.13. Sources: Include/internal/pycore_runtime.h (the table), Include/cpython/pystate.h
// (status bits), Include/cpython/code.h, Include/internal/pycore_gil.h, Include/cpython/object.h.
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

constexpr auto kBackwardJumps = std::to_array<std::uint8_t>({77, 78, 249, 70});

}  // namespace

const PythonLayout kLayout313 = {
    .minor = 13,
    .fields = kFields,
    .status = {.initialized = 1U << 0U,
               .unbound = 1U << 2U,
               .cleared = 1U << 7U,
               .finalized = 1U << 8U,
               .holds_gil = 1U << 5U},
    .tagged_references = false,
    .code_first_traceable = 184,
    .type_cached_keys = 880,
    .backward_jumps = kBackwardJumps,
    .rlock_is_semaphore = true,
    .with_keeps_bound_exit = true,
    .with_except_start = 44,
    .task = {.state = 96, .coroutine = 120, .name = 128},
};

}  // namespace pyscope
