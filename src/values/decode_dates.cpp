// datetime. Years and microseconds have several bytes, of which the highest stands first.
#include <fmt/format.h>

#include <array>
#include <span>

#include "values/decoder.hpp"

namespace pyscope {
namespace {

/// The first `count` bytes of a date or time.
Result<std::array<std::uint8_t, 16>> date_bytes(ValueDecoder& d, RemoteAddr at, Field data,
                                                std::size_t count) {
  std::array<std::uint8_t, 16> bytes{};
  if (auto ok = d.reader().memory().read(at + d.reader().offsets()[data],
                                         std::as_writable_bytes(std::span{bytes}.first(count)));
      !ok) {
    return fail(ok.error());
  }
  return bytes;
}

Result<ValueNode> date(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t) {
  const auto b = date_bytes(d, at, Field::DateData, 4);
  if (!b) return fail(b.error());
  return leaf(
      fmt::format("{}({}, {}, {})", type.full_name, (*b)[0] * 256 + (*b)[1], (*b)[2], (*b)[3]));
}

std::string seconds_text(int second, int microsecond) {
  if (microsecond != 0) return fmt::format(", {}, {}", second, microsecond);
  return second != 0 ? fmt::format(", {}", second) : std::string{};
}

/// Where a time or datetime has its fold and its zone.
struct FoldAndZone {
  Field fold;
  Field has_zone;
  Field zone;
};

/// A time whose repr() begins with `opening`, followed by its fold and its zone if it has them.
Result<ValueNode> with_fold_and_zone(ValueDecoder& d, RemoteAddr at, std::string opening,
                                     const FoldAndZone& fields, std::size_t depth) {
  const auto fold = d.reader().field<std::uint8_t>(at, fields.fold);
  const auto has_zone = d.reader().field<std::uint8_t>(at, fields.has_zone);
  if (!fold) return fail(fold.error());
  if (!has_zone) return fail(has_zone.error());
  if (*fold != 0) opening += ", fold=1";
  if (*has_zone == 0) return leaf(opening + ")");
  const auto zone = d.reader().pointer(at, fields.zone);
  if (!zone) return fail(zone.error());
  ValueNode node = between(opening + ", ", ")");
  append_named(node, "tzinfo", d.decode_object(*zone, depth + 1));
  return node;
}

Result<ValueNode> time(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t depth) {
  const auto b = date_bytes(d, at, Field::TimeData, 6);
  if (!b) return fail(b.error());
  const int microsecond = (*b)[3] << 16 | (*b)[4] << 8 | (*b)[5];
  return with_fold_and_zone(d, at,
                            fmt::format("{}({}, {}{}", type.full_name, (*b)[0], (*b)[1],
                                        seconds_text((*b)[2], microsecond)),
                            {Field::TimeFold, Field::TimeHastzinfo, Field::TimeTzinfo}, depth);
}

Result<ValueNode> date_time(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                            std::size_t depth) {
  const auto b = date_bytes(d, at, Field::DateTimeData, 10);
  if (!b) return fail(b.error());
  const int microsecond = (*b)[7] << 16 | (*b)[8] << 8 | (*b)[9];
  return with_fold_and_zone(
      d, at,
      fmt::format("{}({}, {}, {}, {}, {}{}", type.full_name, (*b)[0] * 256 + (*b)[1], (*b)[2],
                  (*b)[3], (*b)[4], (*b)[5], seconds_text((*b)[6], microsecond)),
      {Field::DateTimeFold, Field::DateTimeHastzinfo, Field::DateTimeTzinfo}, depth);
}

struct Duration {
  std::int32_t days = 0;
  std::int32_t seconds = 0;
  std::int32_t microseconds = 0;
};

Result<Duration> duration_of(ValueDecoder& d, RemoteAddr at) {
  const auto days = d.reader().field<std::int32_t>(at, Field::TimeDeltaDays);
  const auto seconds = d.reader().field<std::int32_t>(at, Field::TimeDeltaSeconds);
  const auto microseconds = d.reader().field<std::int32_t>(at, Field::TimeDeltaMicroseconds);
  if (!days) return fail(days.error());
  if (!seconds) return fail(seconds.error());
  if (!microseconds) return fail(microseconds.error());
  return Duration{*days, *seconds, *microseconds};
}

Result<ValueNode> time_delta(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t) {
  const auto duration = duration_of(d, at);
  if (!duration) return fail(duration.error());
  std::string text;
  const auto add = [&](std::string_view name, std::int32_t value) {
    if (value != 0) text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, value);
  };
  add("days", duration->days);
  add("seconds", duration->seconds);
  add("microseconds", duration->microseconds);
  return leaf(type.full_name + "(" + (text.empty() ? "0" : text) + ")");
}

Result<ValueNode> time_zone(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                            std::size_t depth) {
  const auto offset = d.reader().pointer(at, Field::TimeZoneOffset);
  const auto name = d.reader().pointer(at, Field::TimeZoneName);
  if (!offset) return fail(offset.error());
  if (!name) return fail(name.error());
  const auto duration = duration_of(d, *offset);
  if (duration && duration->seconds == 0 && duration->days == 0 && duration->microseconds == 0 &&
      !*name) {
    return leaf("datetime.timezone.utc");
  }
  ValueNode node = between(type.full_name + "(", ")");
  d.add_item(node, *offset, depth);
  if (*name) d.add_item(node, *name, depth);
  return node;
}

}  // namespace

std::span<const TypeDecoder> date_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"datetime.date", date, ""},
      {"datetime.time", time, ""},
      {"datetime.datetime", date_time, ""},
      {"datetime.timedelta", time_delta, ""},
      {"datetime.timezone", time_zone, ""},
  });
  return kDecoders;
}

}  // namespace pyscope
