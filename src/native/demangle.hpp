#pragma once

#include <string>

namespace pyscope {

/// A function's name as it stands in the source, of C++ and Rust (both ways of mangling); any other
/// name, and one that can't be demangled within bounds, as it is.
[[nodiscard]] std::string demangle(const std::string& name);

}  // namespace pyscope
