#include "format/duration.hpp"

#include <fmt/format.h>

#include <string_view>

namespace pyscope {

std::string format_duration(std::uint64_t us) {
  constexpr std::uint64_t kMillisecond = 1000;
  constexpr std::uint64_t kSecond = 1000 * kMillisecond;
  constexpr std::uint64_t kMinute = 60 * kSecond;
  constexpr std::uint64_t kHour = 60 * kMinute;
  constexpr std::uint64_t kDay = 24 * kHour;
  const auto tenths = [us](std::uint64_t unit, std::string_view name) {
    const std::uint64_t count = us / (unit / 10);
    return fmt::format("{}.{} {}", count / 10, count % 10, name);
  };
  const auto two_units = [us](std::uint64_t unit, std::string_view name, std::uint64_t part,
                              std::string_view part_name) {
    return fmt::format("{} {} {} {}", us / unit, name, us % unit / part, part_name);
  };
  if (us < 10 * kMillisecond) return tenths(kMillisecond, "ms");
  if (us < kSecond) return fmt::format("{} ms", us / kMillisecond);
  if (us < kMinute) return tenths(kSecond, "s");
  if (us < kHour) return two_units(kMinute, "min", kSecond, "s");
  if (us < kDay) return two_units(kHour, "h", kMinute, "min");
  return two_units(kDay, "d", kHour, "h");
}

}  // namespace pyscope
