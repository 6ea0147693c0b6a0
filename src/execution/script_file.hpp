// The script's file in the target's own root: made by nobody else, readable for the target's user
// alone, and removed by whoever comes first, the script or this program.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "base/unique_fd.hpp"
#include "process/credentials.hpp"
#include "process/process.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// Folders of the target that may take a file, and a name that no other file has.
class ScriptPlace {
 public:
  /// Fails if this program can't make files for the target's user.
  [[nodiscard]] static Result<ScriptPlace> find(const Process& process, const Log& log);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Removes the file, wherever it is. True if it was there.
  bool remove() const;

 private:
  friend class ScriptFile;
  struct Folder {
    UniqueFd descriptor;
    std::string path;  // as the target sees it
  };
  ScriptPlace() = default;

  Credentials owner_;
  std::string name_;
  std::vector<Folder> folders_;
};

class ScriptFile {
 public:
  /// Makes the file in the first folder that takes it. `text_at` gives the content for a path.
  /// `place` must outlive this.
  template <class TextAt>
  [[nodiscard]] static Result<ScriptFile> create(const ScriptPlace& place, const TextAt& text_at) {
    Error last{ErrorKind::Failed, "there is no folder for the script", ""};
    for (std::size_t i = 0; i < place.folders_.size(); ++i) {
      std::string path = place.folders_[i].path + "/" + place.name_;
      auto file = create_in(place, i, path, text_at(path));
      if (file) return file;
      last = std::move(file).error();
    }
    return fail(std::move(last));
  }
  ScriptFile(ScriptFile&&) noexcept = default;
  ScriptFile& operator=(ScriptFile&&) = delete;
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  /// Removes the file if it is still there.
  ~ScriptFile();

  /// As the target sees it.
  [[nodiscard]] const std::string& path() const { return path_; }
  /// How long the file is now, whether it has a name or not.
  [[nodiscard]] std::size_t size() const;
  /// What stands in it; no more than `limit`.
  [[nodiscard]] std::string read(std::size_t limit) const;
  /// Removes the file. False if it was gone: then the script has removed it, and runs or ran.
  bool take_back() { return place_->remove(); }

 private:
  ScriptFile(const ScriptPlace& place, UniqueFd file, std::string path)
      : place_(&place), file_(std::move(file)), path_(std::move(path)) {}
  [[nodiscard]] static Result<ScriptFile> create_in(const ScriptPlace& place, std::size_t folder,
                                                    const std::string& path, std::string_view text);

  const ScriptPlace* place_;
  UniqueFd file_;
  std::string path_;
};

}  // namespace pyscope
