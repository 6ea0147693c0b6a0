#include "structures/debug_offsets.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

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
});
static_assert(kFieldSpecs.size() == static_cast<std::size_t>(Field::Count));
static_assert([] {
  for (std::size_t i = 0; i < kFieldSpecs.size(); ++i) {
    if (static_cast<std::size_t>(kFieldSpecs[i].field) != i) return false;
  }
  return true;
}());

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

Result<void> validate(const DebugOffsets& offsets) {
  const PythonVersion& version = offsets.version();
  const auto size_of = [&](Group group) -> std::uint64_t {
    for (const FieldSpec& spec : kFieldSpecs) {
      if (spec.group == group && spec.role == Role::Size) return offsets[spec.field];
    }
    return 0;
  };
  for (const Field field : offsets.layout().fields) {
    const FieldSpec& spec = spec_of(field);
    const std::uint64_t value = offsets[field];
    const std::uint64_t limit = kMaxStructure[static_cast<std::size_t>(spec.group)];
    if (spec.role == Role::Size && (value == 0 || value > limit)) {
      return bad_table(version, fmt::format("{} is {}", spec.name, value));
    }
    if (spec.role == Role::Length && value > limit) {
      return bad_table(version, fmt::format("{} is {}", spec.name, value));
    }
    if (spec.role != Role::Offset) continue;
    const std::uint64_t structure = size_of(spec.group) != 0 ? size_of(spec.group) : limit;
    if (value % spec.width != 0 || value > structure || structure - value < spec.width) {
      return bad_table(version, fmt::format("{} is {}, outside of its structure of {} bytes or not "
                                            "aligned to {}",
                                            spec.name, value, structure, spec.width));
    }
  }
  const std::uint64_t object_size = version.free_threaded ? 32 : 16;
  if (offsets[Field::ObjectSize] != object_size ||
      offsets[Field::ObjectObType] != object_size - 8) {
    return bad_table(version,
                     fmt::format("an object header of {} bytes with the type at {}",
                                 offsets[Field::ObjectSize], offsets[Field::ObjectObType]));
  }
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

const PythonLayout* find_layout(std::uint8_t minor) {
  const auto found =
      std::find_if(kLayouts.begin(), kLayouts.end(),
                   [&](const PythonLayout* layout) { return layout->minor == minor; });
  return found == kLayouts.end() ? nullptr : *found;
}

std::string supported_versions() {
  std::string text;
  for (std::size_t i = 0; i < kLayouts.size(); ++i) {
    if (i != 0) text += i + 1 == kLayouts.size() ? " and " : ", ";
    text += fmt::format("3.{}", kLayouts[i]->minor);
  }
  return text;
}

bool DebugOffsets::publishes(Field field) const {
  return std::find(layout_->fields.begin(), layout_->fields.end(), field) != layout_->fields.end();
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
  DebugOffsets offsets;
  offsets.version_ = version;
  offsets.layout_ = find_layout(version.minor);
  if (offsets.layout_ == nullptr) {
    return fail(
        ErrorKind::Unsupported,
        fmt::format("this is CPython {}, whose structures pyscope does not know: it knows {}",
                    version.text(), supported_versions()),
        "use a newer pyscope, if there is one");
  }
  // The table is fixed only from the first final release on; alphas and betas had others.
  if (version.level != 0xF && version.level != 0xC) {
    return fail(
        ErrorKind::Unsupported,
        fmt::format("this is CPython {}, a pre-release, whose structures may be those of no "
                    "other version",
                    version.text()),
        fmt::format("run the service on a final release of 3.{}", version.minor));
  }
  if (version.free_threaded) {
    return fail(
        ErrorKind::Unsupported,
        fmt::format("this is a free-threaded build of CPython {}, which pyscope cannot read yet",
                    version.text()),
        "run the service on a build with a GIL");
  }
  const auto fields = offsets.layout_->fields;
  if (bytes.size() < kHeaderSize + 8 * fields.size()) {
    return bad_table(version, fmt::format("it ends after {} bytes", bytes.size()));
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    offsets.values_[static_cast<std::size_t>(fields[i])] = word_at(bytes, kHeaderSize + 8 * i);
  }
  if (auto valid = validate(offsets); !valid) return fail(std::move(valid).error());
  return offsets;
}

}  // namespace pyscope
