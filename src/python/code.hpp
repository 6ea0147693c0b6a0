#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "pyscope/snapshot.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// The code objects of a capture, each read once. Code objects don't change while they live, and a
/// frame keeps its own alive.
class CodeTable {
 public:
  explicit CodeTable(const Reader& reader) : reader_(reader) {}

  /// Reads all of these that aren't known yet, in a few batches.
  void load(std::vector<RemoteAddr> codes);

  struct Entry {
    Code code;
    std::string error;  // why it can't be read; the rest is then meaningless
    RemoteAddr first_unit;
    std::uint64_t units = 0;
    std::int64_t first_traceable =
        0;                    // frames before this unit haven't begun to run their function
    std::uint32_t index = 0;  // into codes()
  };
  /// For an address that was loaded.
  [[nodiscard]] const Entry& at(RemoteAddr code) const { return entries_.at(code.raw()).entry; }

  struct Location {
    Position position;
    std::string error;
  };
  /// The code unit that an instruction pointer means; fails for one outside of the code.
  [[nodiscard]] static Result<std::uint64_t> unit_of(const Entry& entry, RemoteAddr instruction);
  [[nodiscard]] const Location& location(RemoteAddr code, std::uint64_t unit);

  /// All that could be read, for the model.
  [[nodiscard]] std::vector<Code> codes() const;

 private:
  struct Loaded {
    Entry entry;
    std::vector<std::byte> table;
    std::unordered_map<std::uint64_t, Location> locations;  // by code unit
  };
  [[nodiscard]] Result<Loaded> read(RemoteAddr code) const;

  const Reader& reader_;
  std::unordered_map<std::uint64_t, Loaded> entries_;  // by address
  std::vector<std::uint64_t> order_;                   // addresses of those without an error
};

}  // namespace pyscope
