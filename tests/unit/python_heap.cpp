#include "python_heap.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "published_offsets.hpp"

namespace pyscope::test {
namespace {

constexpr std::uint64_t kObSize = 16;  // PyVarObject.ob_size
constexpr std::uint8_t kGarbage = 0xA5;

// Bits of tp_flags.
constexpr std::uint64_t kInlineValues = 1U << 2U;
constexpr std::uint64_t kManagedDict = 1U << 4U;

// Half of an interpreter's structure is never looked at.
constexpr std::uint64_t kInterpreterSize = 8192;

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) / to * to;
}

DebugOffsets decode_published(int minor) {
  return DebugOffsets::decode(PublishedTable(minor).bytes).value();
}

// As the entry of a location table for up to eight units at a line so far from the last one.
void append_line(std::vector<std::uint8_t>& table, std::uint64_t units) {
  constexpr std::uint8_t kNoColumns = 0x80 | 13 << 3;
  table.push_back(static_cast<std::uint8_t>(kNoColumns | (units - 1)));
  table.push_back(0);
}

}  // namespace

PythonHeap::PythonHeap(int minor) : offsets_(decode_published(minor)) {
  runtime = allocate(DebugOffsets::kMaxSize + 256);
  memory.write(runtime, PublishedTable(minor).bytes);
  // The bits of tp_flags for the subclasses of the built-in types.
  int_type = type("int", 1U << 24U);
  bytes_type = type("bytes", 1U << 27U);
  str_type = type("str", 1U << 28U);
  dict_type = type("dict", 1U << 29U);
  module_type = type("module", 0);
  code_type = type("code", 0);
}

RemoteAddr PythonHeap::allocate(std::uint64_t size) {
  const RemoteAddr at = next_;
  memory.map(at, size);
  next_ = RemoteAddr{round_up(at.raw() + size, 16)};
  return at;
}

void PythonHeap::start_new_page() {
  next_ = RemoteAddr{round_up(next_.raw(), PagedMemory::kPageSize) + PagedMemory::kPageSize};
}

RemoteAddr PythonHeap::object(RemoteAddr type, std::uint64_t size) {
  const RemoteAddr at = allocate(size);
  set(at, Field::ObjectObType, type);
  return at;
}

RemoteAddr PythonHeap::type(std::string_view name, std::uint64_t flags, std::uint64_t basic_size) {
  const RemoteAddr text = allocate(name.size() + 1);
  memory.write(text, std::as_bytes(std::span{name}));
  const RemoteAddr at = allocate(offsets_[Field::HeapTypeHtCachedKeys] + 8);
  set(at, Field::TypeTpName, text);
  set(at, Field::TypeTpFlags, flags);
  set(at, Field::TypeTpBasicsize, basic_size);
  return at;
}

RemoteAddr PythonHeap::str(std::u32string_view text, unsigned str_kind) {
  const char32_t widest = text.empty() ? 0 : *std::max_element(text.begin(), text.end());
  const bool ascii = widest < 0x80 && str_kind == 0;
  const unsigned narrowest = widest < 0x100 ? 1 : widest < 0x10000 ? 2 : 4;
  const unsigned width = std::max(narrowest, str_kind);
  const std::uint64_t header = ascii ? 40 : 56;
  const RemoteAddr at = object(str_type, header + (text.size() + 1) * width);
  set(at, Field::UnicodeLength, std::uint64_t{text.size()});
  constexpr std::uint32_t kCompact = 1U << 5U;
  set(at, Field::UnicodeState, kCompact | width << 2U | (ascii ? 1U << 6U : 0U));
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<std::uint32_t>(text[i]);
    memory.write(at + header + i * width, std::as_bytes(std::span{&c, 1}).first(width));
  }
  return at;
}

RemoteAddr PythonHeap::str(std::string_view ascii) {
  return str(std::u32string(ascii.begin(), ascii.end()));
}

RemoteAddr PythonHeap::bytes(std::span<const std::uint8_t> content) {
  const RemoteAddr at = object(bytes_type, 33 + content.size());
  set(at, Field::BytesObSize, std::uint64_t{content.size()});
  memory.write(at + 32, std::as_bytes(content));
  return at;
}

RemoteAddr PythonHeap::integer(std::uint64_t value) {
  const RemoteAddr at = object(int_type, 24 + 12);
  std::uint64_t digits = 0;
  for (std::uint64_t rest = value; rest != 0; rest >>= 30U) {
    constexpr std::uint64_t kDigit = (1U << 30U) - 1;
    memory.put(at + 24 + 4 * digits, static_cast<std::uint32_t>(rest & kDigit));
    ++digits;
  }
  set(at, Field::LongLvTag, digits << 3U | (value == 0 ? 1U : 0U));
  return at;
}

