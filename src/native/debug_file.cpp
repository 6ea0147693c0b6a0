#include "native/debug_file.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/kernel_call.hpp"
#include "process/rooted_open.hpp"

namespace pyscope {
namespace {

// Bound (bytes): debug file whose sum is taken
constexpr std::uint64_t kMaxSummedBytes = std::uint64_t{256} << 20U;
constexpr std::uint64_t kMaxLinkBytes = 4096;

std::string by_build_id(const std::vector<std::byte>& id) {
  std::string path = "/usr/lib/debug/.build-id/";
  for (std::size_t i = 0; i < id.size(); ++i)
    path += fmt::format("{}{:02x}", i == 1 ? "/" : "", std::to_integer<unsigned>(id[i]));
  return path + ".debug";
}

/// The section .gnu_debuglink: the name of a file, and the checksum (CRC-32) of its content.
struct DebugLink {
  std::string name;
  std::uint32_t sum = 0;
};

std::optional<DebugLink> debug_link(const ElfFile& program) {
  const ElfSectionHeader* section = program.section(".gnu_debuglink");
  if (section == nullptr) return std::nullopt;
  const auto bytes = program.contents(*section, kMaxLinkBytes);
  const char* text = reinterpret_cast<const char*>(bytes.data());
  DebugLink link{{text, bytes.empty() ? 0 : ::strnlen(text, bytes.size())}, 0};
  const std::size_t sum_at = (link.name.size() + 4) / 4 * 4;  // behind the zero and its padding
  // A name, and not a path to anywhere.
  if (link.name.empty() || link.name.find('/') != std::string::npos ||
      sum_at + sizeof link.sum > bytes.size()) {
    return std::nullopt;
  }
  std::memcpy(&link.sum, bytes.data() + sum_at, sizeof link.sum);
  return link;
}

std::optional<std::uint32_t> sum_of(int fd) {
  struct stat info {};
  if (fstat_noted(fd, info) != 0 || info.st_size < 0 ||
      static_cast<std::uint64_t>(info.st_size) > kMaxSummedBytes) {
    return std::nullopt;
  }
  std::vector<Bytef> piece(std::size_t{1} << 18U);
  uLong sum = ::crc32(0, nullptr, 0);
  for (off_t at = 0; at < info.st_size;) {
    const ssize_t n = pread_noted(fd, piece.data(), piece.size(), at);
    if (n <= 0) return std::nullopt;
    sum = ::crc32(sum, piece.data(), static_cast<uInt>(n));
    at += n;
  }
  return static_cast<std::uint32_t>(sum);
}

/// The path of a file below the target's root. If the target has another root in our mount
/// namespace, the kernel shows the path from our root.
std::string below_root(const Process& process, const std::string& path) {
  const std::string root = process.read_link("root").value_or("/");
  if (root == "/" || !path.starts_with(root + "/")) return path;
  return path.substr(root.size());
}

}  // namespace

std::unique_ptr<DebugFile> open_debug_file(const Process& process, const ElfFile& program,
                                           const std::string& path, const Log& log) {
  const auto id = program.build_id();
  const auto link = debug_link(program);

  const auto try_file = [&](const std::string& where, UniqueFd fd) -> std::unique_ptr<DebugFile> {
    if (!fd) return nullptr;
    auto elf = ElfFile::open(fd.get());
    if (!elf) {
      log("  {}: {}", where, elf.error().message);
      return nullptr;
    }
    const auto its_id = elf->build_id();
    const bool same =
        !id.empty() && !its_id.empty() ? id == its_id : link && sum_of(fd.get()) == link->sum;
    log("  {}: {}", where, same ? "the file with debug information" : "of another build");
    if (!same) return nullptr;
    return std::make_unique<DebugFile>(DebugFile{std::move(fd), *std::move(elf)});
  };
  const auto try_both_roots = [&](const std::string& in_target, const std::string& in_ours) {
    auto file = try_file("root" + in_target, open_below_root(process.directory(), in_target));
    if (file) return file;
    return try_file(
        in_ours,
        open_if_regular(UniqueFd{open_noted(AT_FDCWD, in_ours.c_str(), O_PATH | O_CLOEXEC)}));
  };

  if (id.size() > 1) {
    const std::string name = by_build_id(id);
    if (auto file = try_both_roots(name, name)) return file;
    log("  no debug file {}", name);
  }
  if (!link) return nullptr;
  const auto folder_of = [](const std::string& file) {
    return file.substr(0, file.rfind('/') + 1);
  };
  const std::string folder = folder_of(path);
  if (!folder.starts_with('/')) return nullptr;
  const std::string folder_in_root = folder_of(below_root(process, path));
  for (const auto& [before, behind] :
       {std::pair("", ".debug/"), std::pair("/usr/lib/debug", ""), std::pair("", "")}) {
    if (auto file = try_both_roots(before + folder_in_root + behind + link->name,
                                   before + folder + behind + link->name)) {
      return file;
    }
  }
  log("  no debug file {} beside it or below /usr/lib/debug", link->name);
  return nullptr;
}

}  // namespace pyscope
