#include "elf/symbol_table.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <tuple>
#include <utility>

namespace pyscope {
namespace {

// Bound (bytes): one symbol table
constexpr std::uint64_t kMaxSymbolBytes = std::uint64_t{128} << 20U;  // 5.6 million symbols
// Bound (bytes): name of a symbol
constexpr std::size_t kMaxNameBytes = 16384;
// Of functions that begin below an address and don't reach it: gaps between nested ones.
constexpr int kMostSteps = 1024;
constexpr std::size_t kMostAliases = 64;

bool is_function(const Elf64_Sym& symbol) {
  if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= SHN_LORESERVE) return false;
  switch (ELF64_ST_TYPE(symbol.st_info)) {
    case STT_FUNC:
    case STT_GNU_IFUNC:
      return true;
    case STT_NOTYPE:
      // Written in assembler by somebody who forgot to say what it is; labels within functions
      // are local.
      return symbol.st_size != 0 || ELF64_ST_BIND(symbol.st_info) != STB_LOCAL;
    default:
      return false;
  }
}

/// The section that holds a table's names; null if there is no valid one.
const ElfSectionHeader* strings_of(const ElfFile& file, const ElfSectionHeader& table) {
  if (table.link >= file.sections().size()) return nullptr;
  const ElfSectionHeader& strings = file.sections()[table.link];
  const bool plain = strings.type == SHT_STRTAB && (strings.flags & SHF_COMPRESSED) == 0;
  return plain ? &strings : nullptr;
}

std::size_t underscores(const std::string& name) {
  return std::min(name.find_first_not_of('_'), name.size());
}

}  // namespace

SymbolTable::SymbolTable(std::span<const std::byte> symbols, Names names, Sections sections)
    : names_(std::move(names)) {
  for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size(); at += sizeof(Elf64_Sym)) {
    Elf64_Sym symbol{};
    std::memcpy(&symbol, symbols.data() + at, sizeof symbol);
    if (!is_function(symbol)) continue;
    Function function{symbol.st_value, symbol.st_value + symbol.st_size, symbol.st_name,
                      ELF64_ST_BIND(symbol.st_info) == STB_LOCAL, symbol.st_size == 0};
    if (function.end < function.address) continue;
    if (function.without_size) {
      if (symbol.st_shndx >= sections.size()) continue;
      const ElfSectionHeader& section = sections[symbol.st_shndx];
      if ((section.flags & SHF_EXECINSTR) == 0 || symbol.st_value < section.address ||
          symbol.st_value - section.address >= section.size ||
          section.address + section.size < section.address) {
        continue;
      }
      function.end = section.address + section.size;
    }
    functions_.push_back(function);
  }
  std::sort(functions_.begin(), functions_.end(),
            [](const Function& a, const Function& b) { return a.address < b.address; });
  // A function without a size ends where the next one begins.
  std::uint64_t next = std::numeric_limits<std::uint64_t>::max();
  for (auto at = functions_.rbegin(); at != functions_.rend();) {
    const std::uint64_t address = at->address;
    for (; at != functions_.rend() && at->address == address; ++at) {
      if (at->without_size) at->end = std::min(at->end, next);
    }
    next = address;
  }
  ends_.reserve(functions_.size());
  std::uint64_t last = 0;
  for (const Function& function : functions_) {
    last = std::max(last, function.end);
    ends_.push_back(last);
  }
}

std::optional<FoundSymbol> SymbolTable::find(std::uint64_t address) const {
  auto at = static_cast<std::size_t>(
      std::upper_bound(functions_.begin(), functions_.end(), address,
                       [](std::uint64_t a, const Function& f) { return a < f.address; }) -
      functions_.begin());
  const auto holds = [&](const Function& function) { return address < function.end; };
  for (int steps = 0; at > 0 && ends_[at - 1] > address && !holds(functions_[at - 1]); ++steps) {
    if (steps == kMostSteps) return std::nullopt;
    --at;
  }
  if (at == 0 || ends_[at - 1] <= address) return std::nullopt;

  const std::uint64_t begin = functions_[at - 1].address;
  std::optional<FoundSymbol> best;
  bool best_is_local = false;
  for (std::size_t tried = 0; at > 0 && tried < kMostAliases; --at, ++tried) {
    const Function& function = functions_[at - 1];
    if (function.address != begin) break;
    if (!holds(function)) continue;
    std::string name = names_(function.name);
    // With the version of the symbol, as older linkers wrote it into the table: memcpy@@GLIBC_2.14.
    name.resize(std::min(name.find('@'), name.size()));
    if (name.empty()) continue;
    const auto rank = [](bool local, const std::string& text) {
      return std::tuple(local, underscores(text), text.size(), std::string_view(text));
    };
    if (best && rank(best_is_local, best->name) <= rank(function.local, name)) continue;
    best = FoundSymbol{std::move(name), begin};
    best_is_local = function.local;
  }
  return best;
}

std::optional<std::uint64_t> find_variable(const ElfFile& file, std::uint32_t type,
                                           std::string_view name, std::uint64_t& budget) {
  const ElfSectionHeader* section = file.section_of_type(type);
  const ElfSectionHeader* strings = section == nullptr ? nullptr : strings_of(file, *section);
  if (strings == nullptr) return std::nullopt;
  const auto text = file.contents(*strings, budget);
  budget -= text.size();
  const std::string_view all(reinterpret_cast<const char*>(text.data()), text.size());
  // With the null characters around it: not a part of another name.
  std::string whole(1, '\0');
  whole.append(name).push_back('\0');
  const std::size_t before = all.find(whole);
  if (before == std::string_view::npos) return std::nullopt;
  const auto symbols = file.contents(*section, kMaxSymbolBytes);
  for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size(); at += sizeof(Elf64_Sym)) {
    Elf64_Sym symbol{};
    std::memcpy(&symbol, symbols.data() + at, sizeof symbol);
    if (symbol.st_name == before + 1 && ELF64_ST_TYPE(symbol.st_info) == STT_OBJECT &&
        symbol.st_shndx != SHN_UNDEF) {
      return symbol.st_value;
    }
  }
  return std::nullopt;
}

SymbolTable read_symbol_table(const ElfFile& file, std::uint32_t type, std::uint64_t& budget) {
  const ElfSectionHeader* section = file.section_of_type(type);
  const ElfSectionHeader* strings_section =
      section == nullptr ? nullptr : strings_of(file, *section);
  if (strings_section == nullptr) return {};
  const ElfSectionHeader strings = *strings_section;
  const auto symbols = file.contents(*section, std::min(kMaxSymbolBytes, budget));
  budget -= symbols.size();
  // The strings of a large library are some hundred megabytes, of which a handful is asked for.
  const auto name_at = [&file, strings](std::uint64_t offset) -> std::string {
    if (offset >= strings.size) return {};
    // Most are short.
    for (const std::size_t limit : {std::size_t{256}, kMaxNameBytes}) {
      const std::size_t size = std::min<std::uint64_t>(limit, strings.size - offset);
      if (strings.offset + offset < offset) return {};
      const auto bytes = file.read_up_to(strings.offset + offset, size);
      const auto end = std::find(bytes.begin(), bytes.end(), std::byte{0});
      if (end == bytes.end()) continue;
      return {reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::size_t>(end - bytes.begin())};
    }
    return {};
  };
  return SymbolTable(symbols, name_at,
                     type == SHT_SYMTAB ? std::span{file.sections()} : SymbolTable::Sections{});
}

}  // namespace pyscope
