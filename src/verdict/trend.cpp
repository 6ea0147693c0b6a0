#include "verdict/trend.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace pyscope {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::optional<Trend> trend_of(const std::vector<NumberSeen>& seen) {
  constexpr std::size_t kFew = 4;
  if (seen.size() < kFew) return std::nullopt;
  const std::size_t half = seen.size() / 2;
  std::vector<double> slopes;
  for (std::size_t i = 0; i + half < seen.size(); ++i) {
    const double time = seen[i + half].seconds - seen[i].seconds;
    if (time <= 0) return std::nullopt;
    slopes.push_back(
        (static_cast<double>(seen[i + half].value) - static_cast<double>(seen[i].value)) / time);
  }
  Trend trend;
  trend.per_second = median(slopes);
  if (trend.per_second == 0) return std::nullopt;
  std::vector<double> offsets;
  for (const NumberSeen& number : seen)
    offsets.push_back(static_cast<double>(number.value) - trend.per_second * number.seconds);
  const double offset = median(offsets);
  const double range = std::fabs(trend.per_second) * seen.back().seconds;
  constexpr double kBeside = 0.25;  // of the way that was gone: a loop need not be steady
  std::vector<const NumberSeen*> good;
  for (const NumberSeen& number : seen) {
    const double expected = offset + trend.per_second * number.seconds;
    if (std::fabs(static_cast<double>(number.value) - expected) <= kBeside * range) {
      good.push_back(&number);
    }
  }
  if (good.size() * 2 < seen.size()) return std::nullopt;
  trend.first = good.front()->value;
  trend.last = good.back()->value;
  return trend;
}

}  // namespace pyscope
