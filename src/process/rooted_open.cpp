#include "process/rooted_open.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/kernel_call.hpp"
#include "base/opening.hpp"
#include "process/proc_file.hpp"

namespace pyscope {

constexpr std::uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
const open_how RootedOpening::kPath = {O_PATH | O_CLOEXEC, 0, kInRoot};
const open_how RootedOpening::kFolder = {O_PATH | O_DIRECTORY | O_CLOEXEC, 0, kInRoot};

namespace {

std::string read_link(int directory, const char* name) {
  std::array<char, PATH_MAX> target;
  const KernelCall call(directory, name);
  if (!call) return {};
  const ssize_t n = ::readlinkat(directory, name, target.data(), target.size());
  return n < 0 ? std::string{} : std::string(target.data(), static_cast<std::size_t>(n));
}

/// Whether the file is in /proc, where a link may lead to something that no path names.
bool is_of_proc(int fd) {
  struct statfs info {};
  const KernelCall call(fd);
  return call && ::fstatfs(fd, &info) == 0 && info.f_type == PROC_SUPER_MAGIC;
}

/// Whether the file lies on a FUSE file system, going by what the kernel has of it: the program
/// behind such a file system isn't asked. `proc_directory` is that of a process which sees the
/// file.
bool is_on_fuse(int proc_directory, int fd) {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &info) != 0) return false;
  // Devices of disks have other numbers.
  if (info.stx_dev_major != 0) return false;
  constexpr std::size_t kMost = std::size_t{4} << 20U;
  const auto mounts = read_whole_file(proc_directory, "mountinfo", kMost);
  if (!mounts) return false;
  const std::string device = fmt::format(" {}:{} ", info.stx_dev_major, info.stx_dev_minor);
  constexpr std::string_view kType = " - ";  // comes before it
  for (std::string_view rest = *mounts; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    // The device is the third word, the type the first one behind the dash.
    const std::size_t at = line.find(device);
    const std::size_t type = line.find(kType);
    if (at == std::string_view::npos || type == std::string_view::npos || at > type) continue;
    const std::string_view name = line.substr(type + kType.size());
    return name.starts_with("fuse") && !name.starts_with("fuseblk");
  }
  return false;
}

/// Does what RESOLVE_IN_ROOT does with O_PATH, name by name: on kernels without openat2, and where
/// each folder on the way must be open to a `reader`, who is told that what lies on FUSE can't be
/// opened (EREMOTE) unless the root lies there, too. The kernel never follows a name here, so no
/// name can lead out of the root, whatever is renamed meanwhile.
UniqueFd look_up_by_steps(int root, std::string rest, bool must_be_folder,
                          const Credentials* reader = nullptr, int proc_directory = -1) {
  constexpr int kMostLinks = 40;  // as in the kernel
  if (rest.empty()) {
    errno = ENOENT;
    return {};
  }
  // The folders on the way, the root first. ".." goes back to the folder before, even if that was
  // moved meanwhile.
  std::vector<UniqueFd> folders;
  folders.emplace_back(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto refused = [&](const UniqueFd& fd) {
    if (reader == nullptr || reader->may_read(fd.get())) return false;
    errno = EACCES;
    return true;
  };
  // A read of FUSE may never come back, and then not even SIGKILL ends the reader.
  std::optional<dev_t> of_root;
  std::optional<dev_t> looked_up;
  const auto leads_to_fuse = [&](const UniqueFd& fd) {
    struct statx info {};
    if (reader == nullptr ||
        ::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &info) != 0) {
      return false;
    }
    const dev_t device = ::makedev(info.stx_dev_major, info.stx_dev_minor);
    if (!of_root) of_root = device;
    if (device == of_root || device == looked_up) return false;
    if (is_on_fuse(proc_directory, fd.get())) {
      errno = EREMOTE;
      return true;
    }
    looked_up = device;
    return false;
  };
  (void)leads_to_fuse(folders.back());
  int links = 0;
  while (folders.back()) {
    if (rest.size() >= PATH_MAX) {
      errno = ENAMETOOLONG;
      return {};
    }
    const std::size_t start = rest.find_first_not_of('/');
    if (start == std::string::npos) return std::move(folders.back());
    const std::size_t end = std::min(rest.find('/', start), rest.size());
    const std::string name = rest.substr(start, end - start);
    if (refused(folders.back())) return {};
    rest.erase(0, end);
    if (name == ".") continue;
    if (name == "..") {
      if (folders.size() > 1) folders.pop_back();
      continue;
    }
    UniqueFd next{open_noted(folders.back().get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
    struct stat info {};
    if (next && leads_to_fuse(next)) return {};
    if (!next || fstat_noted(next.get(), info) != 0) return {};
    if (S_ISLNK(info.st_mode)) {
      const std::string target = read_link(next.get(), "");
      if (target.empty() || ++links > kMostLinks || is_of_proc(next.get())) {
        errno = ELOOP;
        return {};
      }
      if (target.starts_with('/')) folders.resize(1);
      rest.insert(0, target);
      continue;
    }
    if (!S_ISDIR(info.st_mode) && (must_be_folder || !rest.empty())) {
      errno = ENOTDIR;
      return {};
    }
    if (rest.empty()) return refused(next) ? UniqueFd{} : std::move(next);
    folders.push_back(std::move(next));
  }
  return {};
}

UniqueFd open_in_root(int root, const std::string& path, const open_how& how) {
  UniqueFd fd;
  // EAGAIN: while the kernel followed a "..", a file was renamed or a file system mounted, anywhere
  // on the system. So the kernel can't tell whether the ".." stays below the root.
  constexpr int kMostTries = 8;
  for (int tries = 0; tries < kMostTries; ++tries) {
    const KernelCall call(root, path.c_str());
    if (!call) return {};
    fd = UniqueFd{static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how))};
    if (fd || errno != EAGAIN) break;
  }
  // ENOSYS: an old kernel; EPERM: a container's seccomp filter that doesn't know the call.
  if (!fd && (errno == ENOSYS || errno == EPERM || errno == EAGAIN)) {
    return look_up_by_steps(root, path, (how.flags & O_DIRECTORY) != 0);
  }
  return fd;
}

}  // namespace

