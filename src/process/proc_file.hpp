// Reading files whole, each reading with a bound: the files of /proc, which have no size, and the
// few others that are read like them.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "pyscope/error.hpp"

namespace pyscope {

/// The error for a system call that failed with this errno. `step` says what was tried.
[[nodiscard]] Error error_from_errno(const std::string& step, int error);

/// Reads a whole file. Fails if the file is larger than `limit` bytes. A relative path begins at
/// the folder behind the descriptor `directory`, which may be AT_FDCWD.
[[nodiscard]] Result<std::string> read_whole_file(int directory, const char* path,
                                                  std::size_t limit);

/// Reads the first `limit` bytes of a file, or fewer if the file is shorter.
[[nodiscard]] Result<std::string> read_file_start(int directory, const char* path,
                                                  std::size_t limit);

/// A file of /proc that the kernel gives in one read, and that is never as large as this buffer.
/// Reading one takes no memory from the heap, since there may be thousands.
class SmallFile {
 public:
  SmallFile(int directory, const char* path);
  /// False if nothing could be read, or if the file may go on behind the buffer.
  [[nodiscard]] explicit operator bool() const { return size_ > 0; }
  /// Empty if nothing could be read.
  [[nodiscard]] std::string_view text() const {
    return {buffer_.data(), size_ > 0 ? static_cast<std::size_t>(size_) : 0};
  }
  /// Nothing was read because reading isn't permitted.
  [[nodiscard]] bool denied() const;
  /// Nothing was read because the kernel gave no answer before.
  [[nodiscard]] bool unanswered() const;

 private:
  std::array<char, 8192> buffer_;
  ssize_t size_ = -1;
  int error_ = 0;
};

}  // namespace pyscope
