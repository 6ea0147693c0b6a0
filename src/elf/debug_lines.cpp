#include "elf/debug_lines.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>
#include <type_traits>
#include <utility>

namespace pyscope {

using namespace dwarf;

namespace {

constexpr std::uint64_t kMaxLineProgramBytes = std::uint64_t{32} << 20U;
constexpr int kMaxAttributes = 128;  // of an entry; real ones have twenty
// Linkers give these addresses to functions that they leave out: 0, 1, or the highest ones.
constexpr std::uint64_t kLastRemoved = 1;
constexpr std::uint64_t kMaxFolderBytes = std::uint64_t{16} << 20U;  // of all units of a file
constexpr std::size_t kMaxFormats = 16;  // of a table of files; real ones have three
constexpr int kMostRangesPassed = 64;    // ranges that begin below an address and don't reach it

void spend(std::uint64_t& budget, std::uint64_t amount) {
  budget -= std::min(budget, amount);
}

/// Where the first table of string offsets or of addresses begins: behind its header, which exists
/// since version 5.
std::uint64_t first_table_entry(const DebugEncoding& encoding) {
  if (encoding.version < 5) return 0;
  return encoding.offset_size == 8 ? 16 : 8;
}

std::string join(const std::string& folder, const std::string& name) {
  if (folder.empty() || name.starts_with('/')) return name;
  return folder + (folder.ends_with('/') ? "" : "/") + name;
}

}  // namespace

class DebugLines::Reader {
 public:
  Reader(const ElfFile& file, DebugBudget& budget) : file_(file), budget_(budget) {}

  std::optional<SourcePosition> find(std::uint64_t address) {
    if (!has_units_) read_units();
    has_units_ = true;
    auto at = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                               [](std::uint64_t a, const Range& range) { return a < range.begin; });
    for (int steps = 0; at != ranges_.begin() && steps < kMostRangesPassed; ++steps) {
      --at;
      if (address >= at->end) continue;
      if (auto line = find_in(units_[at->unit], address)) return line;
    }
    return std::nullopt;
  }

