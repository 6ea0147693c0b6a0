#include "process/proc_file.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/kernel_call.hpp"
#include "base/unique_fd.hpp"

namespace pyscope {
namespace {

/// Nothing waits when it is opened, whatever lies at the path.
UniqueFd open_to_read(int directory, const char* path) {
  return UniqueFd{open_noted(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
}

ssize_t read_some(int fd, char* to, std::size_t size) {
  ssize_t n = 0;
  do {
    n = read_noted(fd, to, size);
  } while (n < 0 && errno == EINTR);
  if (n < 0) Shortages::note(errno);
  return n;
}

}  // namespace

Error error_from_errno(const std::string& step, int error) {
  ErrorKind kind = ErrorKind::Failed;
  if (error == ESRCH || error == ENOENT) kind = ErrorKind::NoSuchProcess;
  if (error == EPERM || error == EACCES) kind = ErrorKind::NotPermitted;
  return {kind, fmt::format("{}: {}", step, std::strerror(error)), ""};
}

Result<std::string> read_file_start(int directory, const char* path, std::size_t limit) {
  const UniqueFd fd = open_to_read(directory, path);
  if (!fd) return fail(error_from_errno(fmt::format("opening {}", path), errno));
  std::string content;
  std::array<char, 16384> buffer;
  while (content.size() < limit) {
    const ssize_t n =
        read_some(fd.get(), buffer.data(), std::min(buffer.size(), limit - content.size()));
    if (n < 0) return fail(error_from_errno(fmt::format("reading {}", path), errno));
    if (n == 0) break;
    content.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return content;
}

Result<std::string> read_whole_file(int directory, const char* path, std::size_t limit) {
  auto content = read_file_start(directory, path, limit + 1);
  if (content && content->size() > limit) {
    return fail(ErrorKind::Failed, fmt::format("{} is larger than {} bytes", path, limit));
  }
  return content;
}

SmallFile::SmallFile(int directory, const char* path) {
  const UniqueFd fd = open_to_read(directory, path);
  if (fd) size_ = read_some(fd.get(), buffer_.data(), buffer_.size());
  if (size_ < 0) error_ = errno;
  // A file that fills the buffer may go on, and so isn't whole.
  if (size_ == static_cast<ssize_t>(buffer_.size())) size_ = -1;
}

bool SmallFile::unanswered() const {
  return size_ < 0 && error_ == ETIMEDOUT;
}

bool SmallFile::denied() const {
  return size_ < 0 && (error_ == EPERM || error_ == EACCES);
}

}  // namespace pyscope
