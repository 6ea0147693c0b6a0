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
// Bound (bytes): what one `.gnu_debugdata` becomes
constexpr std::uint64_t kMaxMiniBytes = std::uint64_t{64} << 20U;

/// Numba puts the number and the options of a compilation where C++ has its tags:
/// app::total[abi:v1][abi:c8tJTIeFIjxB2IKSgI4CrvQClQZ6FczSBAA_3d](long long).
std::string without_tags(std::string name) {
  constexpr std::string_view kTag = "[abi:";
  for (std::size_t at = name.find(kTag); at != std::string::npos; at = name.find(kTag, at)) {
    const std::size_t end = name.find(']', at);
    if (end == std::string::npos) break;
    name.erase(at, end + 1 - at);
  }
  return name;
}

}  // namespace

/// One mapped file, with its names and lines. They are looked for once they are needed: in the
/// file, in a debug file, and in the process's memory if there is no file.
class NativeSymbols::Image {
 public:
  /// `process` is null where there is none.
  Image(const Mapping& mapping, const MappedImage* loaded, const Target& target,
        const Process* process, const Memory& memory, Budget& budget, const Log& log)
      : mapping_(mapping),
        loaded_(loaded),
        target_(target),
        process_(process),
        memory_(memory),
        budget_(budget),
        log_(log) {
    log("names of {}", mapping.path);
    if (mapping.inode != 0) open_file();
  }

  [[nodiscard]] const Mapping& mapping() const { return mapping_; }
  /// The image in memory; null if there is none.
  [[nodiscard]] const MappedImage* loaded() const { return loaded_; }
  /// Null if the file can't be opened.
  [[nodiscard]] const ElfFile* file() const { return file_.get(); }

  /// Fills in the facts about an address, as the file's headers count.
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
  void open_file() {
    std::vector<std::byte> head(kPageSize);
    if (loaded_ == nullptr || !memory_.read(loaded_->start, head)) head.clear();
    auto fd = target_.open_mapped_file(mapping_, head, log_);
    if (!fd) return;
    auto file = ElfFile::open(fd->get());
    if (!file) {
      log_("  {}", file.error().message);
      return;
    }
    // The file may have been overwritten since it was mapped.
    const auto in_memory =
        loaded_ != nullptr ? loaded_build_id(memory_, *loaded_) : std::vector<std::byte>();
    const auto in_file = file->build_id();
    if (!in_memory.empty() && !in_file.empty() && in_memory != in_file) {
      log_("  the file has another build-id than what is in memory");
      return;
    }
    fd_ = *std::move(fd);
    file_ = std::make_unique<ElfFile>(*std::move(file));
  }

  void read_symbols() {
    if (have_symbols_) return;
    have_symbols_ = true;
    if (file_) {
      symbols_.push_back(read_symbol_table(*file_, SHT_SYMTAB, budget_.symbols));
      read_mini_debug_information();
      has_symtab_ = !symbols_.front().empty();
      dynamic_symbols_ = read_symbol_table(*file_, SHT_DYNSYM, budget_.symbols);
    } else if (loaded_ != nullptr) {
      dynamic_symbols_ = loaded_symbols(memory_, *loaded_, budget_.symbols);
      log_("  {} dynamic symbols in memory", dynamic_symbols_.size());
    }
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
    read_symbols();
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
    read_symbols();
    if (looked_for_debug_file_ || !file_ || process_ == nullptr) return;
    looked_for_debug_file_ = true;
    debug_file_ = open_debug_file(*process_, *file_, mapping_.path, log_);
    if (debug_file_ && !has_symtab_)
      debug_symbols_ = read_symbol_table(debug_file_->elf, SHT_SYMTAB, budget_.symbols);
  }

  const Mapping& mapping_;
  const MappedImage* loaded_;
  const Target& target_;
  const Process* process_;
  const Memory& memory_;
  Budget& budget_;
  const Log& log_;
  UniqueFd fd_;
  std::unique_ptr<ElfFile> file_;
  std::unique_ptr<ElfFile> mini_;
  bool looked_for_debug_file_ = false;
  std::unique_ptr<DebugFile> debug_file_;
  bool have_symbols_ = false;
  bool has_symtab_ = false;
  std::vector<SymbolTable> symbols_;  // of the file and what it holds compressed
  SymbolTable debug_symbols_;
  SymbolTable dynamic_symbols_;
  std::optional<DebugLines> lines_;
};

NativeSymbols::NativeSymbols(const Target& target, MappedImages& images, const Log& log)
    : target_(target),
      process_(target.living() == nullptr ? nullptr : target.living()->process()),
      images_in_memory_(images),
      log_(log),
      registered_(images.memory(), log) {}

NativeSymbols::~NativeSymbols() = default;

NativeSymbols::Image& NativeSymbols::image_of(const Mapping& mapping) {
  for (const auto& image : images_) {
    if (image->mapping().same_file(mapping) && image->mapping().path == mapping.path) return *image;
  }
  images_.push_back(std::make_unique<Image>(mapping, images_in_memory_.find(mapping.range.start),
                                            target_, process_, images_in_memory_.memory(), budget_,
                                            log_));
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
  if (RegisteredCode* code = registered(pc)) {
    if (const auto found = code->find(pc)) {
      symbol.function = without_tags(demangle(found->name));
      symbol.function_offset = pc.raw() - found->address;
    }
  }
  if (symbol.function.empty()) find_in_perf_map(pc, symbol);
  return symbol;
}

RegisteredCode* NativeSymbols::registered(RemoteAddr at) {
  if (registered_.holds(at)) return &registered_;
  // Only code that lies in no file can be anybody's, and strings are long.
  const Mapping* mapping = images_in_memory_.mapping(at);
  if (mapping == nullptr || !mapping->executable || process_ == nullptr) return nullptr;
  if (!std::exchange(looked_for_exported_lists_, true)) find_lists(SHT_DYNSYM);
  if (registered_.holds(at)) return &registered_;
  if (!std::exchange(looked_for_all_lists_, true)) find_lists(SHT_SYMTAB);
  return registered_.holds(at) ? &registered_ : nullptr;
}

void NativeSymbols::find_lists(std::uint32_t symbol_table) {
  log_("code that no file holds: looking for {} in all files", RegisteredCode::kDescriptor);
  for (const Mapping& mapping : images_in_memory_.maps()) {
    if (!mapping.executable || mapping.inode == 0) continue;
    Image& image = image_of(mapping);
    if (image.file() == nullptr || image.loaded() == nullptr) continue;
    const auto address =
        find_variable(*image.file(), symbol_table, RegisteredCode::kDescriptor, budget_.strings);
    if (!address) continue;
    const RemoteAddr list = image.loaded()->in_memory(*address);
    if (lists_.insert(list).second) registered_.add_list(list);
  }
}

const UnwindTable* NativeSymbols::registered_unwind_table(RemoteAddr at) {
  RegisteredCode* code = registered(at);
  return code == nullptr ? nullptr : code->unwind_table(at);
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
