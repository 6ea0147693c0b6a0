// Where an image keeps its unwinding information, as the sorted table that libunwind searches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "elf/elf_image.hpp"
#include "native/mapped_images.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// One function, relative to the table's base: as in .eh_frame_hdr ("The .eh_frame_hdr section",
/// Linux Standard Base) with the encoding that all linkers use.
struct UnwindTableEntry {
  std::int32_t function = 0;
  std::int32_t description = 0;  // of its FDE
  friend bool operator==(const UnwindTableEntry&, const UnwindTableEntry&) = default;
};

struct UnwindTable {
  RemoteAddr base;  // what the entries are relative to
  RemoteAddr at;    // of the table in the target's memory; null: `made` is the table
  std::size_t entries = 0;
  std::vector<UnwindTableEntry> made;  // where the image has none
  /// The entries' .eh_frame, where memory doesn't have it at the address that its entries count
  /// from.
  RemoteAddr copied_from;
  std::vector<std::byte> copy;
};

/// Finds the table for code that no file holds. The table has no entries if only the code is known;
/// null if nothing is known. The function itself may be empty.
using FindTable = std::function<const UnwindTable*(RemoteAddr at)>;

/// Finds a section by name in the file behind an image, if memory doesn't have the section. May be
/// empty.
using FindSection = std::function<std::optional<ElfSection>(RemoteAddr image, const char* name)>;

/// The table of .eh_frame_hdr; for an image without one (static programs by some linkers), made
/// from .eh_frame, wherever the header or the file's section headers say that it is.
[[nodiscard]] UnwindTable find_unwind_table(const Memory& memory, const MappedImage& image,
                                            const FindSection& find_section);

/// The address of the FDE for the function that begins at `function`, by the table; null if there
/// is none.
[[nodiscard]] RemoteAddr find_description(const Memory& memory, const UnwindTable& table,
                                          RemoteAddr function);

/// Where the operations of one code (DW_CFA_…, without operands) are in the FDE at `description`.
/// Stops at what makes no sense.
[[nodiscard]] std::vector<RemoteAddr> find_operations(const Memory& memory, RemoteAddr description,
                                                      std::uint8_t code);

/// The table of the functions in a whole .eh_frame section that lies at `at`, relative to `base`.
/// Stops at what makes no sense.
[[nodiscard]] std::vector<UnwindTableEntry> index_eh_frame(std::span<const std::byte> section,
                                                           RemoteAddr at, RemoteAddr base);

}  // namespace pyscope
