// Whose code a function is: the program's own, an installed package's, or the standard library's.
// People look for trouble in the program's own code first.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "pyscope/snapshot.hpp"

namespace pyscope {

enum class Origin : std::uint8_t { Program, Package, StandardLibrary };

/// By the file's path alone. Files in `site-packages` or `dist-packages` are a package's, and so
/// are scripts without a suffix in a folder `bin`, which pip makes.
[[nodiscard]] Origin origin_of_file(std::string_view file);

/// The file as its package knows it: "sqlite3/base.py", "re/__init__.py", "threading.py". That is
/// the end of the path, with one folder, and without the folders of the interpreter.
[[nodiscard]] std::string_view telling_path(std::string_view file);

/// What a frame of machinery belongs to: "threading", "asyncio", "runpy", "import"; empty for all
/// other code. Machinery only calls other code: what begins a thread or a program, an event loop's
/// inside, the import of a module.
[[nodiscard]] std::string_view machinery_of(const Code& code);

/// The origins of a snapshot's code objects, each found once. The snapshot must outlive it.
class Origins {
 public:
  explicit Origins(const Snapshot& snapshot) : snapshot_(snapshot), known_(snapshot.codes.size()) {}

  [[nodiscard]] bool is_own(const Frame& frame);
  /// The innermost frame of the program's own among `from` and its callers; `from` if there is
  /// none. `from` is a frame of the thread, or null.
  [[nodiscard]] const Frame* own_frame(const Thread& thread, const Frame* from);

 private:
  const Snapshot& snapshot_;
  std::vector<std::optional<Origin>> known_;
};

}  // namespace pyscope
