// The truth of native stacks is what other unwinders make of them: gdb and elfutils.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "support/interpreters.hpp"

namespace pyscope::test {

/// Where a native frame is: a place in a file. A caller is at its call, not behind it.
struct NativePlace {
  std::string module;  // by the target's maps; empty: none
  std::uint64_t offset = 0;
  std::string function = {};  // as the judge calls it; empty: not known. Not compared
  friend bool operator==(const NativePlace& a, const NativePlace& b) {
    return a.module == b.module && a.offset == b.offset;
  }
};

std::ostream& operator<<(std::ostream& out, const NativePlace& place);

using NativeStack = std::vector<NativePlace>;  // innermost first

/// What gdb says of all threads of a process, by tid. It stops the process for a moment. `root`
/// holds the process's files, as seen from here; `executable` is the path inside of it.
[[nodiscard]] std::map<pid_t, NativeStack> gdb_stacks(pid_t pid, const std::string& root,
                                                      const std::string& executable);

/// What eu-stack says; it finds the files only of processes without a root of their own.
[[nodiscard]] std::map<pid_t, NativeStack> eu_stacks(pid_t pid);

/// The native frames that a thread of a dump has.
[[nodiscard]] NativeStack native_stack(const nlohmann::json& thread);

}  // namespace pyscope::test
