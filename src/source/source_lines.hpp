// Source lines of the target's code, read from the target's own files.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

class SourceReader {
 public:
  /// Opens a file by a path as the target's code has it; invalid, with errno set, if the file can't
  /// be opened.
  using Open = std::function<UniqueFd(const std::string& path)>;

  /// A file that is newer than `process_start` may hold other lines than those that were compiled,
  /// and its lines are given as changed.
  SourceReader(Open open, std::chrono::system_clock::time_point process_start, const Log& log)
      : open_(std::move(open)), process_start_(process_start), log_(log) {}

  /// The line of a file; nothing if there is no such file or line, or if it can't be read safely.
  [[nodiscard]] std::optional<SourceLine> line(const std::string& file, std::int32_t number);
  /// Tries files again that couldn't be read.
  void forget_failures();
  /// Files that weren't opened because they lie on a FUSE file system (EREMOTE).
  [[nodiscard]] const std::vector<std::string>& on_fuse() const { return on_fuse_; }

 private:
  /// Lines are found in the text when they are asked for, by the offsets of a few of them: a file
  /// may be nothing but line ends.
  struct File {
    bool changed = false;
    bool failed = false;  // it couldn't be read, which may be otherwise another time
    std::string text;
    std::vector<std::uint32_t> offsets;  // of each kApart-th line
  };
  static constexpr std::size_t kApart = 64;
  [[nodiscard]] File read(const std::string& name);

  Open open_;
  std::chrono::system_clock::time_point process_start_;
  const Log& log_;
  std::unordered_map<std::string, File> files_;
  std::vector<std::string> on_fuse_;
  std::size_t bytes_read_ = 0;
};

/// Gives every frame with a line number its source line, where the line can be read.
void add_source_lines(Snapshot& snapshot, SourceReader& sources);

}  // namespace pyscope
