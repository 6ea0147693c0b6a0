// Checks the header of an ELF file before anything else in the file is believed.
#pragma once

#include <elf.h>

#include <cstddef>
#include <span>

#include "pyscope/error.hpp"

namespace pyscope {

/// Which kinds of files are taken: programs and libraries only, or object files, too.
enum class ElfTypes { Linked, Any };

/// Fails with Unsupported for what isn't a 64-bit little-endian ELF file of these kinds, and for
/// absurd numbers of segments and sections.
[[nodiscard]] Result<Elf64_Ehdr> check_elf_header(std::span<const std::byte> bytes,
                                                  ElfTypes types = ElfTypes::Linked);

/// Extended numbering (e_shnum == 0 with a table) would let the file name any count at all.
[[nodiscard]] bool has_sections(const Elf64_Ehdr& header);

}  // namespace pyscope
