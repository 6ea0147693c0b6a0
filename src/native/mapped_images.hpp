// The ELF files that a process has mapped, as far as its memory holds them. No file is opened, so
// deleted files, files of other mount namespaces and the vdso are found alike.
#pragma once

#include <elf.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "process/maps.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

struct MappedImage {
  RemoteAddr start;                  // where the file's first byte is
  std::uint64_t load_bias = 0;       // an address in memory less the one in the file; wraps
  std::vector<Elf64_Phdr> segments;  // the program headers

  [[nodiscard]] std::uint64_t in_file(RemoteAddr at) const { return at.raw() - load_bias; }
  [[nodiscard]] RemoteAddr in_memory(std::uint64_t address) const {
    return RemoteAddr{address + load_bias};
  }
  /// The first one of a type (PT_…); null: none.
  [[nodiscard]] const Elf64_Phdr* segment(std::uint32_t type) const;
};

/// Empty if there is no ELF file at `start`.
[[nodiscard]] std::optional<MappedImage> read_mapped_image(const Memory& memory, RemoteAddr start);

class MappedImages {
 public:
  /// Both must outlive it; the mappings are in the order of their addresses, as the kernel lists
  /// them.
  MappedImages(const Memory& memory, std::span<const Mapping> maps)
      : memory_(memory), maps_(maps) {}

  [[nodiscard]] const Memory& memory() const { return memory_; }
  [[nodiscard]] std::span<const Mapping> maps() const { return maps_; }
  /// The mapping that an address lies in; null: none.
  [[nodiscard]] const Mapping* mapping(RemoteAddr at) const { return find_mapping(maps_, at); }

  /// The ELF file whose mapping an address lies in; null where there is none.
  [[nodiscard]] const MappedImage* find(RemoteAddr at);

 private:
  const Memory& memory_;
  std::span<const Mapping> maps_;
  std::map<RemoteAddr, std::optional<MappedImage>> images_;  // by their start
};

}  // namespace pyscope
