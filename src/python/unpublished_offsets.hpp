// Recognises the _PyRuntime of a CPython that publishes no offsets (3.12 and older): by the offsets
// that are built in for each such version, and by what the structures that they lead to must hold.
#pragma once

#include <optional>

#include "pyscope/memory.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// The offsets of the interpreter whose _PyRuntime lies at this address. Its version is what the
/// interpreter itself has as sys.hexversion. `expected`: the version in the symbol Py_Version,
/// where that is known; the two must agree. Fails with Unsupported where no interpreter runs, and
/// for a pre-release; with Malformed where the structures of no version fit, which says why.
[[nodiscard]] Result<DebugOffsets> identify_runtime(const Memory& memory, RemoteAddr runtime,
                                                    const std::optional<PythonVersion>& expected);

/// Whether a _PyRuntime that was recognised before is still one: its main interpreter refers to it,
/// or it has none any more.
[[nodiscard]] bool is_same_runtime(const Memory& memory, RemoteAddr runtime,
                                   const DebugOffsets& offsets);

}  // namespace pyscope