 private:
  /// A unit: where its line table is, and in which folder it was compiled.
  struct Unit {
    std::uint64_t lines = 0;
    std::size_t folder = 0;
  };
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint32_t unit = 0;
  };
  /// The attributes of a root entry that matter.
  struct Root {
    DebugEncoding encoding = {};
    DebugValue lines = {}, low = {}, high = {}, ranges = {}, folder = {};
    std::uint64_t string_offsets = 0;
    std::uint64_t addresses = 0;
    std::uint64_t range_lists = 0;
    bool has_range_lists = false;
  };

  void read_units() {
    info_ = DebugSection(file_, ".debug_info", budget_);
    if (info_.size() == 0) return;
    abbreviations_ = DebugSection(file_, ".debug_abbrev", budget_);
    lines_ = DebugSection(file_, ".debug_line", budget_);
    strings_ = DebugSection(file_, ".debug_str", budget_);
    line_strings_ = DebugSection(file_, ".debug_line_str", budget_);
    string_offsets_ = DebugSection(file_, ".debug_str_offsets", budget_);
    addresses_ = DebugSection(file_, ".debug_addr", budget_);
    ranges_section_ = DebugSection(file_, ".debug_ranges", budget_);
    range_lists_ = DebugSection(file_, ".debug_rnglists", budget_);
    for (std::uint64_t next = 0; next < info_.size() && budget_.units > 0; --budget_.units) {
      DebugCursor at(info_, next);
      DebugEncoding encoding;
      const std::uint64_t length = read_unit_length(at, encoding);
      if (at.failed() || length == 0 || length > info_.size() - at.at()) break;
      next = at.at() + length;
      at.end_at(next);
      read_unit(at, encoding);
    }
    // What is only needed for this.
    info_ = abbreviations_ = addresses_ = ranges_section_ = range_lists_ = DebugSection();
    std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) {
      return std::pair(a.begin, a.unit) < std::pair(b.begin, b.unit);
    });
  }

  void read_unit(DebugCursor& at, DebugEncoding encoding) {
    encoding.version = at.u16();
    if (encoding.version < 2 || encoding.version > 5) return;
    std::uint64_t abbreviations = 0;
    if (encoding.version >= 5) {
      const std::uint8_t type = at.u8();
      encoding.address_size = at.u8();
      abbreviations = at.offset(encoding.offset_size);
      if (type == UnitSkeleton || type == UnitSplitCompile) at.skip(8);
      if (type == UnitType || type == UnitSplitType) return;
    } else {
      abbreviations = at.offset(encoding.offset_size);
      encoding.address_size = at.u8();
    }
    if (at.failed() || encoding.address_size != 8) return;
    const auto root = read_root(at, encoding, abbreviations);
    if (!root || root->lines.form == 0) return;
    const auto unit = static_cast<std::uint32_t>(units_.size());
    const std::size_t before = ranges_.size();
    add_ranges(*root, unit);
    if (ranges_.size() == before) return;
    // Most are compiled in the same one.
    std::string folder = text_of(root->folder, *root);
    std::size_t index = folders_.size() - 1;
    if (folder != folders_.back()) {
      folder_bytes_ += folder.size();
      index = folder_bytes_ < kMaxFolderBytes ? folders_.size() : 0;
      if (index != 0) folders_.push_back(std::move(folder));
    }
    units_.push_back({root->lines.number, index});
  }

  std::optional<Root> read_root(DebugCursor& at, const DebugEncoding& encoding,
                                std::uint64_t abbreviations) {
    const std::uint64_t wanted = at.uleb();
    if (wanted == 0 || at.failed()) return std::nullopt;
    DebugCursor form(abbreviations_, abbreviations);
    std::optional<Root> root;
    while (form.at() - abbreviations < budget_.abbreviations) {
      const std::uint64_t code = form.uleb();
      if (code == 0 || form.failed()) break;
      const std::uint64_t tag = form.uleb();
      form.skip(1);  // whether it has children
      if (code == wanted) {
        if (tag == TagCompileUnit || tag == TagSkeletonUnit)
          root = read_attributes(at, form, encoding);
        break;
      }
      bool more = true;
      while (more && !form.failed() && form.at() - abbreviations < budget_.abbreviations) {
        const std::uint64_t name = form.uleb();
        const std::uint64_t kind = form.uleb();
        if (kind == FormImplicitConst) (void)form.sleb();
        more = name != 0 || kind != 0;
      }
    }
    spend(budget_.abbreviations, form.at() - abbreviations);
    return root;
  }

  static std::optional<Root> read_attributes(DebugCursor& at, DebugCursor& form,
                                             const DebugEncoding& encoding) {
    Root root;
    root.encoding = encoding;
    // Where a unit says nothing of it, the first table of the section is meant, behind its header.
    root.string_offsets = first_table_entry(encoding);
    root.addresses = first_table_entry(encoding);
    for (int i = 0; i < kMaxAttributes; ++i) {
      const std::uint64_t name = form.uleb();
      const std::uint64_t kind = form.uleb();
      const std::int64_t implicit = kind == FormImplicitConst ? form.sleb() : 0;
      if (form.failed()) return std::nullopt;
      if (name == 0 && kind == 0) return root;
      DebugValue value = read_value(at, kind, encoding, implicit);
      if (at.failed()) return std::nullopt;
      switch (name) {
        case AtStmtList:
          root.lines = std::move(value);
          break;
        case AtLowPc:
          root.low = std::move(value);
          break;
        case AtHighPc:
          root.high = std::move(value);
          break;
        case AtRanges:
          root.ranges = std::move(value);
          break;
        case AtCompDir:
          root.folder = std::move(value);
          break;
        case AtStrOffsetsBase:
          root.string_offsets = value.number;
          break;
        case AtAddrBase:
        case AtGnuAddrBase:
          root.addresses = value.number;
          break;
        case AtRnglistsBase:
          root.range_lists = value.number;
          root.has_range_lists = true;
          break;
        default:
          break;
      }
    }
    return std::nullopt;
  }

  // --- what values mean

  static std::optional<std::uint64_t> entry(const DebugSection& table, std::uint64_t base,
                                            std::uint64_t index, std::uint8_t size) {
    if (index > table.size() / size || base > table.size()) return std::nullopt;
    DebugCursor at(table, base + index * size);
    const std::uint64_t value = at.offset(size);
    if (at.failed()) return std::nullopt;
    return value;
  }

  [[nodiscard]] std::optional<std::uint64_t> address_at(std::uint64_t index,
                                                        const Root& root) const {
    return entry(addresses_, root.addresses, index, root.encoding.address_size);
  }

  [[nodiscard]] std::optional<std::uint64_t> address_of(const DebugValue& value,
                                                        const Root& root) const {
    switch (value.form) {
      case FormAddr:
        return value.number;
      case FormAddrx:
      case FormAddrx1:
      case FormAddrx2:
      case FormAddrx3:
      case FormAddrx4:
      case FormGnuAddrIndex:
        return address_at(value.number, root);
      default:
        return std::nullopt;
    }
  }

  static std::string string_in(const DebugSection& section, std::uint64_t offset) {
    return DebugCursor(section, offset).string();
  }

  [[nodiscard]] std::string text_of(const DebugValue& value, const Root& root) const {
    switch (value.form) {
      case FormString:
        return value.text;
      case FormStrp:
        return string_in(strings_, value.number);
      case FormLineStrp:
        return string_in(line_strings_, value.number);
      case FormStrx:
      case FormStrx1:
      case FormStrx2:
      case FormStrx3:
      case FormStrx4:
      case FormGnuStrIndex: {
        const auto offset =
            entry(string_offsets_, root.string_offsets, value.number, root.encoding.offset_size);
        return offset ? string_in(strings_, *offset) : std::string();
      }
      default:
        return {};  // in a file that this one is a supplement of
    }
  }

  // --- the ranges of a unit

  void add_range(std::uint64_t begin, std::uint64_t end, std::uint32_t unit) {
    if (begin <= kLastRemoved || begin >= end || budget_.ranges == 0) return;
    --budget_.ranges;
    ranges_.push_back({begin, end, unit});
  }

  void add_ranges(const Root& root, std::uint32_t unit) {
    const auto low = address_of(root.low, root);
    if (root.ranges.form != 0) {
      if (root.encoding.version >= 5) {
        add_range_list(root, low.value_or(0), unit);
      } else {
        add_old_ranges(root, low.value_or(0), unit);
      }
    } else if (low && root.high.form != 0) {
      const auto high = address_of(root.high, root);
      add_range(*low, high ? *high : *low + root.high.number, unit);
    }
  }

  // The section .debug_ranges, before version 5.
  void add_old_ranges(const Root& root, std::uint64_t base, std::uint32_t unit) {
    DebugCursor at(ranges_section_, root.ranges.number);
    while (budget_.ranges > 0) {
      const std::uint64_t begin = at.u64();
      const std::uint64_t end = at.u64();
      if (at.failed() || (begin == 0 && end == 0)) return;
      if (begin == std::numeric_limits<std::uint64_t>::max()) {
        base = end;
        --budget_.ranges;
      } else if (begin == end) {
        --budget_.ranges;
      } else {
        add_range(base + begin, base + end, unit);
      }
    }
  }

  void add_range_list(const Root& root, std::uint64_t base, std::uint32_t unit) {
    std::uint64_t offset = root.ranges.number;
    if (root.ranges.form == FormRnglistx) {
      const std::uint64_t lists =
          root.has_range_lists ? root.range_lists : (root.encoding.offset_size == 8 ? 20U : 12U);
      const auto relative = entry(range_lists_, lists, offset, root.encoding.offset_size);
      if (!relative) return;
      offset = lists + *relative;
      if (offset < lists) return;
    }
    DebugCursor at(range_lists_, offset);
    const auto indexed = [&]() -> std::uint64_t { return address_at(at.uleb(), root).value_or(0); };
    for (; budget_.ranges > 0; --budget_.ranges) {
      const std::uint8_t kind = at.u8();
      std::uint64_t begin = 0;
      std::uint64_t end = 0;
      switch (kind) {
        case RangeBaseAddressx:
          base = indexed();
          break;
        case RangeStartxEndx:
          begin = indexed();
          end = indexed();
          break;
        case RangeStartxLength:
          begin = indexed();
          end = begin + at.uleb();
          break;
        case RangeOffsetPair:
          begin = base + at.uleb();
          end = base + at.uleb();
          break;
        case RangeBaseAddress:
          base = at.u64();
          break;
        case RangeStartEnd:
          begin = at.u64();
          end = at.u64();
          break;
        case RangeStartLength:
          begin = at.u64();
          end = begin + at.uleb();
          break;
        case RangeEndOfList:
        default:
          return;
      }
      if (at.failed()) return;
      add_range(begin, end, unit);
      if (budget_.ranges == 0) return;
    }
  }

  // --- the line table of a unit

  struct Row {
    std::uint64_t address = 0;
    std::uint32_t file = 0;
    int line = 0;  // 0: none
  };
  /// The header of a line table, up to its tables of folders and files.
  struct LineTable {
    DebugEncoding encoding;
    std::uint64_t end = 0;
    std::uint64_t program = 0;
    std::uint64_t tables = 0;
    std::uint8_t instruction_size = 1;
    std::int8_t line_base = 0;
    std::uint8_t line_range = 1;
    std::uint8_t opcode_base = 1;
    std::array<std::uint8_t, 256> operands{};
  };

  [[nodiscard]] std::optional<LineTable> read_line_table(std::uint64_t offset) const {
    DebugCursor at(lines_, offset);
    LineTable table;
    const std::uint64_t length = read_unit_length(at, table.encoding);
    if (at.failed() || length > kMaxLineProgramBytes || length > lines_.size() - at.at()) {
      return std::nullopt;
    }
    table.end = at.at() + length;
    at.end_at(table.end);
    table.encoding.version = at.u16();
    if (table.encoding.version < 2 || table.encoding.version > 5) return std::nullopt;
    if (table.encoding.version >= 5) {
      table.encoding.address_size = at.u8();
      if (at.u8() != 0) return std::nullopt;  // segments, of which no processor of today has any
    }
    const std::uint64_t header_length = at.offset(table.encoding.offset_size);
    if (header_length > length) return std::nullopt;
    table.program = at.at() + header_length;
    table.instruction_size = at.u8();
    if (table.encoding.version >= 4 && at.u8() > 1) return std::nullopt;  // VLIW
    at.skip(1);                                                           // default_is_stmt
    table.line_base = static_cast<std::int8_t>(at.u8());
    table.line_range = at.u8();
    table.opcode_base = at.u8();
    if (table.line_range == 0 || table.opcode_base == 0) return std::nullopt;
    for (std::size_t i = 1; i < table.opcode_base; ++i)
      table.operands.at(i) = at.u8();
    table.tables = at.at();
    if (at.failed() || table.encoding.address_size != 8 || table.program > table.end ||
        table.program < table.tables) {
      return std::nullopt;
    }
    return table;
  }

  std::optional<SourcePosition> find_in(const Unit& unit, std::uint64_t address) {
    const auto table = read_line_table(unit.lines);
    if (!table) return std::nullopt;
    const auto [known, is_new] = rows_.try_emplace(unit.lines);
    if (is_new) known->second = read_rows(*table);
    const std::vector<Row>& rows = known->second;
    const auto after = std::upper_bound(rows.begin(), rows.end(), address, comes_before);
    if (after == rows.begin() || std::prev(after)->line == 0) return std::nullopt;
    const Row& row = *std::prev(after);
    const auto [name, is_new_name] = names_.try_emplace({unit.lines, row.file});
    if (is_new_name) name->second = file_name(*table, row.file, folders_[unit.folder]);
    if (name->second.empty()) return std::nullopt;
    return SourcePosition{name->second, row.line};
  }

  static bool comes_before(std::uint64_t address, const Row& row) { return address < row.address; }

  /// Ordered by address; of rows with the same address the last counts. A sequence ends with a row
  /// without a line.
  std::vector<Row> read_rows(const LineTable& table) {
    std::vector<Row> rows;
    DebugCursor at(lines_, table.program, table.end);
    std::uint64_t address = 0;
    std::uint64_t file = 1;
    std::int64_t line = 1;
    std::size_t sequence = 0;  // where it begins in `rows`
    const auto emit = [&] {
      const bool plausible = line > 0 && line <= std::numeric_limits<int>::max() &&
                             file <= std::numeric_limits<std::uint32_t>::max();
      const Row row{address, plausible ? static_cast<std::uint32_t>(file) : 0,
                    plausible ? static_cast<int>(line) : 0};
      if (rows.size() > sequence && rows.back().address == address) {
        rows.back() = row;
      } else if (rows.size() == sequence || rows.back().line != row.line ||
                 rows.back().file != row.file) {
        rows.push_back(row);
        spend(budget_.rows, 1);
      }
    };
    const auto end_sequence = [&] {
      // Of a function that the linker has left out.
      if (rows.size() > sequence && rows[sequence].address <= kLastRemoved) rows.resize(sequence);
      if (rows.size() > sequence) rows.push_back({address, 0, 0});
      sequence = rows.size();
      address = 0;
      file = 1;
      line = 1;
    };
    const auto advance = [&](std::uint64_t operations) {
      address += operations * table.instruction_size;
    };
    // As unsigned numbers, since a sum that makes no sense must not overflow.
    const auto advance_line = [&](std::int64_t by) {
      line = static_cast<std::int64_t>(static_cast<std::uint64_t>(line) +
                                       static_cast<std::uint64_t>(by));
    };
    const std::uint64_t begin = at.at();
    while (!at.at_end() && at.at() - begin < budget_.line_tables && budget_.rows > 0) {
      const std::uint8_t opcode = at.u8();
      if (opcode >= table.opcode_base) {
        const int adjusted = opcode - table.opcode_base;
        advance(static_cast<unsigned>(adjusted / table.line_range));
        advance_line(table.line_base + adjusted % table.line_range);
        emit();
        continue;
      }
      switch (opcode) {
        case LineExtended: {
          const std::uint64_t length = at.uleb();
          const std::uint64_t operands = at.at();
          if (length == 0 || length > table.end - operands) {
            at.fail();
            break;
          }
          const std::uint8_t extended = at.u8();
          if (extended == LineExtendedEndSequence) {
            end_sequence();
          } else if (extended == LineExtendedSetAddress && length == 9) {
            address = at.u64();
          }
          at.move_to(operands + length);
          break;
        }
        case LineCopy:
          emit();
          break;
        case LineAdvancePc:
          advance(at.uleb());
          break;
        case LineAdvanceLine:
          advance_line(at.sleb());
          break;
        case LineSetFile:
          file = at.uleb();
          break;
        case LineConstAddPc:
          advance((255U - table.opcode_base) / table.line_range);
          break;
        case LineFixedAdvancePc:
          address += at.u16();
          break;
        default:
          for (unsigned i = 0; i < table.operands.at(opcode); ++i)
            (void)at.uleb();
      }
    }
    end_sequence();  // where it was cut off
    spend(budget_.line_tables, at.at() - begin);
    // An end gives way to what begins there.
    const auto in_order = [](const Row& a, const Row& b) {
      return a.address != b.address ? a.address < b.address : a.line == 0 && b.line != 0;
    };
    if (!std::is_sorted(rows.begin(), rows.end(), in_order))
      std::stable_sort(rows.begin(), rows.end(), in_order);
    return rows;
  }

  [[nodiscard]] std::string file_name(const LineTable& table, std::uint64_t index,
                                      const std::string& folder) {
    return table.encoding.version >= 5 ? file_name_5(table, index, folder)
                                       : file_name_2(table, index, folder);
  }

  // Versions 2 to 4: lists of strings; counted from 1, and folder 0 is that of the unit.
  [[nodiscard]] std::string file_name_2(const LineTable& table, std::uint64_t index,
                                        const std::string& folder) {
    spend(budget_.line_tables, table.program - table.tables);
    DebugCursor at(lines_, table.tables, table.program);
    while (!at.string().empty()) {
    }
    for (std::uint64_t i = 1; !at.failed(); ++i) {
      std::string name = at.string();
      const std::uint64_t folder_index = at.uleb();
      (void)at.uleb();  // its time
      (void)at.uleb();  // its size
      if (name.empty()) return {};
      if (i != index) continue;
      if (at.failed() || folder_index == 0) return join(folder, name);
      DebugCursor folders(lines_, table.tables, table.program);
      for (std::uint64_t n = 1; n < folder_index; ++n) {
        if (folders.string().empty()) return name;
      }
      return join(folder, join(folders.string(), name));
    }
    return {};
  }

  struct FileEntry {
    std::string path;
    std::uint64_t folder = 0;
  };

  /// One table of version 5. `at` is behind the table if that has no entry with this index.
  [[nodiscard]] std::optional<FileEntry> file_entry(DebugCursor& at, const DebugEncoding& encoding,
                                                    std::uint64_t index) {
    struct Format {
      std::uint64_t content = 0;
      std::uint64_t form = 0;
    };
    std::array<Format, kMaxFormats> formats;
    const std::size_t format_count = at.u8();
    if (format_count > formats.size()) {
      at.fail();
      return std::nullopt;
    }
    for (std::size_t i = 0; i < format_count; ++i) {
      formats.at(i).content = at.uleb();
      formats.at(i).form = at.uleb();
    }
    const std::uint64_t count = at.uleb();
    if (format_count == 0) return std::nullopt;
    Root root;
    root.encoding = encoding;
    root.string_offsets = first_table_entry(encoding);
    for (std::uint64_t i = 0; i < count && !at.failed() && budget_.line_tables > 0; ++i) {
      const std::uint64_t begin = at.at();
      FileEntry entry;
      for (std::size_t f = 0; f < format_count; ++f) {
        const DebugValue value = read_value(at, formats.at(f).form, encoding);
        if (i != index) continue;
        if (formats.at(f).content == LineContentPath) entry.path = text_of(value, root);
        if (formats.at(f).content == LineContentDirectoryIndex) entry.folder = value.number;
      }
      spend(budget_.line_tables, at.at() - begin + format_count);  // some take no byte at all
      if (i == index && !at.failed()) return entry;
    }
    return std::nullopt;
  }

  // Version 5: counted from 0, and folder 0 is that of the unit.
  [[nodiscard]] std::string file_name_5(const LineTable& table, std::uint64_t index,
                                        const std::string& folder) {
    DebugCursor at(lines_, table.tables, table.program);
    (void)file_entry(at, table.encoding, std::numeric_limits<std::uint64_t>::max());
    const auto file = file_entry(at, table.encoding, index);
    if (!file || file->path.empty()) return {};
    DebugCursor folders(lines_, table.tables, table.program);
    const auto in = file_entry(folders, table.encoding, file->folder);
    return join(folder, join(in ? in->path : std::string(), file->path));
  }

  const ElfFile& file_;
  DebugBudget& budget_;
  bool has_units_ = false;
  std::vector<Unit> units_;
  std::vector<std::string> folders_{""};
  std::map<std::uint64_t, std::vector<Row>> rows_;  // by the line table's offset
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::string> names_;  // also by their number
  std::uint64_t folder_bytes_ = 0;
  std::vector<Range> ranges_;  // by their beginning
  DebugSection info_, abbreviations_, lines_, strings_, line_strings_, string_offsets_, addresses_;
  DebugSection ranges_section_, range_lists_;
};

DebugLines::DebugLines(const ElfFile& file, DebugBudget& budget)
    : reader_(std::make_unique<Reader>(file, budget)) {}
DebugLines::~DebugLines() = default;
DebugLines::DebugLines(DebugLines&&) noexcept = default;

bool DebugLines::are_in(const ElfFile& file) {
  const ElfSectionHeader* lines = file.section(".debug_line");
  return lines != nullptr && lines->type != SHT_NOBITS && lines->size != 0;
}

std::optional<SourcePosition> DebugLines::find(std::uint64_t address) {
  return reader_->find(address);
}

}  // namespace pyscope
