#pragma once

#include <string>

namespace pyscope {

/// The name of a C++ or Rust function as it stands in the source (Rust has two ways of mangling).
/// Any other name, and one that can't be demangled within bounds, is returned unchanged.
[[nodiscard]] std::string demangle(const std::string& name);

}  // namespace pyscope
