#include "elf/elf_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/kernel_call.hpp"
#include "elf/decompress.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kMaxNoteBytes = 65536;
constexpr std::uint64_t kMaxNamesBytes = std::uint64_t{64} << 20U;
constexpr std::uint32_t kCompressedByZstd = 2;  // ELFCOMPRESS_ZSTD, which older headers lack

}  // namespace

Result<ElfFile> ElfFile::open(int fd) {
  ElfFile file;
  struct stat info {};
  if (fstat_noted(fd, info) == 0 && info.st_size > 0)
    file.size_ = static_cast<std::uint64_t>(info.st_size);
  file.fd_ = fd;
  if (auto ok = file.read_headers(ElfTypes::Linked); !ok) return fail(std::move(ok).error());
  return file;
}

Result<ElfFile> ElfFile::open(std::vector<std::byte> bytes, ElfTypes types) {
  ElfFile file;
  file.size_ = bytes.size();
  file.bytes_ = std::move(bytes);
  if (auto ok = file.read_headers(types); !ok) return fail(std::move(ok).error());
  return file;
}

Result<void> ElfFile::read_headers(ElfTypes types) {
  const auto head = read_up_to(0, sizeof(Elf64_Ehdr));
  const auto header = check_elf_header(head, types);
  if (!header) return fail(header.error());
  header_ = *header;

  const auto as_bytes = [](auto& table) { return std::as_writable_bytes(std::span{table}); };
  if (header_.e_phentsize == sizeof(Elf64_Phdr)) {
    segments_.resize(header_.e_phnum);
    if (!read(header_.e_phoff, as_bytes(segments_))) segments_.clear();
  }
  if (!has_sections(header_)) return {};
  std::vector<Elf64_Shdr> headers(header_.e_shnum);
  if (!read(header_.e_shoff, as_bytes(headers))) return {};
  sections_.reserve(headers.size());
  for (const Elf64_Shdr& section : headers) {
    sections_.push_back({{},
                         section.sh_type,
                         section.sh_flags,
                         section.sh_addr,
                         section.sh_offset,
                         section.sh_size,
                         section.sh_link});
  }
  const auto names = contents(sections_[header_.e_shstrndx], kMaxNamesBytes);
  for (std::size_t i = 0; i < headers.size(); ++i)
    sections_[i].name = string_in(names, headers[i].sh_name);
  return {};
}

const ElfSectionHeader* ElfFile::section(std::string_view name) const {
  const auto found = std::find_if(sections_.begin(), sections_.end(),
                                  [&](const ElfSectionHeader& s) { return s.name == name; });
  return found == sections_.end() ? nullptr : &*found;
}

const ElfSectionHeader* ElfFile::section_of_type(std::uint32_t type) const {
  const auto found = std::find_if(sections_.begin(), sections_.end(),
                                  [&](const ElfSectionHeader& s) { return s.type == type; });
  return found == sections_.end() ? nullptr : &*found;
}

bool ElfFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > size_ || out.size() > size_ - offset) return false;
  if (fd_ < 0) {
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
  }
  while (!out.empty()) {
    const ssize_t n = pread_noted(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;  // it has become shorter, or can't be read
    offset += static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

std::vector<std::byte> ElfFile::read_up_to(std::uint64_t offset, std::size_t limit) const {
  if (offset >= size_) return {};
  std::vector<std::byte> bytes(std::min<std::uint64_t>(limit, size_ - offset));
  if (!read(offset, bytes)) bytes.clear();
  return bytes;
}

std::vector<std::byte> ElfFile::contents(const ElfSectionHeader& section,
                                         std::uint64_t limit) const {
  if (section.type == SHT_NOBITS || section.size > limit || section.offset > size_ ||
      section.size > size_ - section.offset) {
    return {};
  }
  std::vector<std::byte> bytes(section.size);
  if (!read(section.offset, bytes)) return {};
  if ((section.flags & SHF_COMPRESSED) == 0) return bytes;
  Elf64_Chdr compression{};
  if (bytes.size() < sizeof compression) return {};
  std::memcpy(&compression, bytes.data(), sizeof compression);
  if (compression.ch_size > limit) return {};
  const auto compressed = std::span{bytes}.subspan(sizeof compression);
  switch (compression.ch_type) {
    case ELFCOMPRESS_ZLIB:
      return inflate(compressed, compression.ch_size);
    case kCompressedByZstd:
      return decode_zstd(compressed, compression.ch_size);
    default:
      return {};
  }
}

std::vector<std::byte> ElfFile::build_id() const {
  // By the sections first: a file with debug information only keeps the program headers of the
  // program, but not what they point to.
  for (const ElfSectionHeader& section : sections_) {
    if (section.type != SHT_NOTE) continue;
    if (auto id = build_id_in(contents(section, kMaxNoteBytes)); !id.empty()) return id;
  }
  if (!sections_.empty()) return {};
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_NOTE) continue;
    const auto notes = read_up_to(segment.p_offset, std::min(segment.p_filesz, kMaxNoteBytes));
    if (auto id = build_id_in(notes); !id.empty()) return id;
  }
  return {};
}

std::optional<std::uint64_t> ElfFile::address_of(std::uint64_t offset) const {
  const Elf64_Phdr* found = nullptr;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD || offset < segment.p_offset ||
        offset - segment.p_offset >= segment.p_filesz) {
      continue;
    }
    if (found == nullptr || (found->p_flags & PF_X) == 0) found = &segment;
  }
  if (found == nullptr) return std::nullopt;
  return found->p_vaddr + (offset - found->p_offset);
}

std::string_view string_in(std::span<const std::byte> strings, std::uint64_t offset) {
  if (offset >= strings.size()) return {};
  const char* start = reinterpret_cast<const char*>(strings.data()) + offset;
  return {start, ::strnlen(start, strings.size() - offset)};
}

std::vector<std::byte> build_id_in(std::span<const std::byte> notes) {
  constexpr std::size_t kMostBytes = 64;
  const auto padded = [](std::uint64_t size) { return (size + 3) / 4 * 4; };
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note{};
    std::memcpy(&note, notes.data(), sizeof note);
    notes = notes.subspan(sizeof note);
    const std::uint64_t name_size = padded(note.n_namesz);
    if (name_size > notes.size()) break;
    const bool of_gnu = note.n_namesz == sizeof ELF_NOTE_GNU &&
                        std::memcmp(notes.data(), ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0;
    notes = notes.subspan(name_size);
    if (note.n_descsz > notes.size()) break;
    if (of_gnu && note.n_type == NT_GNU_BUILD_ID && note.n_descsz > 0 &&
        note.n_descsz <= kMostBytes) {
      return {notes.begin(), notes.begin() + static_cast<std::ptrdiff_t>(note.n_descsz)};
    }
    notes = notes.subspan(std::min<std::uint64_t>(padded(note.n_descsz), notes.size()));
  }
  return {};
}

}  // namespace pyscope