RemoteAddr PythonHeap::dict_keys(KeysKind kind, const std::vector<DictEntry>& entries) {
  // A third of the slots stays free.
  const auto log2_size =
      static_cast<std::uint8_t>(std::max<std::size_t>(3, std::bit_width(entries.size() * 3 / 2)));
  const auto log2_index_bytes = static_cast<std::uint8_t>(log2_size + (log2_size > 7 ? 1 : 0));
  const std::uint64_t header = 32 + (std::uint64_t{1} << log2_index_bytes);
  const std::uint64_t entry_size = kind == kGeneral ? 24 : 16;
  const RemoteAddr at = allocate(header + entries.size() * entry_size);
  memory.put(at + 8, log2_size);
  memory.put(at + 9, log2_index_bytes);
  memory.put(at + 10, kind);
  memory.put(at + 24, std::uint64_t{entries.size()});
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const RemoteAddr key = at + header + i * entry_size + (kind == kGeneral ? 8 : 0);
    put(key, 0, entries[i].key);
    put(key, 8, entries[i].value);
  }
  return at;
}

RemoteAddr PythonHeap::dict(KeysKind kind, const std::vector<DictEntry>& entries) {
  const RemoteAddr keys = dict_keys(kind, entries);
  const RemoteAddr at = object(dict_type, 48);
  set(at, Field::DictMaKeys, keys);
  return at;
}

void PythonHeap::put_values(RemoteAddr at, const std::vector<RemoteAddr>& values, bool valid) {
  memory.put(at, static_cast<std::uint8_t>(values.size()));
  memory.put(at + 3, static_cast<std::uint8_t>(valid ? 1 : 0));
  for (std::size_t i = 0; i < values.size(); ++i)
    put(at, 8 + i * 8, values[i]);
}

RemoteAddr PythonHeap::split_dict(RemoteAddr keys, const std::vector<RemoteAddr>& values) {
  const RemoteAddr values_at = allocate(8 + values.size() * 8);
  put_values(values_at, values, false);
  const RemoteAddr at = object(dict_type, 48);
  set(at, Field::DictMaKeys, keys);
  set(at, Field::DictMaValues, values_at);
  return at;
}

RemoteAddr PythonHeap::class_with_keys(std::string_view name, const std::vector<RemoteAddr>& keys) {
  const RemoteAddr at = type(name, kInlineValues | kManagedDict);
  std::vector<DictEntry> entries;
  for (const RemoteAddr key : keys)
    entries.push_back({key, RemoteAddr{}});
  set(at, Field::HeapTypeHtCachedKeys, dict_keys(kSplit, entries));
  return at;
}

RemoteAddr PythonHeap::instance(RemoteAddr type, const std::vector<RemoteAddr>& values) {
  constexpr std::uint64_t kBefore = 32;  // the garbage collector's words and the managed dict
  constexpr std::uint64_t kBasicSize = 16;
  const RemoteAddr at = allocate(kBefore + kBasicSize + 8 + values.size() * 8) + kBefore;
  set(at, Field::ObjectObType, type);
  put_values(at + kBasicSize, values, true);
  return at;
}

void PythonHeap::set_managed_dict(RemoteAddr instance, RemoteAddr dict) {
  memory.put(RemoteAddr{instance.raw() - 24}, dict.raw());
}

RemoteAddr PythonHeap::module(const std::vector<DictEntry>& names) {
  const RemoteAddr at = object(module_type, 32);
  put(at, 16, dict(kUnicode, names));
  return at;
}

RemoteAddr PythonHeap::code(const CodeSpec& spec) {
  std::vector<std::uint8_t> table = spec.table;
  for (std::uint64_t done = 0; spec.table.empty() && done < spec.units; done += 8) {
    append_line(table, std::min<std::uint64_t>(8, spec.units - done));
  }
  const RemoteAddr name = str(spec.name);
  const RemoteAddr qualified_name = str(spec.qualified_name);
  const RemoteAddr file = str(spec.file);
  const RemoteAddr linetable = bytes(table);
  const RemoteAddr at = object(code_type, offsets_[Field::CodeCoCodeAdaptive] + 8 + 2 * spec.units);
  memory.put(at + kObSize, spec.units);
  set(at, Field::CodeName, name);
  set(at, Field::CodeQualname, qualified_name);
  set(at, Field::CodeFilename, file);
  set(at, Field::CodeLinetable, linetable);
  set(at, Field::CodeFirstlineno, spec.first_line);
  set(at, Field::CodeFirsttraceable, spec.first_traceable);
  return at;
}

RemoteAddr PythonHeap::first_unit(RemoteAddr code) const {
  return code + offsets_[Field::CodeCoCodeAdaptive];
}

