#include "native/mapped_images.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "elf/elf_file.hpp"

namespace pyscope {

const Elf64_Phdr* MappedImage::segment(std::uint32_t type) const {
  const auto found = std::find_if(segments.begin(), segments.end(),
                                  [&](const Elf64_Phdr& s) { return s.p_type == type; });
  return found == segments.end() ? nullptr : &*found;
}

std::optional<MappedImage> read_mapped_image(const Memory& memory, RemoteAddr start) {
  // The program headers follow the header in all files that linkers make.
  constexpr std::size_t kHead = 4096;
  std::vector<std::byte> head(kHead);
  if (!memory.read(start, head)) return std::nullopt;
  const auto file = ElfFile::open(std::move(head));
  if (!file) return std::nullopt;
  for (const Elf64_Phdr& segment : file->segments()) {
    if (segment.p_type != PT_LOAD || segment.p_offset >= kHead) continue;
    return MappedImage{start, start.raw() - (segment.p_vaddr - segment.p_offset), file->segments()};
  }
  return std::nullopt;
}

const MappedImage* MappedImages::find(RemoteAddr at) {
  const Mapping* const part = mapping(at);
  if (part == nullptr) return nullptr;
  // The file's first part is the nearest mapping below that begins at the file's begin. Anonymous
  // memory is no part of a file, except for the vdso, which is whole.
  const Mapping* first = part;
  if (part->inode != 0) {
    while (first != maps_.data() && !(first->same_file(*part) && first->file_offset == 0))
      --first;
    if (!first->same_file(*part) || first->file_offset != 0) return nullptr;
  } else if (part->path != "[vdso]") {
    return nullptr;
  }
  const auto [entry, is_new] = images_.try_emplace(first->range.start);
  if (is_new) entry->second = read_mapped_image(memory_, first->range.start);
  return entry->second ? &*entry->second : nullptr;
}

}  // namespace pyscope
