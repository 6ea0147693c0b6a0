#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "memory/budgeted_memory.hpp"
#include "pyscope/snapshot.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// What tells one code object from another at the same address. Other members change while it
/// lives.
struct CodeIdentity {
  RemoteAddr type;
  std::uint64_t units = 0;  // of 16 bits
  RemoteAddr file;
  RemoteAddr name;
  RemoteAddr qualified_name;
  RemoteAddr location_table;
  std::int32_t first_line = 0;
  /// PyCodeObject.co_version: each one that an interpreter makes has the next number, so that no
  /// two are the same even if they are equal in all the rest. 0 once the 32 bits are used up.
  std::uint32_t version = 0;
  friend bool operator==(const CodeIdentity&, const CodeIdentity&) = default;

  /// How many bytes of a code object decode() needs.
  [[nodiscard]] static std::uint64_t size(const DebugOffsets& offsets);
  [[nodiscard]] static CodeIdentity decode(const DebugOffsets& offsets,
                                           std::span<const std::byte> bytes);
};

/// The code objects of a target, each read once. Code objects don't change while they live, and a
/// frame keeps its own alive; but once the frame is gone another may come to lie where one lay.
/// Code that an earlier snapshot has read is known again only after one look at what lies there.
class CodeTable {
 public:
  CodeTable(const BudgetedMemory& memory, const DebugOffsets& offsets)
      : memory_(memory), offsets_(offsets) {}

  [[nodiscard]] const DebugOffsets& offsets() const { return offsets_; }

  /// From here on codes() are those of the next snapshot.
  void begin_snapshot();

  /// Reads all of these that aren't known yet, or couldn't be read, in a few batches.
  void load(std::vector<RemoteAddr> codes);
  /// Reads these although they are known: others lie there now.
  void reload(const std::unordered_set<std::uint64_t>& codes);

  /// True for one that was loaded for this snapshot, and read.
  [[nodiscard]] bool knows(RemoteAddr code) const;
  /// What a known one was when it was loaded.
  [[nodiscard]] const CodeIdentity& identity(RemoteAddr code) const {
    return loaded(code).identity;
  }
  /// Those of these known code objects that are other ones by now.
  [[nodiscard]] std::unordered_set<std::uint64_t> replaced(
      const std::vector<RemoteAddr>& codes) const;

  struct Entry {
    Code code;
    std::string error;  // why it can't be read; the rest is then meaningless
    std::uint64_t units = 0;
    std::int64_t first_traceable =
        0;                    // frames before this unit haven't begun to run their function
    std::uint32_t index = 0;  // into codes()
  };
  /// For an address that was loaded, even if it couldn't be read.
  [[nodiscard]] const Entry& at(RemoteAddr code) const { return loaded(code).entry; }

  struct Location {
    Position position;
    std::string error;
  };
  /// Valid until the next call. Has an error while too many bytes of tables would be searched: each
  /// place that is asked for takes a search from the beginning of a table.
  [[nodiscard]] const Location& location(RemoteAddr code, std::uint64_t unit);

  /// What the names and tables that are kept may hold together.
  // Bound (bytes): names and tables of code objects that are kept
  static constexpr std::uint64_t kMostText = std::uint64_t{32} << 20U;
  /// How many bytes of location tables may be searched at once, and in each further snapshot.
  // Bound (bytes): location tables that are searched at once
  static constexpr std::uint64_t kMostSearched = std::uint64_t{64} << 20U;
  static constexpr std::uint64_t kSearchedInNext = std::uint64_t{4} << 20U;

  /// Those of this snapshot that could be read, for the model.
  [[nodiscard]] std::vector<Code> codes() const;

 private:
  struct Loaded {
    Entry entry;
    CodeIdentity identity;
    std::vector<std::byte> table;
    tsl::robin_map<std::uint64_t, Location> locations;  // by code unit
    std::uint64_t snapshot = 0;                         // the last one that it was loaded for
  };
  /// Puts what an earlier snapshot knew of these, where it is still there, into this one.
  void confirm(const std::vector<RemoteAddr>& codes);
  void add(Loaded& loaded, std::size_t place);
  [[nodiscard]] const Loaded& loaded(RemoteAddr code) const {
    return loaded_[entries_.at(code.raw())];
  }
  /// Strings that were read, by address: many code objects share the name of their file.
  using Strings = std::unordered_map<std::uint64_t, Result<std::string>>;
  [[nodiscard]] static Result<Loaded> read(const Reader& reader, RemoteAddr code, Strings& strings);

  const BudgetedMemory& memory_;
  const DebugOffsets& offsets_;
  TextBudget budget_{kMostText};
  std::uint64_t search_left_ = kMostSearched;
  Location not_searched_;
  tsl::robin_map<std::uint64_t, std::size_t> entries_;  // by address, into loaded_
  std::deque<Loaded> loaded_;
  std::vector<std::size_t> order_;  // into loaded_, of those without an error in this snapshot
  std::uint64_t snapshot_ = 0;
};

}  // namespace pyscope
