// co_exceptiontable: which handler an exception goes to, and how much of the evaluation stack
// stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pyscope/error.hpp"

namespace pyscope {

/// Code units from `start` to `end`, exclusive, are covered by the handler at `handler`.
struct ExceptionEntry {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t handler = 0;
  std::uint64_t depth = 0;  // of the evaluation stack that the handler finds beneath the exception
  friend bool operator==(const ExceptionEntry&, const ExceptionEntry&) = default;
};

/// Decodes the table of a code object of so many code units (Objects/exception_handling_notes.txt,
/// the same in 3.11 to 3.15). Fails with Malformed for one that no compiler made: numbers cut off
/// or too large, entries that overlap, are not in ascending order or lie outside of the code.
[[nodiscard]] Result<std::vector<ExceptionEntry>> decode_exception_table(
    std::span<const std::byte> table, std::uint64_t units);

/// The handlers that a code unit is within, as indices of entries, the innermost first. The table
/// names only the innermost one: the next is the one that covers that one's own code.
[[nodiscard]] std::vector<std::size_t> handlers_around(std::span<const ExceptionEntry> entries,
                                                       std::uint64_t unit);

}  // namespace pyscope
