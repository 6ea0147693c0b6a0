// /proc/PID/maps as data. Parsed from text, so that it can be tested and fuzzed without a process.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/address.hpp"

namespace pyscope {

struct Mapping {
  RemoteRange range;
  bool readable = false;
  bool writable = false;
  bool executable = false;
  std::uint64_t file_offset = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::uint64_t inode = 0;  // 0: not backed by a file
  std::string path;  // as the kernel prints it, octal escapes undone; may end in " (deleted)"

  [[nodiscard]] bool same_file(const Mapping& other) const {
    return inode == other.inode && device_major == other.device_major &&
           device_minor == other.device_minor;
  }
};

/// The mapping that holds an address; null: none. The mappings must be in the order of their
/// addresses, as the kernel lists them.
[[nodiscard]] const Mapping* find_mapping(std::span<const Mapping> maps, RemoteAddr at);

/// Leaves out lines that don't parse: a newer kernel may add lines of another form.
[[nodiscard]] std::vector<Mapping> parse_maps(std::string_view text);

}  // namespace pyscope
