// Names of native code: from a program counter to a function, a module and a line of source. Files
// of the target are opened by what is mapped, and only once a program counter lies in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "elf/dwarf.hpp"
#include "elf/elf_image.hpp"
#include "native/mapped_images.hpp"
#include "native/perf_map.hpp"
#include "native/registered_code.hpp"
#include "process/maps.hpp"
#include "process/process.hpp"
#include "pyscope/address.hpp"
#include "target/target.hpp"

namespace pyscope {

/// The facts about one program counter.
struct NativeSymbol {
  std::string function;               // demangled; empty: not known
  std::uint64_t function_offset = 0;  // of the program counter from the function's begin
  /// The path of the file as the target's maps name it, "[vdso]", or empty if nothing is known.
  /// For code that was compiled while the program runs, the file that names it (/tmp/perf-PID.map).
  std::string module;
  /// The program counter as an address in the module's file (less the load bias), as addr2line
  /// takes it. For code outside of all modules, the address in memory.
  std::uint64_t offset = 0;
  std::string file;  // of the source, if debug information tells
  int line = 0;      // 0: not known
};

class NativeSymbols {
 public:
  /// All must outlive this. Where the target isn't alive, only what its memory and the files behind
  /// its mappings hold is used.
  NativeSymbols(const Target& target, MappedImages& images, const Log& log);
  NativeSymbols(const NativeSymbols&) = delete;
  NativeSymbols& operator=(const NativeSymbols&) = delete;
  ~NativeSymbols();

  /// `pc` must lie within the instruction that is meant: for a caller that is its return address
  /// less one. Reads files when it is first asked about a module.
  [[nodiscard]] NativeSymbol find(RemoteAddr pc);

  /// A section of the file that an address lies in, for what memory doesn't tell. Empty if the file
  /// can't be had, or has none of that name.
  [[nodiscard]] std::optional<ElfSection> section_of_file(RemoteAddr at, const char* name);

  /// The table for code that was made while the program runs, if its maker has registered it for
  /// debuggers; else null.
  [[nodiscard]] const UnwindTable* registered_unwind_table(RemoteAddr at);

 private:
  class Image;
  /// How much may be read to find names, of all files together. So the cost in memory and time is
  /// bounded, however many files a hostile process has mapped.
  struct Budget {
    // Bound (bytes): symbol tables of a process
    std::uint64_t symbols = std::uint64_t{256} << 20U;  // bytes of symbol tables
    std::uint64_t strings = std::uint64_t{64} << 20U;   // bytes that are searched for a name
    // Bound (bytes): what all `.gnu_debugdata` of a process become
    std::uint64_t mini = std::uint64_t{256} << 20U;  // bytes that .gnu_debugdata is inflated to
    DebugBudget debug;
  };

  [[nodiscard]] Image& image_of(const Mapping& mapping);
  /// Null if none is registered.
  [[nodiscard]] RegisteredCode* registered(RemoteAddr at);
  void find_lists(std::uint32_t symbol_table);
  void find_in_perf_map(RemoteAddr pc, NativeSymbol& symbol);

  const Target& target_;
  const Process*
      process_;  // null: there is none, and so no debug files and no map of compiled code
  MappedImages& images_in_memory_;
  const Log& log_;
  /// One for each file, however often it is mapped: addresses in it are its own.
  std::vector<std::unique_ptr<Image>> images_;
  Budget budget_;
  RegisteredCode registered_;
  std::set<RemoteAddr> lists_;              // that have been read
  bool looked_for_exported_lists_ = false;  // then for the others
  bool looked_for_all_lists_ = false;
  std::optional<PerfMap> perf_map_;
  std::map<RemoteAddr, NativeSymbol> known_;
};

}  // namespace pyscope
