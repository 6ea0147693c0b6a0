// The names of code that a compiler makes while the program runs: /tmp/perf-PID.map, as perf(1)
// defines it. Parsed from text, so that it can be tested and fuzzed without a process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "process/process.hpp"

namespace pyscope {

class PerfMap {
 public:
  PerfMap() = default;
  /// Lines "START SIZE name", numbers in hexadecimal. Those that don't parse are left out.
  explicit PerfMap(std::string text);

  struct Entry {
    std::string_view name;  // in the map
    std::uint64_t start = 0;
  };
  /// The last entry that was written for an address.
  [[nodiscard]] std::optional<Entry> find(std::uint64_t address) const;

 private:
  struct Line {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    std::uint32_t offset = 0;  // of the name in the text; also the order in which they were written
    std::uint32_t length = 0;
  };
  std::string text_;
  std::vector<Line> lines_;  // by their start, then in the order of the file
};

/// The path to which the target would write its map, as the target sees it.
[[nodiscard]] std::string perf_map_path(const Process& process);

/// The target's map, if the target's user or root wrote it; else an empty map.
[[nodiscard]] PerfMap read_perf_map(const Process& process, const Log& log);

}  // namespace pyscope
