#!/usr/bin/env python3
"""Prints the offsets of a CPython that publishes none itself (3.12 and older).

    scripts/make_layout.py PREFIX 3.11 > src/structures/built_in_3_11.hpp

PREFIX is where that CPython is installed: a build with a shared library and with debug information
(-g), of which all extension modules are there. gdb reads the offsets from the debug information;
nothing is run, and the interpreter's files are only read.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

# (the structure as the sources name it, where they do so,
#  [(the field of pyscope, the members or expressions: the first that exists)]).
# A member without a name is the size of the structure. An expression begins with '='.
CORE = [
    ("_PyRuntimeState", "Include/internal/pycore_runtime.h", [
        ("RuntimeSize", ""),
        ("RuntimeFinalizing", "_finalizing"),
        ("RuntimeInterpretersHead", "interpreters.head"),
        ("RuntimeInterpretersMain", "interpreters.main"),
        ("RuntimeGil", "ceval.gil.last_holder=ceval.gil"),
    ]),
    ("PyInterpreterState", "Include/internal/pycore_interp.h", [
        ("InterpreterSize", ""),
        ("InterpreterId", "id"),
        ("InterpreterNext", "next"),
        ("InterpreterRuntime", "runtime"),
        ("InterpreterThreadsHead", "threads.head"),
        ("InterpreterGc", "gc"),
        ("InterpreterImportsModules", "imports.modules|modules"),
        ("InterpreterSysdict", "sysdict"),
        ("InterpreterBuiltins", "builtins"),
        ("InterpreterCevalGil", "ceval.gil"),
    ]),
    ("PyThreadState", "Include/cpython/pystate.h", [
        ("ThreadSize", ""),
        ("ThreadPrev", "prev"),
        ("ThreadNext", "next"),
        ("ThreadInterp", "interp"),
        ("ThreadCframe", "cframe"),
        ("ThreadThreadId", "thread_id"),
        ("ThreadNativeThreadId", "native_thread_id"),
        ("ThreadDatastackChunk", "datastack_chunk"),
        ("ThreadStatus", "_status|_initialized"),
    ]),
    ("_PyCFrame", "Include/cpython/pystate.h", [
        ("CframeSize", ""),
        ("CframeCurrentFrame", "current_frame"),
        ("CframePrevious", "previous"),
    ]),
    ("_PyInterpreterFrame", "Include/internal/pycore_frame.h", [
        ("FrameSize", ""),
        ("FramePrevious", "previous"),
        ("FrameExecutable", "f_code"),
        ("FrameInstrPtr", "prev_instr"),
        ("FrameLocalsplus", "localsplus"),
        ("FrameOwner", "owner"),
        ("FrameIsEntry", "is_entry"),
        ("FrameGlobals", "f_globals"),
        ("FrameLocals", "f_locals"),
        ("FrameStacktop", "stacktop"),
    ]),
    ("PyCodeObject", "Include/cpython/code.h", [
        ("CodeSize", ""),
        ("CodeFilename", "co_filename"),
        ("CodeName", "co_name"),
        ("CodeQualname", "co_qualname"),
        ("CodeLinetable", "co_linetable"),
        ("CodeFirstlineno", "co_firstlineno"),
        ("CodeArgcount", "co_argcount"),
        ("CodeLocalsplusnames", "co_localsplusnames"),
        ("CodeLocalspluskinds", "co_localspluskinds"),
        ("CodeCoCodeAdaptive", "co_code_adaptive"),
        ("CodeObSize", "ob_base.ob_size"),
        ("CodeNames", "co_names"),
        ("CodeExceptiontable", "co_exceptiontable"),
        ("CodeFlags", "co_flags"),
        ("CodePosonlyargcount", "co_posonlyargcount"),
        ("CodeKwonlyargcount", "co_kwonlyargcount"),
        ("CodeStacksize", "co_stacksize"),
        ("CodeNlocalsplus", "co_nlocalsplus"),
        ("CodeVersion", "co_version"),
        ("CodeFirsttraceable", "_co_firsttraceable"),
    ]),
    ("PyObject", "Include/object.h", [("ObjectSize", ""), ("ObjectObType", "ob_type")]),
    ("PyVarObject", "Include/object.h", [("VarObjectSize", ""), ("VarObjectObSize", "ob_size")]),
    ("PyTypeObject", "Include/cpython/object.h", [
        ("TypeSize", ""),
        ("TypeTpName", "tp_name"),
        ("TypeTpRepr", "tp_repr"),
        ("TypeTpFlags", "tp_flags"),
        ("TypeTpBasicsize", "tp_basicsize"),
        ("TypeTpItemsize", "tp_itemsize"),
        ("TypeTpDictoffset", "tp_dictoffset"),
        ("TypeTpMembers", "tp_members"),
        ("TypeTpBase", "tp_base"),
        ("TypeTpDict", "tp_dict"),
        ("TypeTpMro", "tp_mro"),
    ]),
    ("PyHeapTypeObject", "Include/cpython/object.h", [
        ("HeapTypeSize", ""),
        ("HeapTypeHtCachedKeys", "ht_cached_keys"),
        ("HeapTypeHtQualname", "ht_qualname"),
    ]),
    ("PyTupleObject", "Include/cpython/tupleobject.h", [
        ("TupleSize", ""), ("TupleObItem", "ob_item"), ("TupleObSize", "ob_base.ob_size")]),
    ("PyListObject", "Include/cpython/listobject.h", [
        ("ListSize", ""), ("ListObItem", "ob_item"), ("ListObSize", "ob_base.ob_size"),
        ("ListAllocated", "allocated")]),
    ("PySetObject", "Include/cpython/setobject.h", [
        ("SetSize", ""), ("SetUsed", "used"), ("SetTable", "table"), ("SetMask", "mask")]),
    ("setentry", "Include/cpython/setobject.h", [
        ("SetEntrySize", ""), ("SetEntryKey", "key"), ("SetEntryHash", "hash")]),
    ("PyDictObject", "Include/cpython/dictobject.h", [
        ("DictSize", ""), ("DictMaKeys", "ma_keys"), ("DictMaValues", "ma_values"),
        ("DictMaUsed", "ma_used")]),
    ("PyDictKeysObject", "Include/internal/pycore_dict.h", [
        ("DictKeysSize", "dk_indices"),
        ("DictKeysLog2Size", "dk_log2_size"),
        ("DictKeysLog2IndexBytes", "dk_log2_index_bytes"),
        ("DictKeysKind", "dk_kind"),
        ("DictKeysNentries", "dk_nentries"),
    ]),
    ("PyDictKeyEntry", "Include/internal/pycore_dict.h", [
        ("DictEntrySize", ""), ("DictEntryKey", "me_key"), ("DictEntryValue", "me_value")]),
    ("PyDictUnicodeEntry", "Include/internal/pycore_dict.h", [
        ("DictStrEntrySize", ""), ("DictStrEntryKey", "me_key"),
        ("DictStrEntryValue", "me_value")]),
    ("PyFloatObject", "Include/cpython/floatobject.h", [
        ("FloatSize", ""), ("FloatObFval", "ob_fval")]),
    ("PyLongObject", "Include/cpython/longintrepr.h", [
        ("LongSize", ""), ("LongLvTag", "long_value.lv_tag|ob_base.ob_size"),
        ("LongObDigit", "long_value.ob_digit|ob_digit")]),
    ("PyBytesObject", "Include/cpython/bytesobject.h", [
        ("BytesSize", ""), ("BytesObSize", "ob_base.ob_size"), ("BytesObSval", "ob_sval")]),
    ("PyUnicodeObject", "Include/cpython/unicodeobject.h", [
        ("UnicodeSize", ""),
        ("UnicodeState", "_base._base.state"),
        ("UnicodeLength", "_base._base.length"),
        ("UnicodeAsciiobjectSize", "=sizeof(PyASCIIObject)"),
        ("UnicodeCompactunicodeobjectSize", "=sizeof(PyCompactUnicodeObject)"),
    ]),
    ("struct _gc_runtime_state", "Include/internal/pycore_gc.h", [
        ("GcSize", ""), ("GcCollecting", "collecting")]),
    ("PyGenObject", "Include/cpython/genobject.h", [
        ("GenSize", ""), ("GenGiName", "gi_name"), ("GenGiIframe", "gi_iframe"),
        ("GenGiFrameState", "gi_frame_state"), ("GenGiQualname", "gi_qualname")]),
    ("struct _gil_runtime_state", "Include/internal/pycore_gil.h", [
        ("GilSize", ""), ("GilLastHolder", "last_holder"), ("GilLocked", "locked"),
        ("GilSwitchNumber", "switch_number"), ("GilCond", "cond")]),
    ("_PyStackChunk", "Include/cpython/pystate.h", [("StackChunkPrevious", "previous")]),
    ("PyMemberDef", "Include/structmember.h", [
        ("MemberDefSize", ""), ("MemberDefName", "name"), ("MemberDefType", "type"),
        ("MemberDefOffset", "offset")]),
    ("PyMethodDef", "Include/methodobject.h", [("MethodDefSize", ""), ("MethodDefName", "ml_name")]),
    ("defdictobject", "Modules/_collectionsmodule.c", [
        ("DefaultDictSize", ""), ("DefaultDictDefaultFactory", "default_factory")]),
    ("PyODictObject", "Objects/odictobject.c", [
        ("OrderedDictSize", ""), ("OrderedDictFirst", "od_first")]),
    ("_ODictNode", "Objects/odictobject.c", [
        ("OrderedDictNodeSize", ""), ("OrderedDictNodeKey", "key"),
        ("OrderedDictNodeNext", "next")]),
    ("dequeobject", "Modules/_collectionsmodule.c", [
        ("DequeSize", ""), ("DequeLeftblock", "leftblock"), ("DequeLeftindex", "leftindex"),
        ("DequeMaxlen", "maxlen")]),
    ("struct BLOCK", "Modules/_collectionsmodule.c", [
        ("DequeBlockSize", ""), ("DequeBlockData", "data"), ("DequeBlockRightlink", "rightlink"),
        ("DequeBlockLength", "=sizeof(((struct BLOCK*)0)->data)/sizeof(void*)")]),
    ("_PyDictViewObject", "Include/internal/pycore_dict.h", [
        ("DictViewSize", ""), ("DictViewDict", "dv_dict")]),
    ("mappingproxyobject", "Objects/descrobject.c", [
        ("MappingProxySize", ""), ("MappingProxyMapping", "mapping")]),
    ("PyByteArrayObject", "Include/cpython/bytearrayobject.h", [
        ("ByteArraySize", ""), ("ByteArrayObStart", "ob_start")]),
    ("PyComplexObject", "Include/cpython/complexobject.h", [
        ("ComplexSize", ""), ("ComplexReal", "cval.real"), ("ComplexImag", "cval.imag")]),
    ("rangeobject", "Objects/rangeobject.c", [
        ("RangeSize", ""), ("RangeStart", "start"), ("RangeStop", "stop"), ("RangeStep", "step")]),
    ("PySliceObject", "Include/sliceobject.h", [
        ("SliceSize", ""), ("SliceStart", "start"), ("SliceStop", "stop"), ("SliceStep", "step")]),
    ("PyMemoryViewObject", "Include/cpython/memoryobject.h", [
        ("MemoryViewSize", "ob_array"), ("MemoryViewFlags", "flags"), ("MemoryViewLen", "view.len"),
        ("MemoryViewReadonly", "view.readonly"), ("MemoryViewFormat", "view.format")]),
    ("PyModuleObject", "Include/internal/pycore_moduleobject.h", [
        ("ModuleSize", ""), ("ModuleMdDict", "md_dict")]),
    ("PyFunctionObject", "Include/cpython/funcobject.h", [
        ("FunctionSize", ""), ("FunctionQualname", "func_qualname"), ("FunctionCode", "func_code"),
        ("FunctionClosure", "func_closure")]),
    ("PyMethodObject", "Include/cpython/classobject.h", [
        ("MethodSize", ""), ("MethodImFunc", "im_func"), ("MethodImSelf", "im_self")]),
    ("PyCFunctionObject", "Include/cpython/methodobject.h", [
        ("CFunctionSize", ""), ("CFunctionMMl", "m_ml"), ("CFunctionMSelf", "m_self")]),
    ("PyCellObject", "Include/cpython/cellobject.h", [("CellSize", ""), ("CellObRef", "ob_ref")]),
    ("PyBaseExceptionObject", "Include/cpython/pyerrors.h", [
        ("ExceptionSize", ""), ("ExceptionArgs", "args")]),
    ("PyWeakReference", "Include/cpython/weakrefobject.h", [
        ("WeakRefSize", ""), ("WeakRefWrObject", "wr_object")]),
    ("PyCoroWrapper", "Objects/genobject.c", [("AwaitableAwaited", "cw_coroutine")]),
    ("PatternObject", "Modules/_sre/sre.h", [
        ("PatternSize", ""), ("PatternPattern", "pattern"), ("PatternFlags", "flags")]),
    ("partialobject", "Modules/_functoolsmodule.c", [
        ("PartialSize", ""), ("PartialFn", "fn"), ("PartialArgs", "args"), ("PartialKw", "kw")]),
    ("lockobject", "Modules/_threadmodule.c", [
        ("SemaphoreLockSize", ""), ("SemaphoreLockSemaphore", "lock_lock"),
        ("SemaphoreLockLocked", "locked")]),
    ("rlockobject", "Modules/_threadmodule.c", [
        ("RLockSize", ""), ("RLockLock", "rlock_lock"), ("RLockOwner", "rlock_owner"),
        ("RLockCount", "rlock_count")]),
]

MODULES = {
    "array": [
        ("arrayobject", "Modules/arraymodule.c", [
            ("ArraySize", ""), ("ArrayObItem", "ob_item"), ("ArrayObDescr", "ob_descr")]),
        ("struct arraydescr", "Modules/arraymodule.c", [("ArrayDescrTypecode", "typecode")]),
    ],
    "_datetime": [
        ("PyDateTime_Date", "Include/datetime.h", [("DateSize", ""), ("DateData", "data")]),
        ("PyDateTime_Time", "Include/datetime.h", [
            ("TimeSize", ""), ("TimeHastzinfo", "hastzinfo"), ("TimeData", "data"),
            ("TimeFold", "fold"), ("TimeTzinfo", "tzinfo")]),
        ("PyDateTime_DateTime", "Include/datetime.h", [
            ("DateTimeSize", ""), ("DateTimeHastzinfo", "hastzinfo"), ("DateTimeData", "data"),
            ("DateTimeFold", "fold"), ("DateTimeTzinfo", "tzinfo")]),
        ("PyDateTime_Delta", "Include/datetime.h", [
            ("TimeDeltaSize", ""), ("TimeDeltaDays", "days"), ("TimeDeltaSeconds", "seconds"),
            ("TimeDeltaMicroseconds", "microseconds")]),
        ("PyDateTime_TimeZone", "Modules/_datetimemodule.c", [
            ("TimeZoneSize", ""), ("TimeZoneOffset", "offset"), ("TimeZoneName", "name")]),
    ],
    "_decimal": [
        ("PyDecObject", "Modules/_decimal/_decimal.c", [
            ("DecimalSize", ""), ("DecimalFlags", "dec.flags"), ("DecimalExp", "dec.exp"),
            ("DecimalLen", "dec.len"), ("DecimalData", "dec.data")]),
    ],
    "_asyncio": [
        ("FutureObj", "Modules/_asynciomodule.c", [
            ("FutureSize", ""), ("FutureState", "fut_state"), ("FutureException", "fut_exception"),
            ("FutureResult", "fut_result"), ("FutureLoop", "fut_loop"),
            ("FutureCallback0", "fut_callback0"), ("FutureCallbacks", "fut_callbacks")]),
        ("TaskObj", "Modules/_asynciomodule.c", [
            ("TaskSize", ""), ("TaskState", "task_state"), ("TaskCoro", "task_coro"),
            ("TaskName", "task_name"), ("TaskFutWaiter", "task_fut_waiter"),
            ("TaskNumCancelsRequested", "task_num_cancels_requested")]),
    ],
    "_queue": [
        ("simplequeueobject", "Modules/_queuemodule.c", [
            ("SimpleQueueSize", ""), ("SimpleQueueLock", "lock")]),
    ],
    "_multiprocessing": [
        ("SemLockObject", "Modules/_multiprocessing/semaphore.c", [
            ("SemLockSize", ""), ("SemLockHandle", "handle"), ("SemLockLastTid", "last_tid"),
            ("SemLockCount", "count"), ("SemLockMaxvalue", "maxvalue"), ("SemLockKind", "kind")]),
    ],
}

IN_GDB = r"""
import json, gdb
def number(expression):
    return int(gdb.parse_and_eval(expression).cast(gdb.lookup_type("unsigned long")))
