// A file system that is dead, as one of a server that has gone.
#pragma once

#include <string>
#include <thread>

#include "base/unique_fd.hpp"

namespace pyscope::test {

/// Mounted on a folder until it is destroyed. It has one file, `source.py`, which can be found and
/// opened. A read of it never comes back.
class SilentFiles {
 public:
  static constexpr const char* kFile = "source.py";

  /// Takes a folder that is there.
  explicit SilentFiles(std::string folder);
  SilentFiles(const SilentFiles&) = delete;
  SilentFiles& operator=(const SilentFiles&) = delete;
  ~SilentFiles();
  /// False where no such file system can be mounted.
  [[nodiscard]] bool mounted() const { return mounted_; }

 private:
  void serve() const;

  std::string folder_;
  UniqueFd device_;
  bool mounted_ = false;
  std::thread server_;
};

}  // namespace pyscope::test
