// Finds the separate file in which a distribution keeps a program's symbols and debug information.
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
/// of ours. `path` is the program's path in the target's maps. Only a file with the program's
/// build-id is taken; if one of the two has no build-id, the file's checksum must be the one in
/// .gnu_debuglink. Null if there is no such file.
[[nodiscard]] std::unique_ptr<DebugFile> open_debug_file(const Process& process,
                                                         const ElfFile& program,
                                                         const std::string& path, const Log& log);

}  // namespace pyscope
