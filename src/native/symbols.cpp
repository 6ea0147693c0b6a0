#include "native/symbols.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "elf/elf_file.hpp"
#include "elf/symbol_table.hpp"
#include "native/demangle.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kPageSize = 4096;

}  // namespace

/// One file that is mapped, with what can be found out of it.
class NativeSymbols::Image {
 public:
  Image(const Mapping& mapping, const Mapping* first_page, const Process* process,
        const Memory& memory, const Log& log)
      : mapping_(mapping) {
    std::vector<std::byte> head(kPageSize);
    if (first_page == nullptr || !memory.read(first_page->range.start, head)) head.clear();
    log("names of {}", mapping.path);
    if (process == nullptr) return;
    auto fd = process->open_mapped_file(mapping, head, log);
    if (!fd) return;
    fd_ = *std::move(fd);
    auto file = ElfFile::open(fd_.get());
    if (!file) {
      log("  {}", file.error().message);
      return;
    }
    file_ = std::make_unique<ElfFile>(*std::move(file));
    symbols_ = read_symbol_table(*file_, SHT_SYMTAB);
    dynamic_symbols_ = read_symbol_table(*file_, SHT_DYNSYM);
  }

  [[nodiscard]] const Mapping& mapping() const { return mapping_; }

  [[nodiscard]] NativeSymbol find(const Mapping& mapping, RemoteAddr pc) const {
    NativeSymbol symbol;
    symbol.module = mapping.path;
    symbol.offset = pc.raw() - mapping.range.start.raw() + mapping.file_offset;
    if (!file_) return symbol;
    const auto address = file_->address_of(symbol.offset);
    if (!address) return symbol;
    symbol.offset = *address;
    auto found = symbols_.find(*address);
    if (!found) found = dynamic_symbols_.find(*address);
    if (!found) return symbol;
    symbol.function = demangle(found->name);
    symbol.function_offset = *address - found->address;
    return symbol;
  }

 private:
  const Mapping& mapping_;
  UniqueFd fd_;
  std::unique_ptr<ElfFile> file_;
  SymbolTable symbols_;
  SymbolTable dynamic_symbols_;
};

NativeSymbols::NativeSymbols(const Process* process, const Memory& memory,
                             std::span<const Mapping> maps, const Log& log)
    : process_(process), memory_(memory), log_(log) {
  for (const Mapping& mapping : maps)
    mappings_.push_back(&mapping);
  std::stable_sort(mappings_.begin(), mappings_.end(), [](const Mapping* a, const Mapping* b) {
    return a->range.start < b->range.start;
  });
}

NativeSymbols::~NativeSymbols() = default;

const Mapping* NativeSymbols::mapping_of(RemoteAddr pc) const {
  const auto after =
      std::upper_bound(mappings_.begin(), mappings_.end(), pc,
                       [](RemoteAddr at, const Mapping* m) { return at < m->range.start; });
  if (after == mappings_.begin() || !(*std::prev(after))->range.contains(pc)) return nullptr;
  return *std::prev(after);
}

NativeSymbols::Image& NativeSymbols::image_of(const Mapping& mapping) {
  for (const auto& image : images_) {
    if (image->mapping().same_file(mapping) && image->mapping().path == mapping.path) return *image;
  }
  const auto first = std::find_if(mappings_.begin(), mappings_.end(), [&](const Mapping* other) {
    return other->same_file(mapping) && other->file_offset == 0;
  });
  images_.push_back(std::make_unique<Image>(mapping, first == mappings_.end() ? nullptr : *first,
                                            process_, memory_, log_));
  return *images_.back();
}

NativeSymbol NativeSymbols::find(RemoteAddr pc) {
  const auto [known, is_new] = known_.try_emplace(pc);
  if (!is_new) return known->second;
  NativeSymbol& symbol = known->second;
  symbol.offset = pc.raw();
  const Mapping* mapping = mapping_of(pc);
  if (mapping == nullptr) return symbol;
  if (mapping->inode != 0) symbol = image_of(*mapping).find(*mapping, pc);
  return symbol;
}

}  // namespace pyscope
