// Where an interpreter and its threads keep their tasks of asyncio: _AsyncioDebug, which 3.14 and
// later publish in the section .AsyncioDebug of the extension module _asyncio, or of the executable
// where that module is part of it (Modules/_asynciomodule.c). 3.13 has no such lists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "pyscope/error.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

struct AsyncioLists {
  /// Bytes of the published table: 13 words.
  static constexpr std::size_t kSize = 104;
  static constexpr const char* kSection = ".AsyncioDebug";

  std::uint64_t interpreter_tasks = 0;  // in an interpreter state: the head of a list
  std::uint64_t thread_tasks = 0;       // in a thread state: the head of a list
  std::uint64_t running_loop = 0;       // in a thread state
  std::uint64_t running_task = 0;       // in a thread state; means something only beside a loop

  /// Fails with Malformed for a table that isn't that of the interpreter with these offsets: sizes
  /// that differ, offsets outside of their structures.
  [[nodiscard]] static Result<AsyncioLists> decode(std::span<const std::byte, kSize> table,
                                                   const DebugOffsets& offsets);
};

}  // namespace pyscope
