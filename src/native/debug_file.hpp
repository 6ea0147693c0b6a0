// The file that a distribution has split the symbols and debug information of a program off into.
#pragma once

#include <memory>
#include <string>

#include "base/log.hpp"
#include "elf/elf_file.hpp"
#include "process/process.hpp"

namespace pyscope {

struct DebugFile {
  UniqueFd fd;
  ElfFile elf;  // of the descriptor
};

/// Looks by the build-id, then by .gnu_debuglink, in the usual places of the target's root and then
/// of ours. `path` is the program's as the target's maps name it. Only a file with the program's
/// build-id is taken, or where one of them has none, one whose sum is that of .gnu_debuglink. Null
/// if there is none.
[[nodiscard]] std::unique_ptr<DebugFile> open_debug_file(const Process& process,
                                                         const ElfFile& program,
                                                         const std::string& path, const Log& log);

}  // namespace pyscope
