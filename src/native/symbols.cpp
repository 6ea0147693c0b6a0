#include "native/symbols.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "elf/debug_lines.hpp"
#include "elf/decompress.hpp"
#include "elf/elf_file.hpp"
#include "elf/symbol_table.hpp"
#include "native/debug_file.hpp"
#include "native/demangle.hpp"
#include "native/loaded_elf.hpp"

namespace pyscope {
namespace {

constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t kMaxCompressedBytes = std::uint64_t{16} << 20U;  // of .gnu_debugdata
constexpr std::uint64_t kMaxMiniBytes = std::uint64_t{64} << 20U;

}  // namespace

/// One file that is mapped, with what can be found out of it. What that takes is looked for once it
/// is needed: in the file, in a debug file, and in the process's memory where there is no file.
class NativeSymbols::Image {
 public:
  Image(const Mapping& mapping, const MappedImage* loaded, const Process* process,
        const Memory& memory, Budget& budget, const Log& log)
      : mapping_(mapping), process_(process), budget_(budget), log_(log) {
    log("names of {}", mapping.path);
    if (process != nullptr && mapping.inode != 0) open_file(memory, loaded);
    if (file_) {
      symbols_.push_back(read_symbol_table(*file_, SHT_SYMTAB, budget_.symbols));
      read_mini_debug_information();
      has_symtab_ = !symbols_.front().empty();
      dynamic_symbols_ = read_symbol_table(*file_, SHT_DYNSYM, budget_.symbols);
    } else if (loaded != nullptr) {
      dynamic_symbols_ = loaded_symbols(memory, *loaded, budget_.symbols);
      log("  {} dynamic symbols in memory", dynamic_symbols_.size());
    }
  }

  [[nodiscard]] const Mapping& mapping() const { return mapping_; }
  /// Null if it can't be had.
  [[nodiscard]] const ElfFile* file() const { return file_.get(); }

  /// Puts in what is known of an address, as the file's headers count.
  void describe(std::uint64_t address, NativeSymbol& symbol) {
    symbol.offset = address;
    if (const auto found = find_function(address)) {
      symbol.function = demangle(found->name);
      symbol.function_offset = address - found->address;
    }
    if (auto line = find_line(address)) {
      symbol.file = std::move(line->file);
      symbol.line = line->line;
    }
  }

 private:
  void open_file(const Memory& memory, const MappedImage* loaded) {
    std::vector<std::byte> head(kPageSize);
    if (loaded == nullptr || !memory.read(loaded->start, head)) head.clear();
    auto fd = process_->open_mapped_file(mapping_, head, log_);
    if (!fd) return;
    auto file = ElfFile::open(fd->get());
    if (!file) {
      log_("  {}", file.error().message);
      return;
    }
    // The file may have been written anew in its place since it was mapped.
    const auto in_memory =
        loaded != nullptr ? loaded_build_id(memory, *loaded) : std::vector<std::byte>();
    const auto in_file = file->build_id();
    if (!in_memory.empty() && !in_file.empty() && in_memory != in_file) {
      log_("  the file has another build-id than what is in memory");
      return;
    }
    fd_ = *std::move(fd);
    file_ = std::make_unique<ElfFile>(*std::move(file));
  }

  /// Where .symtab is stripped, Fedora and others leave one of the functions alone, compressed.
  void read_mini_debug_information() {
    const ElfSectionHeader* section = file_->section(".gnu_debugdata");
    if (section == nullptr) return;
    auto bytes = decode_xz(file_->contents(*section, kMaxCompressedBytes),
                           std::min(kMaxMiniBytes, budget_.mini));
    budget_.mini -= bytes.size();
    auto mini = ElfFile::open(std::move(bytes));
    if (!mini) return;
    mini_ = std::make_unique<ElfFile>(*std::move(mini));
    symbols_.push_back(read_symbol_table(*mini_, SHT_SYMTAB, budget_.symbols));
    log_("  {} symbols in .gnu_debugdata", symbols_.back().size());
  }

  [[nodiscard]] std::optional<FoundSymbol> find_function(std::uint64_t address) {
    for (const SymbolTable& table : symbols_) {
      if (auto found = table.find(address)) return found;
    }
    if (!has_symtab_) {
      look_for_debug_file();
      if (auto found = debug_symbols_.find(address)) return found;
    }
    return dynamic_symbols_.find(address);
  }

