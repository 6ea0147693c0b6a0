#include "elf/elf_image.hpp"

#include <elf.h>
#include <fmt/core.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "elf/elf_header.hpp"

namespace pyscope {
namespace {

// A bound on what libelf is let near, far above any real file: it allocates by this number. The
// others are in elf_header.cpp.
constexpr std::uint64_t kMaxTableBytes = std::uint64_t{64} << 20U;

using ElfHandle = std::unique_ptr<Elf, int (*)(Elf*)>;

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

Result<Elf64_Ehdr> read_header(int fd) {
  std::array<std::byte, sizeof(Elf64_Ehdr)> bytes{};
  const ssize_t n = ::pread(fd, bytes.data(), bytes.size(), 0);
  return check_elf_header(std::span{bytes}.first(n > 0 ? static_cast<std::size_t>(n) : 0));
}

ElfHandle open_handle(int fd) {
  static const bool initialised = ::elf_version(EV_CURRENT) != EV_NONE;
  return {initialised ? ::elf_begin(fd, ELF_C_READ, nullptr) : nullptr, ::elf_end};
}

// Reads a whole section, if it has a sane size.
const Elf_Data* section_data(Elf_Scn* section, const GElf_Shdr& header) {
  if (header.sh_type == SHT_NOBITS || header.sh_size > kMaxTableBytes) return nullptr;
  return ::elf_rawdata(section, nullptr);
}

std::string_view string_at(const Elf_Data* strings, std::uint64_t offset) {
  if (strings == nullptr || strings->d_buf == nullptr || offset >= strings->d_size) return {};
  const char* start = static_cast<const char*>(strings->d_buf) + offset;
  return {start, ::strnlen(start, strings->d_size - offset)};
}

}  // namespace

const ElfSection* ElfImage::section(std::string_view name) const {
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const ElfSection& section) { return section.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

Result<ElfImage> read_elf(int fd) {
  const auto header = read_header(fd);
  if (!header) return fail(header.error());
  ElfImage image = basic_facts(*header);

  // The program headers are an array at a known place: one read, and no need of a library.
  if (header->e_phentsize == sizeof(Elf64_Phdr)) {
    std::vector<Elf64_Phdr> segments(header->e_phnum);
    const std::size_t size = segments.size() * sizeof(Elf64_Phdr);
    const ssize_t n = ::pread(fd, segments.data(), size, static_cast<off_t>(header->e_phoff));
    if (n >= 0 && static_cast<std::size_t>(n) == size) {
      for (const Elf64_Phdr& segment : segments)
        add_segment(image, segment);
    }
  }
  if (!has_sections(*header)) return image;
  const ElfHandle elf = open_handle(fd);
  if (!elf) return image;
  Elf_Scn* names_section = ::elf_getscn(elf.get(), header->e_shstrndx);
  GElf_Shdr names_header{};
  if (names_section == nullptr || ::gelf_getshdr(names_section, &names_header) == nullptr) {
    return image;
  }
  const Elf_Data* names = section_data(names_section, names_header);
  for (Elf_Scn* at = ::elf_nextscn(elf.get(), nullptr); at != nullptr;
       at = ::elf_nextscn(elf.get(), at)) {
    GElf_Shdr section{};
    if (::gelf_getshdr(at, &section) == nullptr || (section.sh_flags & SHF_ALLOC) == 0) continue;
    image.sections.push_back(
        {std::string(string_at(names, section.sh_name)), section.sh_addr, section.sh_size});
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
  const auto header = read_header(fd);
  if (!header || !has_sections(*header)) return std::nullopt;
  const ElfHandle elf = open_handle(fd);
  if (!elf) return std::nullopt;
  for (Elf_Scn* at = ::elf_nextscn(elf.get(), nullptr); at != nullptr;
       at = ::elf_nextscn(elf.get(), at)) {
    GElf_Shdr section{};
    if (::gelf_getshdr(at, &section) == nullptr || section.sh_type != SHT_DYNSYM) continue;
    Elf_Scn* strings_section = ::elf_getscn(elf.get(), section.sh_link);
    GElf_Shdr strings_header{};
    if (strings_section == nullptr || ::gelf_getshdr(strings_section, &strings_header) == nullptr) {
      continue;
    }
    const Elf_Data* strings = section_data(strings_section, strings_header);
    const Elf_Data* symbols = section_data(at, section);
    if (symbols == nullptr || symbols->d_buf == nullptr) continue;
    for (std::size_t i = 0; i < symbols->d_size / sizeof(Elf64_Sym); ++i) {
      Elf64_Sym symbol{};
      std::memcpy(&symbol, static_cast<const std::byte*>(symbols->d_buf) + i * sizeof symbol,
                  sizeof symbol);
      if (symbol.st_shndx != SHN_UNDEF && string_at(strings, symbol.st_name) == name) {
        return symbol.st_value;
      }
    }
  }
  return std::nullopt;
}

}  // namespace pyscope
