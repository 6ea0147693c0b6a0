#include "python/exception_table.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace pyscope {
namespace {

/// Six bits a byte, the highest first. Bit 6 says that more follow; bit 7 marks the first byte of
/// an entry.
std::optional<std::uint64_t> read_number(std::span<const std::byte>& rest) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 32U;
  std::uint64_t number = 0;
  while (!rest.empty()) {
    const auto byte = static_cast<unsigned>(rest.front());
    rest = rest.subspan(1);
    number = number << 6U | (byte & 0x3FU);
    if (number > kMost) return std::nullopt;
    if ((byte & 0x40U) == 0) return number;
  }
  return std::nullopt;
}

const ExceptionEntry* find_entry(std::span<const ExceptionEntry> entries, std::uint64_t unit) {
  const auto after = std::upper_bound(
      entries.begin(), entries.end(), unit,
      [](std::uint64_t at, const ExceptionEntry& entry) { return at < entry.start; });
  if (after == entries.begin()) return nullptr;
  const ExceptionEntry& entry = *(after - 1);
  return unit < entry.end ? &entry : nullptr;
}

}  // namespace

Result<std::vector<ExceptionEntry>> decode_exception_table(std::span<const std::byte> table,
                                                           std::uint64_t units) {
  std::vector<ExceptionEntry> entries;
  while (!table.empty()) {
    const auto start = read_number(table);
    const auto size = start ? read_number(table) : std::nullopt;
    const auto handler = size ? read_number(table) : std::nullopt;
    const auto depth = handler ? read_number(table) : std::nullopt;
    const std::uint64_t last_end = entries.empty() ? 0 : entries.back().end;
    if (!depth || *start < last_end || *start > units || *size > units - *start ||
        *handler >= units) {
      return fail(ErrorKind::Malformed,
                  fmt::format("entry {} of an exception table makes no sense", entries.size()));
    }
    // The lowest bit says whether the handler also finds the instruction's number.
    entries.push_back({*start, *start + *size, *handler, *depth >> 1U});
  }
  return entries;
}

std::vector<std::size_t> handlers_around(std::span<const ExceptionEntry> entries,
                                         std::uint64_t unit) {
  // No compiled code nests deeper (CO_MAXBLOCKS is 20, and each block has up to two handlers).
  // Bound: handlers around an instruction
  constexpr std::size_t kMost = 64;
  std::vector<std::size_t> around;
  while (around.size() < kMost) {
    const ExceptionEntry* entry = find_entry(entries, unit);
    if (entry == nullptr) break;
    const auto index = static_cast<std::size_t>(entry - entries.data());
    // A table that isn't a compiler's may lead round in a circle.
    if (std::find(around.begin(), around.end(), index) != around.end()) break;
    around.push_back(index);
    unit = entry->handler;
  }
  return around;
}

}  // namespace pyscope
