#include "values/nearest_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/lower_case.hpp"

namespace pyscope {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> nearest_names(std::string_view wanted,
                                       const std::vector<std::string>& names) {
  constexpr std::size_t kMostShown = 3;
  constexpr std::size_t kMostLength = 64;
  const std::string lower = lower_case(wanted.substr(0, kMostLength));
  std::vector<std::pair<std::size_t, const std::string*>> ranked;
  for (const std::string& name : names) {
    if (name.size() > kMostLength) continue;
    const std::string other = lower_case(name);
    std::size_t distance = edit_distance(lower, other);
    const bool part =
        lower.size() >= 3 && (other.find(lower) != std::string::npos ||
                              (other.size() >= 3 && lower.find(other) != std::string::npos));
    if (!part && distance > std::max<std::size_t>(1, (lower.size() + 2) / 3)) continue;
    if (part) distance = std::min<std::size_t>(distance, 2);
    ranked.emplace_back(distance, &name);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (const auto& [distance, name] : ranked) {
    if (nearest.size() == kMostShown) break;
    if (std::find(nearest.begin(), nearest.end(), *name) == nearest.end()) nearest.push_back(*name);
  }
  return nearest;
}

std::string nearest_hint(std::string_view wanted, const std::vector<std::string>& names) {
  const auto nearest = nearest_names(wanted, names);
  if (!nearest.empty()) return fmt::format("nearest names: {}", fmt::join(nearest, ", "));
  if (names.empty()) return {};
  constexpr std::size_t kMostShown = 8;
  const bool all = names.size() <= kMostShown;
  return fmt::format(
      "there {} {}{}", names.size() == 1 ? "is" : "are",
      fmt::join(names.begin(),
                names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kMostShown)),
                ", "),
      all ? "" : fmt::format(" and {} more", names.size() - kMostShown));
}

}  // namespace pyscope
