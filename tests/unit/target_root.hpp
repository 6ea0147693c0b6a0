// What stands for /proc/PID of a process that lives in a root of its own.
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "scratch_folder.hpp"

namespace pyscope::test {

/// A target whose root is a scratch folder, and whose working directory is /srv/work in there.
class TargetRoot {
 public:
  TargetRoot() {
    std::filesystem::create_directories(root() / "srv/work");
    std::filesystem::create_directory(folder_.path() / "proc");
    std::filesystem::create_directory_symlink(root(), folder_.path() / "proc/root");
    set_working_directory(root() / "srv/work");
    proc_directory_ =
        UniqueFd{::open((folder_.path() / "proc").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  }

  [[nodiscard]] int proc_directory() const { return proc_directory_.get(); }
  /// The folder that holds the root and is out of reach for the target.
  [[nodiscard]] std::filesystem::path outside() const { return folder_.path(); }
  [[nodiscard]] std::filesystem::path root() const { return folder_.path() / "root"; }

  /// Writes a file at a path as the target sees it, which begins with a slash.
  std::filesystem::path write(const std::string& path, std::string_view content) const {
    return folder_.write("root" + path, content);
  }
  void set_working_directory(const std::filesystem::path& to) const {
    const std::filesystem::path link = folder_.path() / "proc/cwd";
    std::filesystem::remove(link);
    std::filesystem::create_directory_symlink(to, link);
  }

 private:
  ScratchFolder folder_;
  UniqueFd proc_directory_;
};

}  // namespace pyscope::test
