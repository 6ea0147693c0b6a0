// Source lines of the target's code, read from the target's own files.
#pragma once

#include <chrono>
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

 private:
  struct File {
    bool changed = false;
    std::vector<std::string> lines;
  };
  [[nodiscard]] File read(const std::string& name);

  Open open_;
  std::chrono::system_clock::time_point process_start_;
  const Log& log_;
  std::unordered_map<std::string, File> files_;
  std::size_t bytes_read_ = 0;
};

/// Gives every frame with a line number its source line, where the line can be read.
void add_source_lines(Snapshot& snapshot, SourceReader& sources);

}  // namespace pyscope
