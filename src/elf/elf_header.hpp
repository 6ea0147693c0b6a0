// What is asked of the header of an ELF file before anything else of it is believed.
#pragma once

#include <elf.h>

#include <cstddef>
#include <span>

#include "pyscope/error.hpp"

namespace pyscope {

/// Which kinds of files are taken: what can be executed or loaded; or also what isn't linked.
enum class ElfTypes { Linked, Any };

/// Fails with Unsupported for what isn't a 64-bit little-endian ELF file of these kinds, and for
/// absurd numbers of segments and sections.
[[nodiscard]] Result<Elf64_Ehdr> check_elf_header(std::span<const std::byte> bytes,
                                                  ElfTypes types = ElfTypes::Linked);

/// Extended numbering (e_shnum == 0 with a table) would let the file name any count at all.
[[nodiscard]] bool has_sections(const Elf64_Ehdr& header);

}  // namespace pyscope
