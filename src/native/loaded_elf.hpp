// What the memory of a process holds of a file that is mapped: its program headers, its build-id
// and its dynamic symbols, which the loader needs and which are therefore always there.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "elf/symbol_table.hpp"
#include "pyscope/address.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

class LoadedElf {
 public:
  /// `begin` is where the beginning of the file is mapped. Empty if there is no ELF file there.
  [[nodiscard]] static std::optional<LoadedElf> read(const Memory& memory, RemoteAddr begin);

  [[nodiscard]] const std::vector<Elf64_Phdr>& segments() const { return segments_; }
  [[nodiscard]] std::vector<std::byte> build_id() const;
  /// `budget` is as for read_symbol_table. The memory must stay as long as this is used.
  [[nodiscard]] SymbolTable dynamic_symbols(std::uint64_t& budget) const;

 private:
  LoadedElf(const Memory& memory, std::vector<Elf64_Phdr> segments, std::uint64_t bias)
      : memory_(&memory), segments_(std::move(segments)), bias_(bias) {}

  [[nodiscard]] std::uint64_t symbols_by_gnu_hash(RemoteAddr table) const;

  const Memory* memory_;
  std::vector<Elf64_Phdr> segments_;
  std::uint64_t bias_ = 0;  // what is added to the addresses in the file; may wrap around
};

}  // namespace pyscope
