#include "process/credentials.hpp"

#include <fmt/core.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>

#include "base/kernel_call.hpp"
#include "process/words.hpp"

namespace pyscope {
namespace {

bool has_access_list(int fd) {
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  const KernelCall call(fd);
  if (!call) return true;
  if (::getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) >= 0) return true;
  return errno != ENODATA && errno != ENOTSUP;
}

}  // namespace

bool Credentials::may_read(int fd) const {
  struct stat info {};
  if (fstat_noted(fd, info) != 0) return false;
  if (reads_all) return true;
  const bool folder = S_ISDIR(info.st_mode);
  const auto permits = [&](mode_t read, mode_t search) {
    return (info.st_mode & (folder ? search : read)) != 0;
  };
  if (info.st_uid == uid) return permits(S_IRUSR, S_IXUSR);
  if (has_access_list(fd)) return false;
  if (info.st_gid == gid || std::find(groups.begin(), groups.end(), info.st_gid) != groups.end()) {
    return permits(S_IRGRP, S_IXGRP);
  }
  return permits(S_IROTH, S_IXOTH);
}

std::optional<Credentials> credentials_of(const Process& process) {
  const auto status = process.read_file("status");
  if (!status) return std::nullopt;
  // Real, effective, saved, and the one that counts for files.
  constexpr std::size_t kForFiles = 3;
  const auto uids = status_words(*status, "Uid");
  const auto gids = status_words(*status, "Gid");
  const auto capabilities = status_words(*status, "CapEff");
  if (uids.size() <= kForFiles || gids.size() <= kForFiles || capabilities.empty()) {
    return std::nullopt;
  }
  const auto uid = to_number<uid_t>(uids[kForFiles]);
  const auto gid = to_number<gid_t>(gids[kForFiles]);
  if (!uid || !gid) return std::nullopt;
  Credentials credentials{*uid, *gid};
  for (const auto& word : status_words(*status, "Groups")) {
    if (const auto group = to_number<gid_t>(word)) credentials.groups.push_back(*group);
  }
  const std::string_view text = capabilities[0];
  std::uint64_t effective = 0;
  std::from_chars(text.data(), text.data() + text.size(), effective, 16);
  constexpr std::uint64_t kReadAll =
      (std::uint64_t{1} << static_cast<unsigned>(CAP_DAC_OVERRIDE)) |
      (std::uint64_t{1} << static_cast<unsigned>(CAP_DAC_READ_SEARCH));
  // In a user namespace of its own a capability doesn't count for files of others.
  credentials.reads_all = (effective & kReadAll) != 0 && process.shares_namespace("user");
  return credentials;
}

}  // namespace pyscope
