// Finds the line of source for an address, by DWARF (versions 2 to 5). A unit is found by the
// ranges of its root entry, and only that unit's line table is read. All work is bounded. No other
// file is opened; libdw would open files by names that it finds in this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elf/dwarf.hpp"
#include "elf/elf_file.hpp"

namespace pyscope {

struct SourcePosition {
  std::string file;
  int line = 0;
};

class DebugLines {
 public:
  /// `file` and `budget` must outlive this object.
  DebugLines(const ElfFile& file, DebugBudget& budget);
  ~DebugLines();
  DebugLines(DebugLines&&) noexcept;
  DebugLines& operator=(DebugLines&&) = delete;

  /// Whether the file has any debug information of lines.
  [[nodiscard]] static bool are_in(const ElfFile& file);

  /// The line that the instruction at an address belongs to: where the code was written, even if
  /// the code was inlined into another function. Empty if the line isn't known.
  [[nodiscard]] std::optional<SourcePosition> find(std::uint64_t address);

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace pyscope
