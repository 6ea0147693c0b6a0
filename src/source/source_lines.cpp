#include "source/source_lines.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <tsl/robin_map.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/kernel_call.hpp"

namespace pyscope {
namespace {

// Bound (bytes): source file
constexpr std::size_t kMaxFileSize = std::size_t{16} << 20U;
// Bound (bytes): source files, all of a process
constexpr std::size_t kMaxTotal = std::size_t{128} << 20U;
// Bound (bytes): source line
constexpr std::size_t kMaxLineLength = 4096;  // the start of a generated line is enough

// The bytes of a path in the target's file system. For bytes that aren't valid UTF-8, Python keeps
// lone surrogates U+DC80 to U+DCFF (PEP 383), here as three bytes ED B2/B3 xx.
std::string file_system_path(const std::string& name) {
  std::string path;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(name[at]); };
    if (i + 2 < name.size() && byte(i) == 0xED && (byte(i + 1) == 0xB2 || byte(i + 1) == 0xB3)) {
      path += static_cast<char>(((byte(i + 1) & 1U) << 6U) | (byte(i + 2) & 0x3FU) | 0x80U);
      i += 2;
    } else {
      path += name[i];
    }
  }
  return path;
}

std::chrono::system_clock::time_point to_time_point(const timespec& time) {
  return std::chrono::system_clock::time_point{
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec))};
}

/// Takes the next line off the text, without its line end; the line ends are those that Python's
/// tokenizer knows.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find_first_of("\r\n");
  const std::string_view line = text.substr(0, end);
  if (end == std::string_view::npos) {
    text = {};
  } else {
    text.remove_prefix(end + (text.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return line;
}

}  // namespace

SourceReader::File SourceReader::read(const std::string& name) {
  File file;
  // "<stdin>", "<frozen os>", "<string>": names that are no files.
  if (name.empty() || (name.front() == '<' && name.back() == '>')) return file;
  const std::string path = file_system_path(name);
  if (path.find('\0') != std::string::npos) return file;
  const UniqueFd fd = open_(path);
  struct stat info {};
  if (!fd || fstat_noted(fd.get(), info) != 0 || !S_ISREG(info.st_mode)) {
    if (errno == EREMOTE) on_fuse_.push_back(name);
    log_("source {}: {}", name, std::strerror(errno));
    file.failed = true;
    return file;
  }
  // A process's start is known to a clock tick. Both times of the file count: a deployment may keep
  // the old time of modification, but can't keep the time of the change.
  constexpr auto kClockTick = std::chrono::milliseconds(20);
  file.changed = std::max(to_time_point(info.st_mtim), to_time_point(info.st_ctim)) >
                 process_start_ + kClockTick;
  if (file.changed) {
    log_("source {}: changed since the process started", name);
    return file;
  }
  const auto size = static_cast<std::size_t>(std::max<off_t>(info.st_size, 0));
  if (size > kMaxFileSize || bytes_read_ + size > kMaxTotal) {
    log_("source {}: too large", name);
    return file;
  }
  bytes_read_ += size;
  std::string text(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    // Piece by piece, so that a slow file system isn't taken for a dead one.
    constexpr std::size_t kPiece = std::size_t{256} << 10U;
    const ssize_t n = read_noted(fd.get(), text.data() + filled, std::min(size - filled, kPiece));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    filled += static_cast<std::size_t>(n);
  }
  if (filled < size) {
    log_("source {}: {} of {} bytes could be read", name, filled, size);
    file.failed = true;
    return file;
  }
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  file.text = std::move(text);
  std::string_view rest = file.text;
  for (std::size_t line = 0; !rest.empty(); ++line) {
    if (line % kApart == 0)
      file.offsets.push_back(static_cast<std::uint32_t>(file.text.size() - rest.size()));
    take_line(rest);
  }
  return file;
}

std::optional<SourceLine> SourceReader::line(const std::string& name, std::int32_t number) {
  auto known = files_.find(name);
  if (known == files_.end()) known = files_.emplace(name, read(name)).first;
  const File& file = known->second;
  if (file.changed) return SourceLine{"", true};
  if (number < 1) return std::nullopt;
  const std::size_t index = static_cast<std::size_t>(number) - 1;
  if (index / kApart >= file.offsets.size()) return std::nullopt;
  std::string_view rest = std::string_view(file.text).substr(file.offsets[index / kApart]);
  for (std::size_t i = 0; i < index % kApart && !rest.empty(); ++i)
    take_line(rest);
  if (rest.empty()) return std::nullopt;
  return SourceLine{std::string(take_line(rest).substr(0, kMaxLineLength)), false};
}

void SourceReader::forget_failures() {
  std::erase_if(files_, [](const auto& file) { return file.second.failed; });
  on_fuse_.clear();
}

void add_source_lines(Snapshot& snapshot, SourceReader& sources) {
  sources.forget_failures();
  tsl::robin_map<std::uint64_t, std::optional<std::uint32_t>> known;  // by code and line
  const auto add = [&](std::vector<Frame>& frames) {
    for (Frame& frame : frames) {
      if (!frame.code || !frame.position.line) continue;
      const auto [entry, fresh] = known.try_emplace(
          std::uint64_t{*frame.code} << 32U | static_cast<std::uint32_t>(*frame.position.line));
      if (fresh) {
        auto line = sources.line(snapshot.codes[*frame.code].file, *frame.position.line);
        if (line) {
          entry.value() = static_cast<std::uint32_t>(snapshot.sources.size());
          snapshot.sources.push_back(*std::move(line));
        }
      }
      frame.source = entry->second;
    }
  };
  for (Thread& thread : snapshot.threads)
    add(thread.frames);
  for (SuspendedStack& stack : snapshot.stacks)
    add(stack.frames);
  if (const auto& left_out = sources.on_fuse(); !left_out.empty()) {
    snapshot.warnings.push_back(
        "lines of source on a FUSE file system are left out, since it may never answer: " +
        left_out.front() +
        (left_out.size() > 1 ? " and " + std::to_string(left_out.size() - 1) + " more" : ""));
  }
}

}  // namespace pyscope
