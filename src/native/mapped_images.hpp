// The ELF files that a process has mapped, by what its memory holds of them: that needs no file,
// and so does for deleted ones, those of other mount namespaces and the vdso alike.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "elf/elf_image.hpp"
#include "process/maps.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

struct MappedImage {
  RemoteAddr start;             // where the file's first byte is
  std::uint64_t load_bias = 0;  // an address in memory less the one in the file; wraps
  ElfImage elf;                 // without sections

  [[nodiscard]] std::uint64_t in_file(RemoteAddr at) const { return at.raw() - load_bias; }
  [[nodiscard]] RemoteAddr in_memory(std::uint64_t address) const {
    return RemoteAddr{address + load_bias};
  }
};

class MappedImages {
 public:
  /// Both must outlive it; the mappings are in the order of their addresses, as the kernel lists
  /// them.
  MappedImages(const Memory& memory, std::span<const Mapping> maps)
      : memory_(memory), maps_(maps) {}

  /// The mapping that an address lies in; null: none.
  [[nodiscard]] const Mapping* mapping(RemoteAddr at) const;

  /// The ELF file whose mapping an address lies in; null where there is none.
  [[nodiscard]] const MappedImage* find(RemoteAddr at);

 private:
  [[nodiscard]] std::optional<MappedImage> read(RemoteAddr start) const;

  const Memory& memory_;
  std::span<const Mapping> maps_;
  std::map<RemoteAddr, std::optional<MappedImage>> images_;  // by their start
};

}  // namespace pyscope