def value(structure, member):
    if member.startswith("="):
        return number(member[1:])
    if not member:
        return number("sizeof(%s)" % structure)
    must_exist, _, wanted = member.rpartition("=")
    if must_exist:
        number("&((%s*)0)->%s" % (structure, must_exist))
    return number("&((%s*)0)->%s" % (structure, wanted))
found = {}
for path, structures in json.load(open(JOB)):
    gdb.execute("file " + path)
    for structure, _, fields in structures:
        for field, members in fields:
            for member in members.split("|"):
                try:
                    found[field] = value(structure, member)
                    break
                except gdb.error:
                    pass
json.dump(found, open(RESULT, "w"))
"""


def ask_gdb(jobs):
    with tempfile.TemporaryDirectory() as folder:
        job, result, script = (pathlib.Path(folder, name) for name in ("job", "result", "ask.py"))
        job.write_text(json.dumps(jobs))
        script.write_text(f"JOB = {str(job)!r}\nRESULT = {str(result)!r}\n{IN_GDB}")
        subprocess.run(["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off",
                        "-x", str(script)], check=True, stdout=subprocess.DEVNULL)
        return json.loads(result.read_text())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    prefix, minor = pathlib.Path(sys.argv[1]), sys.argv[2]
    library = prefix / f"lib/libpython{minor}.so.1.0"
    header = prefix / f"include/python{minor}/patchlevel.h"
    version = re.search(r'PY_VERSION\s+"([^"]+)"', header.read_text()).group(1)
    modules = prefix / f"lib/python{minor}/lib-dynload"
    jobs = [(str(library), CORE)]
    for name, structures in MODULES.items():
        files = sorted(modules.glob(f"{name}.*.so"))
        jobs.append((str(files[0] if files else library), structures))
    found = ask_gdb(jobs)

    name = minor.replace(".", "")
    print(f"// The structures of CPython {minor}. Made by scripts/make_layout.py from the debug")
    print(f"// information of CPython {version} (x86-64, glibc); don't edit it. What a structure doesn't have is")
    print("// not listed: an offset that no structure of this version has doesn't exist for it.")
    print('#pragma once\n\n#include <array>\n\n#include "structures/debug_offsets.hpp"\n')
    print("namespace pyscope {\n")
    print(f"inline constexpr auto kStructures{name} = [] {{")
    print("  using enum Field;")
    print("  return std::to_array<BuiltInField>({")
    for _, structures in jobs:
        for structure, file, fields in structures:
            print(f"      // {structure} ({file})")
            for field, _ in fields:
                if field in found:
                    print(f"      {{{field}, {found[field]}}},")
    print("  });\n}();\n\n}  // namespace pyscope")


if __name__ == "__main__":
    main()
