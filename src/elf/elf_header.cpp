#include "elf/elf_header.hpp"

#include <fmt/core.h>

#include <cstring>

namespace pyscope {
namespace {

// Far above any real file. Memory for a file's tables is allocated by these numbers.
// Bound: segments of an ELF file
constexpr std::size_t kMaxSegments = 1024;
// Bound: sections of an ELF file
constexpr std::size_t kMaxSections = 16384;

}  // namespace

Result<Elf64_Ehdr> check_elf_header(std::span<const std::byte> bytes, ElfTypes types) {
  Elf64_Ehdr header{};
  if (bytes.size() < sizeof header || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) {
    return fail(ErrorKind::Unsupported, "not an ELF file");
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64) {
    return fail(ErrorKind::Unsupported, "a 32-bit program");
  }
  if (header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return fail(ErrorKind::Unsupported, "a big-endian program");
  }
  const bool linked = header.e_type == ET_EXEC || header.e_type == ET_DYN;
  if (!linked && !(types == ElfTypes::Any && header.e_type == ET_REL)) {
    return fail(ErrorKind::Unsupported, "not an executable or a shared library");
  }
  if (header.e_phnum > kMaxSegments || header.e_shnum > kMaxSections) {
    return fail(ErrorKind::Unsupported, fmt::format("an ELF file with {} segments and {} sections",
                                                    header.e_phnum, header.e_shnum));
  }
  return header;
}

bool has_sections(const Elf64_Ehdr& header) {
  return header.e_shoff != 0 && header.e_shnum != 0 && header.e_shentsize == sizeof(Elf64_Shdr) &&
         header.e_shstrndx < header.e_shnum;
}

}  // namespace pyscope
