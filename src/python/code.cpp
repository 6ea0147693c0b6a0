#include "python/code.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "python/location_table.hpp"

namespace pyscope {
namespace {

// Far above real code: a function of a million lines has a table of a few MiB.
// Bound (bytes): location table
constexpr std::size_t kMaxLocationTable = std::size_t{16} << 20U;
constexpr std::uint64_t kMaxCodeUnits = std::uint64_t{1} << 28U;
constexpr std::uint64_t kCodeStringPrefetch = 160;

}  // namespace

std::uint64_t CodeIdentity::size(const DebugOffsets& offsets) {
  std::uint64_t end = 0;
  for (const Field field :
       {Field::CodeObSize, Field::CodeVersion, Field::CodeFilename, Field::CodeName,
        Field::CodeQualname, Field::CodeLinetable, Field::CodeFirstlineno}) {
    if (offsets.has(field)) end = std::max(end, offsets[field] + 8);
  }
  return end;
}

CodeIdentity CodeIdentity::decode(const DebugOffsets& offsets, std::span<const std::byte> bytes) {
  const auto pointer = [&](Field field) {
    return RemoteAddr{value_in<std::uint64_t>(bytes, offsets[field])};
  };
  // 3.11 has no versions of code.
  const std::uint32_t version = offsets.has(Field::CodeVersion)
                                    ? value_in<std::uint32_t>(bytes, offsets[Field::CodeVersion])
                                    : 0;
  return {.type = pointer(Field::ObjectObType),
          .units = value_in<std::uint64_t>(bytes, offsets[Field::CodeObSize]),
          .file = pointer(Field::CodeFilename),
          .name = pointer(Field::CodeName),
          .qualified_name = pointer(Field::CodeQualname),
          .location_table = pointer(Field::CodeLinetable),
          .first_line = value_in<std::int32_t>(bytes, offsets[Field::CodeFirstlineno]),
          .version = version};
}

bool CodeTable::knows(RemoteAddr code) const {
  const auto found = entries_.find(code.raw());
  return found != entries_.end() && loaded_[found->second].entry.error.empty() &&
         loaded_[found->second].snapshot == snapshot_;
}

void CodeTable::begin_snapshot() {
  ++snapshot_;
  order_.clear();
  // A program that makes code all the time mustn't make this grow for ever.
  constexpr std::size_t kMostKept = 100'000;
  search_left_ = std::min(search_left_ + kSearchedInNext, kMostSearched);
  if (loaded_.size() <= kMostKept && budget_.left >= kMostText / 2) return;
  entries_.clear();
  loaded_.clear();
  budget_.left = kMostText;
}

std::unordered_set<std::uint64_t> CodeTable::replaced(const std::vector<RemoteAddr>& codes) const {
  const std::uint64_t size = CodeIdentity::size(offsets_);
  std::vector<std::byte> bytes(codes.size() * size);
  std::vector<ReadRequest> requests;
  requests.reserve(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    requests.push_back({codes[i], std::span{bytes}.subspan(i * size, size)});
  memory_.read_many(requests);
  std::unordered_set<std::uint64_t> others;
  for (const ReadRequest& request : requests) {
    if (request.status != ReadStatus::Ok ||
        CodeIdentity::decode(offsets_, request.out) != identity(request.at)) {
      others.insert(request.at.raw());
    }
  }
  return others;
}

void CodeTable::load(std::vector<RemoteAddr> codes) {
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  std::erase_if(codes, [&](RemoteAddr at) { return knows(at); });
  confirm(codes);
  std::erase_if(codes, [&](RemoteAddr at) { return knows(at); });
  if (codes.empty()) return;

  // Read apart from what was cached before: code may have been made since.
  const PageCache cache(memory_);
  const Reader reader(cache, offsets_, &budget_);
  reader.prefetch(codes, offsets_[Field::CodeSize]);
  std::vector<RemoteAddr> parts;
  for (const RemoteAddr code : codes) {
    for (const Field field :
         {Field::CodeFilename, Field::CodeName, Field::CodeQualname, Field::CodeLinetable}) {
      if (const auto part = reader.pointer(code, field)) parts.push_back(*part);
    }
  }
  reader.prefetch(parts, kCodeStringPrefetch);
  Strings strings;
  for (const RemoteAddr code : codes) {
    entries_[code.raw()] = loaded_.size();
    auto loaded = read(reader, code, strings);
    if (!loaded) {
      loaded_.emplace_back().entry.error = loaded.error().message;
      continue;
    }
    loaded_.push_back(*std::move(loaded));
    add(loaded_.back(), loaded_.size() - 1);
  }
}

void CodeTable::add(Loaded& loaded, std::size_t place) {
  loaded.snapshot = snapshot_;
  loaded.entry.index = static_cast<std::uint32_t>(order_.size());
  order_.push_back(place);
}

void CodeTable::confirm(const std::vector<RemoteAddr>& codes) {
  std::vector<RemoteAddr> earlier;
  for (const RemoteAddr code : codes) {
    const auto found = entries_.find(code.raw());
    if (found != entries_.end() && loaded_[found->second].entry.error.empty())
      earlier.push_back(code);
  }
  if (earlier.empty()) return;
  const auto others = replaced(earlier);
  for (const RemoteAddr code : earlier) {
    if (others.contains(code.raw())) continue;
    const std::size_t place = entries_.at(code.raw());
    add(loaded_[place], place);
  }
}

void CodeTable::reload(const std::unordered_set<std::uint64_t>& codes) {
  std::vector<RemoteAddr> unknown;
  for (const std::uint64_t code : codes) {
    entries_.erase(code);
    unknown.emplace_back(code);
  }
  load(std::move(unknown));
}

Result<CodeTable::Loaded> CodeTable::read(const Reader& reader, RemoteAddr code, Strings& strings) {
  std::vector<std::byte> bytes(CodeIdentity::size(reader.offsets()));
  if (auto ok = reader.memory().read(code, bytes); !ok) return fail("code object", ok.error());
  Loaded loaded;
  loaded.identity = CodeIdentity::decode(reader.offsets(), bytes);
  const CodeIdentity& identity = loaded.identity;
  const auto name =
      identity.type.is_plausible_pointer() ? reader.type_name(identity.type) : std::string{};
  if (!name) return fail("code object", name.error());
  if (*name != "code") {
    return fail(ErrorKind::Malformed,
                fmt::format("what the frame runs, at {:#x}, is no code object", code.raw()));
  }
  if (identity.units > kMaxCodeUnits) {
    return fail(ErrorKind::Malformed,
                fmt::format("a code object of {} code units", identity.units));
  }
  Entry& entry = loaded.entry;
  const auto read_name = [&](std::string_view what, RemoteAddr at,
                             std::string& into) -> Result<void> {
    const bool known = strings.contains(at.raw());
    if (!known) strings.emplace(at.raw(), read_str(reader, at));
    const Result<std::string>& text = strings.at(at.raw());
    if (!text) return fail(what, text.error());
    // Reading it has spent what one copy takes. Each code object keeps a copy of its own.
    if (known) {
      if (auto ok = reader.spend(text->size()); !ok) return fail(what, ok.error());
    }
    into = *text;
    return {};
  };
  if (auto ok = read_name("co_name", identity.name, entry.code.function); !ok) {
    return fail(std::move(ok).error());
  }
  if (auto ok = read_name("co_qualname", identity.qualified_name, entry.code.qualified_name); !ok) {
    return fail(std::move(ok).error());
  }
  if (auto ok = read_name("co_filename", identity.file, entry.code.file); !ok) {
    return fail(std::move(ok).error());
  }
  const auto first_traceable = reader.field<std::int32_t>(code, Field::CodeFirsttraceable);
  if (!first_traceable) return fail("code object", first_traceable.error());
  if (!identity.location_table.is_plausible_pointer()) {
    return fail(ErrorKind::Malformed,
                fmt::format("co_linetable: {:#x} is not an object", identity.location_table.raw()));
  }
  auto table = read_bytes(reader, identity.location_table, kMaxLocationTable);
  if (!table) return fail("co_linetable", table.error());
  entry.code.first_line = identity.first_line;
  entry.units = identity.units;
  entry.first_traceable = *first_traceable;
  loaded.table = *std::move(table);
  return loaded;
}

const CodeTable::Location& CodeTable::location(RemoteAddr code, std::uint64_t unit) {
  Loaded& loaded = loaded_[entries_.at(code.raw())];
  if (const auto known = loaded.locations.find(unit); known != loaded.locations.end()) {
    return known->second;
  }
  if (loaded.table.size() > search_left_) {
    not_searched_.error =
        "its line was not looked up: too many bytes of location tables were searched";
    return not_searched_;
  }
  search_left_ -= loaded.table.size();
  const auto known = loaded.locations.try_emplace(unit).first;
  const auto found = find_location(loaded.table, loaded.entry.code.first_line, unit);
  if (found) {
    known.value().position = *found;
  } else {
    known.value().error = found.error().message;
  }
  return known->second;
}

std::vector<Code> CodeTable::codes() const {
  std::vector<Code> codes;
  codes.reserve(order_.size());
  for (const std::size_t index : order_)
    codes.push_back(loaded_[index].entry.code);
  return codes;
}

}  // namespace pyscope