UniqueFd open_if_regular(const UniqueFd& peek) {
  struct stat info {};
  if (!peek || fstat_noted(peek.get(), info) != 0) return {};
  if (!S_ISREG(info.st_mode)) {
    errno = EINVAL;
    return {};
  }
  // Opens the file by its descriptor: its name could be another file's by now.
  const KernelCall call(peek.get());
  if (!call) return {};
  return UniqueFd{::open(fmt::format("/proc/self/fd/{}", peek.get()).c_str(),
                         O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
}

UniqueFd open_below_root(int proc_directory, const std::string& path) {
  const UniqueFd root{::openat(proc_directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root) return {};
  return open_if_regular(open_in_root(root.get(), path, RootedOpening::kPath));
}

UniqueFd open_folder_below_root(int proc_directory, const std::string& path) {
  const UniqueFd root{::openat(proc_directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root) return {};
  return open_in_root(root.get(), path, RootedOpening::kFolder);
}

UniqueFd open_from_working_directory(int proc_directory, const std::string& path,
                                     const Credentials& reader) {
  const UniqueFd root{::openat(proc_directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root) return {};
  const auto open_path = [&](const std::string& absolute) {
    return open_if_regular(look_up_by_steps(root.get(), absolute, false, &reader, proc_directory));
  };
  if (path.starts_with('/')) return open_path(path);
  // The kernel prints the working directory as the reader would see it, root included, if target
  // and reader share a mount namespace. Otherwise it prints the directory as the target sees it.
  std::string directory = read_link(proc_directory, "cwd");
  const std::string prefix = read_link(proc_directory, "root");
  if (prefix != "/" && directory.starts_with(prefix)) directory.erase(0, prefix.size());
  const UniqueFd guessed =
      open_in_root(root.get(), directory.empty() ? "/" : directory, RootedOpening::kFolder);
  const UniqueFd actual{::openat(proc_directory, "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (actual && !guessed && is_on_fuse(proc_directory, actual.get())) {
    errno = EREMOTE;
    return {};
  }
  struct stat guessed_info {};
  struct stat actual_info {};
  if (!guessed || !actual || fstat_noted(guessed.get(), guessed_info) != 0 ||
      fstat_noted(actual.get(), actual_info) != 0 || guessed_info.st_dev != actual_info.st_dev ||
      guessed_info.st_ino != actual_info.st_ino) {
    errno = ENOENT;
    return {};
  }
  return open_path(directory + "/" + path);
}

}  // namespace pyscope
