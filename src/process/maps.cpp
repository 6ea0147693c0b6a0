#include "process/maps.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

namespace pyscope {
namespace {

/// Takes a number off the front of `text`, together with the separator that must follow it.
template <class T>
bool take_number(std::string_view& text, T& value, int base, char separator) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.empty() || text.front() != separator) return false;
  text.remove_prefix(1);
  return true;
}

// The kernel escapes only the line feed in a path, as \012, so that a line stays a line.
std::string unescape_path(std::string_view path) {
  std::string plain;
  plain.reserve(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path.substr(i, 4) == "\\012") {
      plain += '\n';
      i += 3;
    } else {
      plain += path[i];
    }
  }
  return plain;
}

std::optional<Mapping> parse_mapping(std::string_view line) {
  Mapping mapping;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  if (!take_number(line, start, 16, '-') || !take_number(line, end, 16, ' ') || end < start) {
    return std::nullopt;
  }
  mapping.range = {RemoteAddr{start}, end - start};
  if (line.size() < 5 || line[4] != ' ') return std::nullopt;
  mapping.readable = line[0] == 'r';
  mapping.writable = line[1] == 'w';
  mapping.executable = line[2] == 'x';
  line.remove_prefix(5);
  if (!take_number(line, mapping.file_offset, 16, ' ') ||
      !take_number(line, mapping.device_major, 16, ':') ||
      !take_number(line, mapping.device_minor, 16, ' ')) {
    return std::nullopt;
  }
  // The inode ends the line where there is no path.
  const auto [rest, error] =
      std::from_chars(line.data(), line.data() + line.size(), mapping.inode, 10);
  if (error != std::errc{}) return std::nullopt;
  line.remove_prefix(static_cast<std::size_t>(rest - line.data()));
  const std::size_t path = line.find_first_not_of(' ');
  if (path != std::string_view::npos) mapping.path = unescape_path(line.substr(path));
  return mapping;
}

}  // namespace

const Mapping* find_mapping(std::span<const Mapping> maps, RemoteAddr at) {
  const auto after = std::upper_bound(
      maps.begin(), maps.end(), at,
      [](RemoteAddr address, const Mapping& mapping) { return address < mapping.range.start; });
  if (after == maps.begin()) return nullptr;
  const Mapping& found = *std::prev(after);
  return found.range.contains(at) ? &found : nullptr;
}

std::vector<Mapping> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (auto mapping = parse_mapping(text.substr(0, end))) mappings.push_back(*std::move(mapping));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return mappings;
}

}  // namespace pyscope
