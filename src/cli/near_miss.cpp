#include "cli/near_miss.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace pyscope::cli {
namespace {

constexpr std::size_t kLongestWord = 64;

/// The number of single changes that turn one word into the other (optimal string alignment).
std::size_t changes_between(std::string_view from, std::string_view to) {
  std::array<std::vector<std::size_t>, 3> rows;  // the last but one, the last, and the present one
  for (auto& row : rows)
    row.assign(to.size() + 1, 0);
  for (std::size_t j = 0; j <= to.size(); ++j)
    rows[1][j] = j;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    rows[2][0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t other = rows[1][j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
      rows[2][j] = std::min({other, rows[1][j] + 1, rows[2][j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) rows[2][j] = std::min(rows[2][j], rows[0][j - 2] + 1);
    }
    std::rotate(rows.begin(), rows.begin() + 1, rows.end());
  }
  return rows[1][to.size()];
}

}  // namespace

std::string near_miss(std::string_view typed, std::span<const std::string> known) {
  if (typed.size() > kLongestWord) return {};
  std::size_t nearest = std::max<std::size_t>(1, std::min<std::size_t>(2, typed.size() / 3)) + 1;
  std::string found;
  for (const std::string& word : known) {
    const std::size_t changes = changes_between(typed, word);
    if (changes < nearest) {
      nearest = changes;
      found = word;
    } else if (changes == nearest) {
      found.clear();
    }
  }
  if (!found.empty()) return found;
  // The beginning of one word only.
  for (const std::string& word : known) {
    if (typed.size() < 3 || !word.starts_with(typed)) continue;
    if (!found.empty()) return {};
    found = word;
  }
  return found;
}

}  // namespace pyscope::cli
