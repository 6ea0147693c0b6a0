#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/shortage.hpp"

namespace pyscope {

/// Owns a file descriptor, or none (-1). Takes what a call that opens something returns, at once: a
/// call that failed because there are no more descriptors is noted.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {
    if (fd < 0) Shortages::note(errno);
  }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() {
    if (fd_ >= 0) ::close(fd_);  // never retried: Linux has released the descriptor even on EINTR
  }

  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace pyscope
