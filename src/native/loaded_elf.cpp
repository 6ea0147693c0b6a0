#include "native/loaded_elf.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "elf/elf_file.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kMaxNoteBytes = 65536;
constexpr std::uint64_t kMaxDynamicEntries = 1024;
// Bound: symbols of a library in memory
constexpr std::uint64_t kMaxSymbols = std::uint64_t{1} << 20U;
constexpr std::size_t kMaxNameBytes = 16384;

/// Each bucket has the first of its symbols; the last of those that follow it has bit 0 set.
std::uint64_t symbols_by_gnu_hash(const Memory& memory, RemoteAddr table) {
  struct Header {
    std::uint32_t bucket_count, first_symbol, bloom_words, bloom_shift;
  };
  const auto header = read_as<Header>(memory, table);
  if (!header || header->bucket_count > kMaxSymbols) return 0;
  std::vector<std::uint32_t> buckets(header->bucket_count);
  const std::uint64_t buckets_at = sizeof(Header) + std::uint64_t{header->bloom_words} * 8;
  const auto at = table.plus(buckets_at);
  if (!at || !memory.read(*at, std::as_writable_bytes(std::span{buckets}))) return 0;
  std::uint64_t last = 0;
  for (const std::uint32_t bucket : buckets)
    last = std::max<std::uint64_t>(last, bucket);
  if (last < header->first_symbol) return header->first_symbol;
  const std::uint64_t chains_at = buckets_at + buckets.size() * sizeof(std::uint32_t);
  for (; last < kMaxSymbols; ++last) {
    const auto hash = read_as<std::uint32_t>(
        memory, table, chains_at + (last - header->first_symbol) * sizeof(std::uint32_t));
    if (!hash) return 0;
    if ((*hash & 1U) != 0) return last + 1;
  }
  return 0;
}

}  // namespace

std::vector<std::byte> loaded_build_id(const Memory& memory, const MappedImage& image) {
  for (const Elf64_Phdr& segment : image.segments) {
    if (segment.p_type != PT_NOTE) continue;
    std::vector<std::byte> notes(std::min(segment.p_filesz, kMaxNoteBytes));
    if (!memory.read(image.in_memory(segment.p_vaddr), notes)) continue;
    if (auto id = build_id_in(notes); !id.empty()) return id;
  }
  return {};
}

SymbolTable loaded_symbols(const Memory& memory, const MappedImage& image, std::uint64_t& budget) {
  const Elf64_Phdr* dynamic = image.segment(PT_DYNAMIC);
  if (dynamic == nullptr) return {};
  std::vector<Elf64_Dyn> entries(
      std::min(dynamic->p_memsz / sizeof(Elf64_Dyn), kMaxDynamicEntries));
  if (!memory.read(image.in_memory(dynamic->p_vaddr), std::as_writable_bytes(std::span{entries}))) {
    return {};
  }
  std::uint64_t symbols_at = 0;
  std::uint64_t strings_at = 0;
  std::uint64_t strings_size = 0;
  std::uint64_t hash = 0;
  std::uint64_t gnu_hash = 0;
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag == DT_NULL) break;
    // glibc's loader has added the bias to these already; musl's doesn't, and nobody to the vdso's.
    const std::uint64_t value = entry.d_un.d_ptr;
    const std::uint64_t address = value < image.load_bias ? value + image.load_bias : value;
    if (entry.d_tag == DT_SYMTAB) symbols_at = address;
    if (entry.d_tag == DT_STRTAB) strings_at = address;
    if (entry.d_tag == DT_STRSZ) strings_size = value;
    if (entry.d_tag == DT_HASH) hash = address;
    if (entry.d_tag == DT_GNU_HASH) gnu_hash = address;
  }
  if (symbols_at == 0 || strings_at == 0) return {};
  // Nothing but the hash table tells how many symbols there are.
  std::uint64_t count = 0;
  if (gnu_hash != 0) count = symbols_by_gnu_hash(memory, RemoteAddr{gnu_hash});
  if (count == 0 && hash != 0)
    count = read_as<std::uint32_t>(memory, RemoteAddr{hash}, 4).value_or(0);
  if (count > std::min(kMaxSymbols, budget / sizeof(Elf64_Sym))) return {};
  std::vector<std::byte> symbols(count * sizeof(Elf64_Sym));
  if (!memory.read(RemoteAddr{symbols_at}, symbols)) return {};
  budget -= symbols.size();

  const auto name_at = [&memory, strings_at, strings_size](std::uint64_t offset) -> std::string {
    const auto at = RemoteAddr{strings_at}.plus(offset);
    if (!at || offset >= strings_size) return {};
    for (const std::size_t limit : {std::size_t{256}, kMaxNameBytes}) {
      std::string name(std::min<std::uint64_t>(limit, strings_size - offset), '\0');
      if (!memory.read(*at, std::as_writable_bytes(std::span{name}))) return {};
      const std::size_t end = name.find('\0');
      if (end != std::string::npos) return name.substr(0, end);
    }
    return {};
  };
  return SymbolTable(symbols, name_at, {});
}

}  // namespace pyscope
