#pragma once

#include <string_view>

namespace pyscope {

/// The last part of a path.
[[nodiscard]] inline std::string_view file_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

}  // namespace pyscope
