#include "process/rooted_open.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>

#include "process/opening.hpp"

namespace pyscope {

constexpr std::uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
const open_how RootedOpening::kPath = {O_PATH | O_CLOEXEC, 0, kInRoot};
const open_how RootedOpening::kFolder = {O_PATH | O_DIRECTORY | O_CLOEXEC, 0, kInRoot};

namespace {

// Without openat2: component by component, following no link at all.
UniqueFd open_without_links(int root, std::string_view path, int flags) {
  UniqueFd at{::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  while (at) {
    const std::size_t start = path.find_first_not_of('/');
    if (start == std::string_view::npos) return at;
    path.remove_prefix(start);
    const std::size_t end = path.find('/');
    const std::string component{path.substr(0, end)};
    const bool last = path.find_first_not_of('/', component.size()) == std::string_view::npos;
    if (component == "..") {
      errno = ELOOP;  // can't be told apart from a way out of the root here
      return {};
    }
    at = UniqueFd{::openat(at.get(), component.c_str(),
                           O_NOFOLLOW | O_CLOEXEC | (last ? flags : O_PATH | O_DIRECTORY))};
    path.remove_prefix(component.size());
  }
  return at;
}

UniqueFd open_in_root(int root, const std::string& path, const open_how& how) {
  UniqueFd fd{static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how))};
  // ENOSYS: an old kernel; EPERM: a container's seccomp filter that doesn't know the call.
  if (!fd && (errno == ENOSYS || errno == EPERM)) {
    return open_without_links(root, path, static_cast<int>(how.flags));
  }
  return fd;
}

std::string read_link(int directory, const char* name) {
  std::array<char, PATH_MAX> target;
  const ssize_t n = ::readlinkat(directory, name, target.data(), target.size());
  return n < 0 ? std::string{} : std::string(target.data(), static_cast<std::size_t>(n));
}

}  // namespace

UniqueFd open_if_regular(const UniqueFd& peek) {
  struct stat info {};
  if (!peek || ::fstat(peek.get(), &info) != 0) return {};
  if (!S_ISREG(info.st_mode)) {
    errno = EINVAL;
    return {};
  }
  // By its descriptor and not by its name, which could be another file's by now.
  return UniqueFd{::open(fmt::format("/proc/self/fd/{}", peek.get()).c_str(),
                         O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
}

UniqueFd open_below_root(int proc_directory, const std::string& path) {
  const UniqueFd root{::openat(proc_directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root) return {};
  return open_if_regular(open_in_root(root.get(), path, RootedOpening::kPath));
}

UniqueFd open_from_working_directory(int proc_directory, const std::string& path) {
  if (path.starts_with('/')) return open_below_root(proc_directory, path);
  const UniqueFd root{::openat(proc_directory, "root", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!root) return {};
  // The kernel prints the working directory as we would see it, root included, where target and
  // reader share a mount namespace; and as the target sees it where they don't.
  std::string directory = read_link(proc_directory, "cwd");
  const std::string prefix = read_link(proc_directory, "root");
  if (prefix != "/" && directory.starts_with(prefix)) directory.erase(0, prefix.size());
  const UniqueFd guessed =
      open_in_root(root.get(), directory.empty() ? "/" : directory, RootedOpening::kFolder);
  const UniqueFd actual{::openat(proc_directory, "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  struct stat guessed_info {};
  struct stat actual_info {};
  if (!guessed || !actual || ::fstat(guessed.get(), &guessed_info) != 0 ||
      ::fstat(actual.get(), &actual_info) != 0 || guessed_info.st_dev != actual_info.st_dev ||
      guessed_info.st_ino != actual_info.st_ino) {
    errno = ENOENT;
    return {};
  }
  return open_if_regular(open_in_root(root.get(), directory + "/" + path, RootedOpening::kPath));
}

}  // namespace pyscope
