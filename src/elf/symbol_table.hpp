// The functions of a symbol table, by address.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elf/elf_file.hpp"

namespace pyscope {

struct FoundSymbol {
  std::string name;  // as it stands there, but for a version ("@GLIBC_2.2.5")
  std::uint64_t address = 0;
};

class SymbolTable {
 public:
  /// Gives the string at an offset of the table's strings; empty if there is none.
  using Names = std::function<std::string(std::uint64_t offset)>;
  /// The sections bound the functions: only a function in a section with code may lack a size.
  using Sections = std::span<const ElfSectionHeader>;

  SymbolTable() = default;
  /// `symbols` are Elf64_Sym in a row. Without `sections`, a function counts only by its size.
  SymbolTable(std::span<const std::byte> symbols, Names names, Sections sections);

  [[nodiscard]] bool empty() const { return functions_.empty(); }
  [[nodiscard]] std::size_t size() const { return functions_.size(); }

  /// The function that an address lies in: the innermost where they are nested. Of several names
  /// for one, a global or weak one comes before a local one, then the one with fewer underscores in
  /// front, then the shorter, then the one that comes first in the alphabet. Empty if the address
  /// is in none.
  [[nodiscard]] std::optional<FoundSymbol> find(std::uint64_t address) const;

 private:
  struct Function {
    std::uint64_t address = 0;
    std::uint64_t end = 0;
    std::uint32_t name = 0;
    bool local = false;
    bool without_size = false;
  };

  std::vector<Function> functions_;  // by address
  std::vector<std::uint64_t> ends_;  // the last end of this function and all before it
  Names names_;
};

/// The address of a variable, by its name in the table of a type. Empty if it isn't there, or if
/// the table's strings are more than what is left of `budget`, bytes which they are taken off.
[[nodiscard]] std::optional<std::uint64_t> find_variable(const ElfFile& file, std::uint32_t type,
                                                         std::string_view name,
                                                         std::uint64_t& budget);

/// The table of a type (SHT_SYMTAB, SHT_DYNSYM) of a file, which must stay as long as it is used.
/// Empty if there is none, if it makes no sense, or if it is larger than what is left of `budget`,
/// bytes which it is taken off.
[[nodiscard]] SymbolTable read_symbol_table(const ElfFile& file, std::uint32_t type,
                                            std::uint64_t& budget);

}  // namespace pyscope
