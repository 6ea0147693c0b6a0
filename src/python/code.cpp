#include "python/code.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "python/location_table.hpp"

namespace pyscope {
namespace {

// Far above real code: a function of a million lines has a table of a few MiB.
constexpr std::size_t kMaxLocationTable = std::size_t{16} << 20U;
constexpr std::uint64_t kMaxCodeUnits = std::uint64_t{1} << 28U;
constexpr std::uint64_t kStrPrefetch = 160;

}  // namespace

void CodeTable::load(std::vector<RemoteAddr> codes) {
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  std::erase_if(codes, [&](RemoteAddr at) { return entries_.contains(at.raw()); });

  const DebugOffsets& offsets = reader_.offsets();
  reader_.prefetch(codes, offsets[Field::CodeSize]);
  std::vector<RemoteAddr> parts;
  for (const RemoteAddr code : codes) {
    for (const Field field :
         {Field::CodeFilename, Field::CodeName, Field::CodeQualname, Field::CodeLinetable}) {
      if (const auto part = reader_.pointer(code, field)) parts.push_back(*part);
    }
  }
  reader_.prefetch(parts, kStrPrefetch);
  for (const RemoteAddr code : codes) {
    auto loaded = read(code);
    if (!loaded) {
      entries_[code.raw()].entry.error = loaded.error().message;
      continue;
    }
    loaded->entry.index = static_cast<std::uint32_t>(order_.size());
    order_.push_back(code.raw());
    entries_.emplace(code.raw(), *std::move(loaded));
  }
}

Result<CodeTable::Loaded> CodeTable::read(RemoteAddr code) const {
  const auto type = reader_.type_of(code);
  if (!type) return fail("code object", type.error());
  const auto name = *type ? reader_.type_name(*type) : std::string{};
  if (!name) return fail("code object", name.error());
  if (*name != "code") {
    return fail(ErrorKind::Malformed,
                fmt::format("what the frame runs, at {:#x}, is no code object", code.raw()));
  }
  Loaded loaded;
  Entry& entry = loaded.entry;
  const auto read_name = [&](Field field, std::string& into) -> Result<void> {
    const auto at = reader_.pointer(code, field);
    if (!at) return fail(at.error());
    auto text = read_str(reader_, *at);
    if (!text) return fail(std::move(text).error());
    into = *std::move(text);
    return {};
  };
  if (auto ok = read_name(Field::CodeName, entry.code.function); !ok) {
    return fail("co_name", ok.error());
  }
  if (auto ok = read_name(Field::CodeQualname, entry.code.qualified_name); !ok) {
    return fail("co_qualname", ok.error());
  }
  if (auto ok = read_name(Field::CodeFilename, entry.code.file); !ok) {
    return fail("co_filename", ok.error());
  }
  const auto first_line = reader_.field<std::int32_t>(code, Field::CodeFirstlineno);
  const auto units = reader_.value<std::uint64_t>(code, reader_.layout().code_units);
  const auto first_traceable =
      reader_.value<std::int32_t>(code, reader_.layout().code_first_traceable);
  const auto table_at = reader_.pointer(code, Field::CodeLinetable);
  if (!first_line) return fail("co_firstlineno", first_line.error());
  if (!units) return fail("code object", units.error());
  if (!first_traceable) return fail("code object", first_traceable.error());
  if (!table_at) return fail("co_linetable", table_at.error());
  if (*units > kMaxCodeUnits) {
    return fail(ErrorKind::Malformed, fmt::format("a code object of {} code units", *units));
  }
  auto table = read_bytes(reader_, *table_at, kMaxLocationTable);
  if (!table) return fail("co_linetable", table.error());
  entry.code.first_line = *first_line;
  entry.units = *units;
  entry.first_traceable = *first_traceable;
  entry.first_unit = code + reader_.offsets()[Field::CodeCoCodeAdaptive];
  loaded.table = *std::move(table);
  return loaded;
}

Result<std::uint64_t> CodeTable::unit_of(const Entry& entry, RemoteAddr instruction) {
  const std::uint64_t offset = instruction.raw() - entry.first_unit.raw();
  if (instruction < entry.first_unit || offset % 2 != 0 || offset / 2 >= entry.units) {
    return fail(ErrorKind::Malformed,
                fmt::format("the instruction pointer {:#x} is not within the code of {}",
                            instruction.raw(), entry.code.qualified_name));
  }
  return offset / 2;
}

const CodeTable::Location& CodeTable::location(RemoteAddr code, std::uint64_t unit) {
  Loaded& loaded = entries_.at(code.raw());
  const auto [known, fresh] = loaded.locations.try_emplace(unit);
  if (fresh) {
    auto found = find_location(loaded.table, loaded.entry.code.first_line, unit);
    if (found) {
      known->second.position = *found;
    } else {
      known->second.error = found.error().message;
    }
  }
  return known->second;
}

std::vector<Code> CodeTable::codes() const {
  std::vector<Code> codes;
  codes.reserve(order_.size());
  for (const std::uint64_t address : order_)
    codes.push_back(entries_.at(address).entry.code);
  return codes;
}

}  // namespace pyscope
