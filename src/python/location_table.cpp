#include "python/location_table.hpp"

#include <fmt/core.h>

#include <limits>
#include <optional>

namespace pyscope {
namespace {

/// Takes bytes off the front of the table; sets `bad` instead of reading beyond its end.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> table) : table_(table) {}

  [[nodiscard]] bool at_end() const { return next_ == table_.size(); }
  [[nodiscard]] bool bad() const { return bad_; }

  unsigned byte() {
    if (at_end()) {
      bad_ = true;
      return 0;
    }
    return static_cast<unsigned>(table_[next_++]);
  }
  // Groups of six bits, the lowest first; bit 6 says that another follows.
  std::int64_t varint() {
    constexpr unsigned kMaxShift = 30;
    std::int64_t value = 0;
    for (unsigned shift = 0; shift <= kMaxShift; shift += 6) {
      const unsigned b = byte();
      value |= static_cast<std::int64_t>(b & 63U) << shift;
      if ((b & 64U) == 0) return value;
    }
    bad_ = true;
    return 0;
  }
  std::int64_t signed_varint() {
    const std::int64_t value = varint();
    return (value & 1) != 0 ? -(value >> 1) : value >> 1;
  }

 private:
  std::span<const std::byte> table_;
  std::size_t next_ = 0;
  bool bad_ = false;
};

std::optional<std::int32_t> narrow(std::int64_t value) {
  if (value < 0 || value > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return static_cast<std::int32_t>(value);
}

// The kinds of entry that don't stand for themselves (enum _PyCodeLocationInfoKind).
constexpr unsigned kFirstOneLine = 10;
constexpr unsigned kNoColumns = 13;
constexpr unsigned kLong = 14;
constexpr unsigned kNone = 15;

}  // namespace

Result<Position> find_location(std::span<const std::byte> table, std::int32_t first_line,
                               std::uint64_t unit) {
  if (table.empty()) return Position{};  // as of code whose table was taken away, to save space
  Cursor cursor(table);
  std::int64_t line = first_line;
  std::uint64_t at = 0;
  while (!cursor.at_end()) {
    const unsigned head = cursor.byte();
    if ((head & 0x80U) == 0) {
      return fail(ErrorKind::Malformed, "the location table has an entry without its mark");
    }
    const unsigned kind = (head >> 3U) & 15U;
    const unsigned units = (head & 7U) + 1;
    Position position;
    const auto set_columns = [&](std::int64_t column, std::int64_t end_column) {
      position.column = narrow(column);
      position.end_column = narrow(end_column);
    };
    std::int64_t end_line_delta = 0;
    if (kind < kFirstOneLine) {
      const unsigned b = cursor.byte();
      const std::int64_t column = static_cast<std::int64_t>(kind) * 8 + (b >> 4U);
      set_columns(column, column + (b & 15U));
    } else if (kind < kNoColumns) {
      line += kind - kFirstOneLine;
      const unsigned column = cursor.byte();
      set_columns(column, cursor.byte());
    } else if (kind == kNoColumns) {
      line += cursor.signed_varint();
    } else if (kind == kLong) {
      line += cursor.signed_varint();
      end_line_delta = cursor.varint();
      const std::int64_t column = cursor.varint() - 1;  // stored one up: 0 stands for none
      set_columns(column, cursor.varint() - 1);
    }
    if (cursor.bad()) return fail(ErrorKind::Malformed, "the location table ends within an entry");
    if (unit < at + units) {
      if (kind == kNone) return Position{};
      position.line = narrow(line);
      position.end_line = narrow(line + end_line_delta);
      return position;
    }
    at += units;
  }
  return fail(ErrorKind::Malformed,
              fmt::format("the location table ends at code unit {}, before {}", at, unit));
}

}  // namespace pyscope
