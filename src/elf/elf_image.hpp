// The parts of an ELF file by which an interpreter is found in it, as plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/error.hpp"

namespace pyscope {

/// A PT_LOAD program header. Addresses are those in the file, before the load bias.
struct ElfSegment {
  std::uint64_t address = 0;
  std::uint64_t file_offset = 0;
  std::uint64_t file_size = 0;
  bool writable = false;
};

struct ElfSection {
  std::string name;
  std::uint64_t address = 0;
  std::uint64_t size = 0;
};

struct ElfImage {
  bool position_independent = false;  // ET_DYN: a PIE or a shared library
  std::uint16_t machine = 0;          // e_machine
  std::vector<ElfSegment> segments;
  std::vector<ElfSection> sections;  // those that are loaded; empty where the headers were stripped

  [[nodiscard]] const ElfSection* section(std::string_view name) const;
};

/// Fails with Unsupported for what isn't a 64-bit little-endian ELF file, and says what it is
/// instead.
[[nodiscard]] Result<ElfImage> read_elf(int fd);

/// The same from the first bytes of the image in memory, where there are no section headers.
[[nodiscard]] Result<ElfImage> read_elf_head(std::span<const std::byte> head);

/// The address of a symbol in .dynsym.
[[nodiscard]] std::optional<std::uint64_t> find_dynamic_symbol(int fd, std::string_view name);

}  // namespace pyscope
