#include "native/mapped_images.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace pyscope {

const Mapping* MappedImages::mapping(RemoteAddr at) const {
  const auto after = std::upper_bound(
      maps_.begin(), maps_.end(), at,
      [](RemoteAddr address, const Mapping& mapping) { return address < mapping.range.start; });
  if (after == maps_.begin()) return nullptr;
  const Mapping& found = *std::prev(after);
  return found.range.contains(at) ? &found : nullptr;
}

const MappedImage* MappedImages::find(RemoteAddr at) {
  const Mapping* const part = mapping(at);
  if (part == nullptr) return nullptr;
  // Its first part is the nearest one below that begins with the file's begin. Anonymous memory is
  // no part of a file, but for the vdso, which is whole.
  const Mapping* first = part;
  if (part->inode != 0) {
    while (first != maps_.data() && !(first->same_file(*part) && first->file_offset == 0))
      --first;
    if (!first->same_file(*part) || first->file_offset != 0) return nullptr;
  } else if (part->path != "[vdso]") {
    return nullptr;
  }
  const auto [entry, is_new] = images_.try_emplace(first->range.start);
  if (is_new) entry->second = read(first->range.start);
  return entry->second ? &*entry->second : nullptr;
}

std::optional<MappedImage> MappedImages::read(RemoteAddr start) const {
  // The program headers follow the header in all files that linkers make.
  constexpr std::size_t kHead = 4096;
  std::array<std::byte, kHead> head{};
  if (!memory_.read(start, head)) return std::nullopt;
  auto elf = read_elf_head(head);
  if (!elf) return std::nullopt;
  const auto first =
      std::find_if(elf->segments.begin(), elf->segments.end(),
                   [](const ElfSegment& segment) { return segment.file_offset < kHead; });
  if (first == elf->segments.end()) return std::nullopt;
  MappedImage image;
  image.start = start;
  image.load_bias = start.raw() - (first->address - first->file_offset);
  image.elf = *std::move(elf);
  return image;
}

}  // namespace pyscope
