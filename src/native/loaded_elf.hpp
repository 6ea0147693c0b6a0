// The build-id and the dynamic symbols of a mapped file, read from the process's memory. The loader
// needs both, so they are always there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "elf/symbol_table.hpp"
#include "native/mapped_images.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// Empty if there is none.
[[nodiscard]] std::vector<std::byte> loaded_build_id(const Memory& memory,
                                                     const MappedImage& image);

/// `budget` is as for read_symbol_table. The memory must stay as long as the table is used.
[[nodiscard]] SymbolTable loaded_symbols(const Memory& memory, const MappedImage& image,
                                         std::uint64_t& budget);

}  // namespace pyscope
