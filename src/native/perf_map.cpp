#include "native/perf_map.hpp"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/kernel_call.hpp"
#include "process/rooted_open.hpp"

namespace pyscope {
namespace {

// Bound (bytes): perf map
constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20U;
// Bound: lines of a perf map
constexpr std::size_t kMaxLines = std::size_t{1} << 21U;
constexpr std::size_t kMaxFunctionNameBytes = 4096;
constexpr int kMostSteps = 256;  // lines that begin below an address and don't reach it

/// Takes a number and the space behind it off the front.
std::optional<std::uint64_t> take_number(std::string_view& line) {
  if (line.starts_with("0x")) line.remove_prefix(2);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number, 16);
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  if (error != std::errc() || !line.starts_with(' ')) return std::nullopt;
  line.remove_prefix(1);
  return number;
}

}  // namespace

PerfMap::PerfMap(std::string text) : text_(std::move(text)) {
  const std::string_view all = text_;
  for (std::size_t at = 0; at < all.size() && lines_.size() < kMaxLines;) {
    const std::size_t end = std::min(all.find('\n', at), all.size());
    std::string_view line = all.substr(at, end - at);
    at = end + 1;
    const auto start = take_number(line);
    const auto size = start ? take_number(line) : std::nullopt;
    if (!size || *size == 0 || *start + *size < *start || line.empty()) continue;
    lines_.push_back({*start, *size, static_cast<std::uint32_t>(line.data() - all.data()),
                      static_cast<std::uint32_t>(std::min(line.size(), kMaxFunctionNameBytes))});
  }
  std::stable_sort(lines_.begin(), lines_.end(),
                   [](const Line& a, const Line& b) { return a.start < b.start; });
}

std::optional<PerfMap::Entry> PerfMap::find(std::uint64_t address) const {
  auto at = std::upper_bound(lines_.begin(), lines_.end(), address,
                             [](std::uint64_t a, const Line& line) { return a < line.start; });
  const Line* found = nullptr;
  for (int steps = 0; at != lines_.begin() && steps < kMostSteps; ++steps) {
    --at;
    if (address - at->start >= at->size) continue;
    if (found == nullptr || at->offset > found->offset) found = &*at;
  }
  if (found == nullptr) return std::nullopt;
  return Entry{std::string_view(text_).substr(found->offset, found->length), found->start};
}

std::string perf_map_path(const Process& process) {
  return fmt::format("/tmp/perf-{}.map", process.facts().namespace_pid);
}

PerfMap read_perf_map(const Process& process, const Log& log) {
  const std::string path = perf_map_path(process);
  const UniqueFd fd = open_below_root(process.directory(), path);
  if (!fd) {
    log("  root{}: {}", path, std::strerror(errno));
    return {};
  }
  // Anybody may write to /tmp.
  struct stat info {};
  struct stat owner {};
  if (fstat_noted(fd.get(), info) != 0 || ::fstat(process.directory(), &owner) != 0) return {};
  if (info.st_uid != 0 && info.st_uid != owner.st_uid) {
    log("  root{}: not the process's own", path);
    return {};
  }
  if (info.st_size < 0 || static_cast<std::uint64_t>(info.st_size) > kMaxBytes) {
    log("  root{}: larger than {} bytes", path, kMaxBytes);
    return {};
  }
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t n =
        pread_noted(fd.get(), text.data() + size, text.size() - size, static_cast<off_t>(size));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += static_cast<std::size_t>(n);
  }
  text.resize(size);
  log("  root{}: read", path);
  return PerfMap(std::move(text));
}

}  // namespace pyscope
