#include "native/registered_code.hpp"

#include <elf.h>

#include <array>
#include <cstring>
#include <iterator>
#include <set>
#include <span>
#include <utility>

#include "elf/elf_file.hpp"
#include "elf/elf_header.hpp"

namespace pyscope {
namespace {

// gdb/jit.h; struct jit_descriptor and struct jit_code_entry in GDB's manual.
struct Descriptor {
  std::uint32_t version;
  std::uint32_t action;
  std::uint64_t relevant_entry;
  std::uint64_t first_entry;
};
struct Entry {
  std::uint64_t next;
  std::uint64_t previous;
  std::uint64_t file;
  std::uint64_t size;
};
constexpr std::uint32_t kVersion = 1;

// A compiler makes one file of a function, or of some dozens.
constexpr std::size_t kMaxSections = 4096;

/// The symbols of a relocatable file count from where its sections were put; those of other files
/// are addresses already.
void place_symbols(std::span<std::byte> symbols, std::span<const ElfSectionHeader> sections) {
  for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size(); at += sizeof(Elf64_Sym)) {
    Elf64_Sym symbol{};
    std::memcpy(&symbol, symbols.data() + at, sizeof symbol);
    if (symbol.st_shndx < sections.size()) symbol.st_value += sections[symbol.st_shndx].address;
    std::memcpy(symbols.data() + at, &symbol, sizeof symbol);
  }
}

SymbolTable read_symbols(const ElfFile& file, std::uint64_t limit) {
  const ElfSectionHeader* section = file.section_of_type(SHT_SYMTAB);
  if (section == nullptr || section->link >= file.sections().size()) return {};
  auto symbols = file.contents(*section, limit);
  if (file.header().e_type == ET_REL) place_symbols(symbols, file.sections());
  const auto strings = std::make_shared<const std::vector<std::byte>>(
      file.contents(file.sections()[section->link], limit));
  return SymbolTable(
      symbols, [strings](std::uint64_t offset) { return std::string(string_in(*strings, offset)); },
      file.sections());
}

}  // namespace

void RegisteredCode::add_list(RemoteAddr descriptor) {
  const auto head = read_as<Descriptor>(memory_, descriptor);
  if (!head || head->version != kVersion) return;
  const std::size_t before = files_.size();
  std::set<RemoteAddr> seen;  // a list may be a circle
  RemoteAddr at{head->first_entry};
  while (at && files_.size() < kMaxFiles && seen.insert(at).second) {
    const auto entry = read_as<Entry>(memory_, at);
    if (!entry) break;
    add_file(RemoteAddr{entry->file}, entry->size);
    at = RemoteAddr{entry->next};
  }
  log_("{} files of code that was made while the program runs, by the list at {:#x}",
       files_.size() - before, descriptor.raw());
}

void RegisteredCode::add_file(RemoteAddr at, std::uint64_t size) {
  // Counts, too, where it holds nothing.
  files_.push_back({at, size, nullptr});
  const auto bytes = read_as<std::array<std::byte, sizeof(Elf64_Ehdr)>>(memory_, at);
  if (!bytes) return;
  const auto header = check_elf_header(*bytes, ElfTypes::Any);
  if (!header || !has_sections(*header) || header->e_shnum > kMaxSections) return;
  std::vector<Elf64_Shdr> sections(header->e_shnum);
  const std::uint64_t table_size = sections.size() * sizeof(Elf64_Shdr);
  if (table_size > size || header->e_shoff > size - table_size || table_size > budget_) return;
  const auto table = at.plus(header->e_shoff);
  if (!table || !memory_.read(*table, std::as_writable_bytes(std::span{sections}))) return;
  budget_ -= table_size;
  for (const Elf64_Shdr& section : sections) {
    const std::uint64_t is_code = SHF_ALLOC | SHF_EXECINSTR;
    if ((section.sh_flags & is_code) != is_code || section.sh_addr == 0 || section.sh_size == 0) {
      continue;
    }
    const RemoteRange range{RemoteAddr{section.sh_addr}, section.sh_size};
    // The newest files come first.
    code_.try_emplace(range.start, Code{range, files_.size() - 1});
  }
}

const RegisteredCode::Code* RegisteredCode::file_of(RemoteAddr at) const {
  const auto next = code_.upper_bound(at);
  if (next == code_.begin()) return nullptr;
  const Code& code = std::prev(next)->second;
  return code.range.contains(at) ? &code : nullptr;
}

RegisteredCode::Contents* RegisteredCode::contents_of(RemoteAddr at) {
  const Code* code = file_of(at);
  if (code == nullptr) return nullptr;
  File& file = files_[code->file];
  if (!file.contents) {
    file.contents = std::make_unique<Contents>(read_contents(file, code->range.start));
  }
  return file.contents.get();
}

RegisteredCode::Contents RegisteredCode::read_contents(const File& file, RemoteAddr code) {
  Contents contents;
  if (file.size > budget_) return contents;
  std::vector<std::byte> bytes(file.size);
  if (!memory_.read(file.at, bytes)) return contents;
  budget_ -= bytes.size();
  const auto elf = ElfFile::open(std::move(bytes), ElfTypes::Any);
  if (!elf) return contents;
  contents.symbols = read_symbols(*elf, file.size);

  const ElfSectionHeader* section = elf->section(".eh_frame");
  if (section == nullptr || section->address == 0 || section->size > budget_) return contents;
  UnwindTable& table = contents.table;
  table.copied_from = RemoteAddr{section->address};
  if (elf->header().e_type == ET_REL) {
    // Relocated in its place, and not in the file.
    table.copy.resize(section->size);
    if (!memory_.read(table.copied_from, table.copy)) table.copy.clear();
  } else {
    table.copy = elf->contents(*section, section->size);
  }
  budget_ -= table.copy.size();
  table.base = code;
  table.made = index_eh_frame(table.copy, table.copied_from, table.base);
  table.entries = table.made.size();
  return contents;
}

std::optional<FoundSymbol> RegisteredCode::find(RemoteAddr at) {
  Contents* contents = contents_of(at);
  return contents == nullptr ? std::nullopt : contents->symbols.find(at.raw());
}

const UnwindTable* RegisteredCode::unwind_table(RemoteAddr at) {
  Contents* contents = contents_of(at);
  return contents == nullptr ? nullptr : &contents->table;
}

}  // namespace pyscope