  [[nodiscard]] std::optional<SourcePosition> find_line(std::uint64_t address) {
    if (!file_) return std::nullopt;
    if (!lines_) {
      if (DebugLines::are_in(*file_)) {
        lines_.emplace(*file_, budget_.debug);
      } else {
        look_for_debug_file();
        if (!debug_file_) return std::nullopt;
        lines_.emplace(debug_file_->elf, budget_.debug);
      }
    }
    return lines_->find(address);
  }

  void look_for_debug_file() {
    if (looked_for_debug_file_ || !file_) return;
    looked_for_debug_file_ = true;
    debug_file_ = open_debug_file(*process_, *file_, mapping_.path, log_);
    if (debug_file_ && !has_symtab_)
      debug_symbols_ = read_symbol_table(debug_file_->elf, SHT_SYMTAB, budget_.symbols);
  }

  const Mapping& mapping_;
  const Process* process_;
  Budget& budget_;
  const Log& log_;
  UniqueFd fd_;
  std::unique_ptr<ElfFile> file_;
  std::unique_ptr<ElfFile> mini_;
  bool looked_for_debug_file_ = false;
  std::unique_ptr<DebugFile> debug_file_;
  bool has_symtab_ = false;
  std::vector<SymbolTable> symbols_;  // of the file and what it holds compressed
  SymbolTable debug_symbols_;
  SymbolTable dynamic_symbols_;
  std::optional<DebugLines> lines_;
};

NativeSymbols::NativeSymbols(const Process* process, MappedImages& images, const Log& log)
    : process_(process), images_in_memory_(images), log_(log) {}

NativeSymbols::~NativeSymbols() = default;

NativeSymbols::Image& NativeSymbols::image_of(const Mapping& mapping) {
  for (const auto& image : images_) {
    if (image->mapping().same_file(mapping) && image->mapping().path == mapping.path) return *image;
  }
  images_.push_back(std::make_unique<Image>(mapping, images_in_memory_.find(mapping.range.start),
                                            process_, images_in_memory_.memory(), budget_, log_));
  return *images_.back();
}

std::optional<ElfSection> NativeSymbols::section_of_file(RemoteAddr at, const char* name) {
  const Mapping* mapping = images_in_memory_.mapping(at);
  const ElfFile* file = mapping == nullptr ? nullptr : image_of(*mapping).file();
  const ElfSectionHeader* section = file == nullptr ? nullptr : file->section(name);
  if (section == nullptr || (section->flags & SHF_ALLOC) == 0) return std::nullopt;
  return ElfSection{section->name, section->address, section->size};
}

NativeSymbol NativeSymbols::find(RemoteAddr pc) {
  const auto [known, is_new] = known_.try_emplace(pc);
  if (!is_new) return known->second;
  NativeSymbol& symbol = known->second;
  symbol.offset = pc.raw();
  const Mapping* mapping = images_in_memory_.mapping(pc);
  if (mapping == nullptr) return symbol;
  if (mapping->inode != 0 || mapping->path == "[vdso]") {
    symbol.module = mapping->path;
    symbol.offset = pc.raw() - mapping->range.start.raw() + mapping->file_offset;
    Image& image = image_of(*mapping);
    // By the headers in memory, which are there where the file isn't: for the vdso, in a recording.
    const MappedImage* loaded = images_in_memory_.find(pc);
    const ElfFile* file = image.file();
    const std::optional<std::uint64_t> address = loaded != nullptr
                                                     ? std::optional(loaded->in_file(pc))
                                                 : file != nullptr ? file->address_of(symbol.offset)
                                                                   : std::nullopt;
    if (address) image.describe(*address, symbol);
    if (loaded != nullptr || file != nullptr) return symbol;
  }
  find_in_perf_map(pc, symbol);
  return symbol;
}

void NativeSymbols::find_in_perf_map(RemoteAddr pc, NativeSymbol& symbol) {
  if (process_ == nullptr) return;
  if (!perf_map_) perf_map_ = read_perf_map(*process_, log_);
  const auto entry = perf_map_->find(pc.raw());
  if (!entry) return;
  symbol.function = entry->name;
  symbol.function_offset = pc.raw() - entry->start;
  symbol.module = perf_map_path(*process_);
  symbol.offset = pc.raw();
}

}  // namespace pyscope