void PythonHeap::put_frame(RemoteAddr at, const FrameSpec& spec) {
  // Since 3.14 with the tag of a reference that isn't counted.
  const std::uint64_t tag = layout().tagged_references ? 1 : 0;
  set(at, Field::FrameExecutable, spec.code.raw() | tag);
  set(at, Field::FramePrevious, spec.previous);
  set(at, Field::FrameInstrPtr, first_unit(spec.code) + 2 * spec.unit);
  set(at, Field::FrameOwner, spec.owner);
  set(at, Field::FrameLocalsplus, spec.local0);
  memory.put(at + offsets_[Field::FrameLocalsplus] + 8, spec.local1);
}

RemoteAddr PythonHeap::frame(const FrameSpec& spec) {
  const RemoteAddr at = allocate(offsets_[Field::FrameSize] + 48);
  put_frame(at, spec);
  return at;
}

void PythonHeap::put_entry_frame(RemoteAddr at, RemoteAddr previous) {
  for (std::uint64_t i = 0; i < offsets_[Field::FrameSize]; ++i)
    memory.put(at + i, kGarbage);
  set(at, Field::FramePrevious, previous);
  set(at, Field::FrameOwner, std::uint8_t{kFirstEntryOwner});
}

RemoteAddr PythonHeap::entry_frame(RemoteAddr previous) {
  const RemoteAddr at = allocate(offsets_[Field::FrameSize] + 8);
  put_entry_frame(at, previous);
  return at;
}

RemoteAddr PythonHeap::chunk(std::uint64_t size, RemoteAddr previous) {
  start_new_page();
  const RemoteAddr at = allocate(size);
  put(at, 0, previous);
  memory.put(at + 8, size);
  return at;
}

RemoteAddr PythonHeap::interpreter(std::int64_t id) {
  const RemoteAddr at = allocate(kInterpreterSize);
  std::uint64_t head = 0;
  ReadRequest request{runtime + offsets_[Field::RuntimeInterpretersHead],
                      std::as_writable_bytes(std::span{&head, 1})};
  memory.read_many({&request, 1});
  set(at, Field::InterpreterNext, head);
  set(at, Field::InterpreterId, id);
  set(at, Field::InterpreterCevalGil, at + offsets_[Field::InterpreterGil]);
  set(runtime, Field::RuntimeInterpretersHead, at);
  return at;
}

RemoteAddr PythonHeap::thread(RemoteAddr interpreter, const ThreadSpec& spec) {
  const RemoteAddr at = allocate(offsets_[Field::ThreadSize]);
  const auto head =
      read_as<std::uint64_t>(memory, interpreter, offsets_[Field::InterpreterThreadsHead]);
  set(at, Field::ThreadNext, head.value());
  set(at, Field::ThreadInterp, interpreter);
  set(at, Field::ThreadStatus, layout().status.initialized);
  set(at, Field::ThreadNativeThreadId, spec.native_id);
  set(at, Field::ThreadThreadId, spec.ident);
  set(at, Field::ThreadCurrentFrame, spec.current_frame);
  set(at, Field::ThreadDatastackChunk, spec.chunk);
  set(interpreter, Field::InterpreterThreadsHead, at);
  return at;
}

RemoteAddr PythonHeap::thread(RemoteAddr interpreter, ThreadSpec spec,
                              const std::vector<RemoteAddr>& codes) {
  // 3.15 keeps the last frame of a stack within the thread state's private part.
  RemoteAddr last = entry_frame();
  const RemoteAddr base = last;
  if (offsets_.has(Field::ThreadBaseFrame)) last = entry_frame(base);
  for (auto code = codes.rbegin(); code != codes.rend(); ++code) {
    last = frame({.code = *code, .previous = last, .local0 = last.raw()});
  }
  spec.current_frame = last;
  const RemoteAddr at = thread(interpreter, spec);
  if (offsets_.has(Field::ThreadBaseFrame)) set(at, Field::ThreadBaseFrame, base);
  return at;
}

void PythonHeap::hold_gil(RemoteAddr interpreter, RemoteAddr thread) {
  set(interpreter, Field::InterpreterGilLocked, thread ? 1 : 0);
  if (thread) set(interpreter, Field::InterpreterGilHolder, thread);
}

void PythonHeap::name_threads(RemoteAddr interpreter,
                              const std::vector<std::pair<std::uint64_t, std::string>>& names) {
  const RemoteAddr name_key = str("_name");
  const RemoteAddr thread_class = class_with_keys("Thread", {str("_target"), name_key});
  std::vector<DictEntry> active;
  for (const auto& [ident, name] : names) {
    const RemoteAddr thread = instance(thread_class, {RemoteAddr{}, str(name)});
    active.push_back({integer(ident), thread});
  }
  const RemoteAddr threading =
      module({{str("current_thread"), str("no thread")}, {str("_active"), dict(kGeneral, active)}});
  const RemoteAddr modules =
      dict(kUnicode, {{str("sys"), module({})}, {str("threading"), threading}});
  set(interpreter, Field::InterpreterImportsModules, modules);
}

}  // namespace pyscope::test
