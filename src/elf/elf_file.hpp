// The headers and contents of an ELF file, in a file or in memory of our own. The file may be
// anything: it belongs to the target. Sections are copied whole, by reads with a bound that the
// file has no say in, and decompressed within one. Never mapped, since a mapped file that its owner
// truncates would kill us with SIGBUS.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elf/elf_header.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

struct ElfSectionHeader {
  std::string name;
  std::uint32_t type = 0;
  std::uint64_t flags = 0;
  std::uint64_t address = 0;
  std::uint64_t offset = 0;  // in the file
  std::uint64_t size = 0;
  std::uint32_t link = 0;
};

class ElfFile {
 public:
  /// `fd` must stay open as long as this is used. Fails with Unsupported for what isn't a 64-bit
  /// little-endian executable or library.
  [[nodiscard]] static Result<ElfFile> open(int fd);
  [[nodiscard]] static Result<ElfFile> open(std::vector<std::byte> bytes,
                                            ElfTypes types = ElfTypes::Linked);

  [[nodiscard]] const Elf64_Ehdr& header() const { return header_; }
  [[nodiscard]] const std::vector<Elf64_Phdr>& segments() const { return segments_; }
  /// In the order of their indices; empty where there are no headers that make sense.
  [[nodiscard]] const std::vector<ElfSectionHeader>& sections() const { return sections_; }
  [[nodiscard]] const ElfSectionHeader* section(std::string_view name) const;
  [[nodiscard]] const ElfSectionHeader* section_of_type(std::uint32_t type) const;

  /// Fills all of `out`; false if the file has fewer bytes there.
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) const;
  /// The bytes from `offset` on, at most `limit` of them.
  [[nodiscard]] std::vector<std::byte> read_up_to(std::uint64_t offset, std::size_t limit) const;
  /// A section's content, decompressed where the file has it compressed. Empty if the file doesn't
  /// hold it, if it makes no sense, or if it is larger than `limit`.
  [[nodiscard]] std::vector<std::byte> contents(const ElfSectionHeader& section,
                                                std::uint64_t limit) const;

  /// The address, as the file's headers count, for an offset in the file: in the segment that is
  /// loaded from there, or in one with code if several are.
  [[nodiscard]] std::optional<std::uint64_t> address_of(std::uint64_t offset) const;

  /// The build-id, by which the linker tells one build from another; empty if the file has none.
  [[nodiscard]] std::vector<std::byte> build_id() const;

 private:
  ElfFile() = default;
  [[nodiscard]] Result<void> read_headers(ElfTypes types);

  int fd_ = -1;
  std::vector<std::byte> bytes_;  // in place of a descriptor
  std::uint64_t size_ = 0;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
  std::vector<ElfSectionHeader> sections_;
};

/// The string that begins at an offset in a table of strings. Empty if the offset lies behind the
/// table; cut if the table ends first.
[[nodiscard]] std::string_view string_in(std::span<const std::byte> strings, std::uint64_t offset);

/// The descriptor of the note NT_GNU_BUILD_ID; empty if it isn't among these notes.
[[nodiscard]] std::vector<std::byte> build_id_in(std::span<const std::byte> notes);

}  // namespace pyscope
