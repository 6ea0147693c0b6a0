#include "native/demangle.hpp"

#include <libiberty/demangle.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace pyscope {
namespace {

constexpr std::size_t kMaxMangled = 4096;

}  // namespace

std::string demangle(const std::string& name) {
  if (name.size() > kMaxMangled) return name;
  const std::unique_ptr<char, void (*)(void*)> text{
      ::cplus_demangle(name.c_str(), DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO), std::free};
  return text ? text.get() : name;
}

}  // namespace pyscope
