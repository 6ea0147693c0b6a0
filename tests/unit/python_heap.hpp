// A tiny CPython heap in a PagedMemory, built object by object: just what a dump looks at.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frames/walker.hpp"
#include "memory/page_cache.hpp"
#include "paged_memory.hpp"
#include "pyscope/address.hpp"
#include "python/reader.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope::test {

/// A reader with a cache of its own, which sees the memory as it is when it is first read.
struct FreshReader {
  FreshReader(const BudgetedMemory& memory, const DebugOffsets& offsets)
      : cache(memory), reader(cache, offsets) {}
  FreshReader(const FreshReader&) = delete;  // the reader refers to the cache
  FreshReader& operator=(const FreshReader&) = delete;
  PageCache cache;
  Reader reader;
};

struct DictEntry {
  RemoteAddr key{};
  RemoteAddr value{};  // null: deleted
};

struct CodeSpec {
  std::string name = "work";
  std::string qualified_name = "Worker.work";
  std::string file = "/srv/app/worker.py";
  std::int32_t first_line = 10;
  std::uint64_t units = 20;
  std::int32_t first_traceable = 0;
  std::vector<std::uint8_t> table = {};  // co_linetable; empty: first_line for all units
};

struct FrameSpec {
  RemoteAddr code{};
  RemoteAddr previous{};
  std::uint64_t unit = 1;
  std::uint8_t owner = kOwnedByThread;
  std::uint64_t local0 = 0;
  std::uint64_t local1 = 0;
};

struct ThreadSpec {
  std::uint64_t native_id = 0;
  std::uint64_t ident = 0;
  RemoteAddr current_frame{};
  RemoteAddr chunk{};
};

class PythonHeap {
 public:
  explicit PythonHeap(int minor);

  [[nodiscard]] const DebugOffsets& offsets() const { return offsets_; }
  [[nodiscard]] const PythonLayout& layout() const { return offsets_.layout(); }
  [[nodiscard]] FreshReader reader() const { return {memory, offsets_}; }

  /// Memory for a structure, all zeros.
  RemoteAddr allocate(std::uint64_t size);
  /// What is allocated next begins a page, and the page before that one is missing.
  void start_new_page();

  /// Writes to the member that a field of the offsets table means.
  template <class T>
  void set(RemoteAddr base, Field field, const T& value) {
    memory.put(base + offsets_[field], value);
  }
  void set(RemoteAddr base, Field field, RemoteAddr value) { set(base, field, value.raw()); }
  void put(RemoteAddr base, std::uint64_t offset, RemoteAddr value) {
    memory.put(base + offset, value.raw());
  }

  RemoteAddr object(RemoteAddr type, std::uint64_t size);
  RemoteAddr type(std::string_view name, std::uint64_t flags, std::uint64_t basic_size = 16);
  /// A compact str of the narrowest kind; `str_kind` makes it wider.
  RemoteAddr str(std::u32string_view text, unsigned str_kind = 0);
  RemoteAddr str(std::string_view ascii);
  RemoteAddr bytes(std::span<const std::uint8_t> content);
  RemoteAddr integer(std::uint64_t value);

  /// The kinds of dict keys.
  enum KeysKind : std::uint8_t { kGeneral = 0, kUnicode = 1, kSplit = 2 };
  RemoteAddr dict_keys(KeysKind kind, const std::vector<DictEntry>& entries);
  RemoteAddr dict(KeysKind kind, const std::vector<DictEntry>& entries);
  /// Values that lie apart from their keys, as an object refers to them; `valid` for those within
  /// an instance.
  void put_values(RemoteAddr at, const std::vector<RemoteAddr>& values, bool valid);
  RemoteAddr split_dict(RemoteAddr keys, const std::vector<RemoteAddr>& values);

  /// An instance of a class without slots: its attributes within it.
  RemoteAddr instance(RemoteAddr type, const std::vector<RemoteAddr>& values);
  RemoteAddr class_with_keys(std::string_view name, const std::vector<RemoteAddr>& keys);
  /// The pointer to its dict that lies before an instance.
  void set_managed_dict(RemoteAddr instance, RemoteAddr dict);
  RemoteAddr module(const std::vector<DictEntry>& names);

  RemoteAddr code(const CodeSpec& spec = {});
  [[nodiscard]] RemoteAddr first_unit(RemoteAddr code) const;
  void put_frame(RemoteAddr at, const FrameSpec& spec);
  RemoteAddr frame(const FrameSpec& spec);
  /// An entry from C code: nothing but its owner and its caller means anything.
  void put_entry_frame(RemoteAddr at, RemoteAddr previous);
  RemoteAddr entry_frame(RemoteAddr previous = {});
  /// A data stack chunk; its frames follow its header.
  RemoteAddr chunk(std::uint64_t size, RemoteAddr previous);

  /// Puts it in front of the list of the runtime, as CPython does.
  RemoteAddr interpreter(std::int64_t id);
  RemoteAddr thread(RemoteAddr interpreter, const ThreadSpec& spec);
  /// A thread with this stack, innermost function first, that began in an entry from C.
  RemoteAddr thread(RemoteAddr interpreter, ThreadSpec spec, const std::vector<RemoteAddr>& codes);
  /// Makes a thread the holder of its interpreter's GIL, or nobody for null.
  void hold_gil(RemoteAddr interpreter, RemoteAddr thread);
  /// sys.modules with a module threading that knows these threads by name.
  void name_threads(RemoteAddr interpreter,
                    const std::vector<std::pair<std::uint64_t, std::string>>& names);

  PagedMemory memory;
  RemoteAddr runtime;
  RemoteAddr str_type;
  RemoteAddr bytes_type;
  RemoteAddr int_type;
  RemoteAddr dict_type;
  RemoteAddr module_type;
  RemoteAddr code_type;

 private:
  DebugOffsets offsets_;
  RemoteAddr next_{0x7f0000001000};
};

}  // namespace pyscope::test
