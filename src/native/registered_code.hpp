// Code that was made while the program runs, and that its maker has registered for debuggers. GDB's
// JIT interface ("JIT Compilation Interface" in its manual) is a list of ELF files in memory, each
// of which holds names and unwinding tables. LLVM registers all that its MCJIT makes (Numba),
// CPython from 3.15 on what its JIT makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "elf/symbol_table.hpp"
#include "native/eh_frame.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

class RegisteredCode {
 public:
  /// The variable that a list begins with: there may be one in each library.
  static constexpr const char* kDescriptor = "__jit_debug_descriptor";

  /// Bounds for all lists together: on the files, and on the bytes that are copied of the files
  /// that are asked about.
  static constexpr std::size_t kMaxFiles = 65'536;
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20U;

  /// Both must outlive it.
  RegisteredCode(const Memory& memory, const Log& log) : memory_(memory), log_(log) {}

  /// Adds the files of the list whose descriptor lies there. Invalid entries are left out: the
  /// process may be changing the list.
  void add_list(RemoteAddr descriptor);

  /// Whether a file of the lists holds the code at an address.
  [[nodiscard]] bool holds(RemoteAddr at) const { return file_of(at) != nullptr; }
  /// The function that an address lies in, by its name as it stands there; empty if none has it.
  [[nodiscard]] std::optional<FoundSymbol> find(RemoteAddr at);
  /// The unwinding table for an address, which may be empty; null if no file holds it.
  [[nodiscard]] const UnwindTable* unwind_table(RemoteAddr at);

 private:
  struct Contents {
    SymbolTable symbols;
    UnwindTable table;
  };
  struct File {
    RemoteAddr at;
    std::uint64_t size = 0;
    std::unique_ptr<Contents> contents;  // once they were asked for
  };
  struct Code {
    RemoteRange range;
    std::size_t file = 0;
  };

  void add_file(RemoteAddr at, std::uint64_t size);
  [[nodiscard]] const Code* file_of(RemoteAddr at) const;
  [[nodiscard]] Contents* contents_of(RemoteAddr at);
  [[nodiscard]] Contents read_contents(const File& file, RemoteAddr code);

  const Memory& memory_;
  const Log& log_;
  std::vector<File> files_;
  std::map<RemoteAddr, Code> code_;  // by where it begins
  std::uint64_t budget_ = kMaxBytes;
};

}  // namespace pyscope
