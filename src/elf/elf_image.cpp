#include "elf/elf_image.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "elf/elf_file.hpp"
#include "elf/elf_header.hpp"

namespace pyscope {
namespace {

// Far above any real table of names and symbols that is loaded.
constexpr std::uint64_t kMaxTableBytes = std::uint64_t{64} << 20U;

ElfImage basic_facts(const Elf64_Ehdr& header) {
  ElfImage image;
  image.position_independent = header.e_type == ET_DYN;
  image.machine = header.e_machine;
  return image;
}

void add_segment(ElfImage& image, const Elf64_Phdr& header) {
  if (header.p_type != PT_LOAD) return;
  image.segments.push_back(
      {header.p_vaddr, header.p_offset, header.p_filesz, (header.p_flags & PF_W) != 0});
}

}  // namespace

const ElfSection* ElfImage::section(std::string_view name) const {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const ElfSection& section) { return section.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

Result<ElfImage> read_elf(int fd) {
  const auto file = ElfFile::open(fd);
  if (!file) return fail(file.error());
  ElfImage image = basic_facts(file->header());
  for (const Elf64_Phdr& segment : file->segments())
    add_segment(image, segment);
  for (const ElfSectionHeader& section : file->sections()) {
    if ((section.flags & SHF_ALLOC) == 0) continue;
    image.sections.push_back({section.name, section.address, section.size});
  }
  return image;
}

Result<ElfImage> read_elf_head(std::span<const std::byte> head) {
  const auto header = check_elf_header(head);
  if (!header) return fail(header.error());
  ElfImage image = basic_facts(*header);
  if (header->e_phentsize != sizeof(Elf64_Phdr)) return image;
  for (std::size_t i = 0; i < header->e_phnum; ++i) {
    const std::size_t offset = i * sizeof(Elf64_Phdr);
    if (header->e_phoff > head.size() ||
        offset + sizeof(Elf64_Phdr) > head.size() - header->e_phoff) {
      break;
    }
    Elf64_Phdr segment{};
    std::memcpy(&segment, head.data() + header->e_phoff + offset, sizeof segment);
    add_segment(image, segment);
  }
  return image;
}

std::optional<std::uint64_t> find_dynamic_symbol(int fd, std::string_view name) {
  const auto file = ElfFile::open(fd);
  if (!file) return std::nullopt;
  for (const ElfSectionHeader& section : file->sections()) {
    if (section.type != SHT_DYNSYM || section.link >= file->sections().size()) continue;
    const auto strings = file->contents(file->sections()[section.link], kMaxTableBytes);
    const auto symbols = file->contents(section, kMaxTableBytes);
    for (std::size_t i = 0; i < symbols.size() / sizeof(Elf64_Sym); ++i) {
      Elf64_Sym symbol{};
      std::memcpy(&symbol, symbols.data() + i * sizeof symbol, sizeof symbol);
      if (symbol.st_shndx != SHN_UNDEF && string_in(strings, symbol.st_name) == name) {
        return symbol.st_value;
      }
    }
  }
  return std::nullopt;
}

}  // namespace pyscope
