#include "native/demangle.hpp"

// The C library has it. Otherwise it is declared here, by another type than <cstring>'s.
#define HAVE_DECL_BASENAME 1
#include <libiberty/demangle.h>

#include <csetjmp>
#include <cstddef>

namespace pyscope {
namespace {

// Bound (bytes): mangled name
constexpr std::size_t kMaxMangled = 4096;
// Bound (bytes): what a mangled name becomes
constexpr std::size_t kMaxDemangled = 16384;

/// The text that a demangler has written so far. A short name can stand for one of any length,
/// since its parts may refer to each other. A demangler at work can only be ended by a jump.
struct Output {
  std::string text;
  std::jmp_buf too_long;
};

extern "C" void append_piece(const char* piece, std::size_t size, void* to) {
  auto& output = *static_cast<Output*>(to);
  if (size > kMaxDemangled - output.text.size()) std::longjmp(output.too_long, 1);
  output.text.append(piece, size);
}

using Demangler = int (*)(const char*, int, demangle_callbackref, void*);

// Neither demangler keeps anything that a jump would lose but for the buffer of a Rust identifier
// that isn't ASCII.
bool try_demangler(Demangler demangler, const std::string& name, Output& output) {
  output.text.reserve(kMaxDemangled);  // nothing is allocated while the demangler runs
  if (setjmp(output.too_long) != 0) return false;
  return demangler(name.c_str(), DMGL_PARAMS | DMGL_ANSI, append_piece, &output) != 0;
}

}  // namespace

std::string demangle(const std::string& name) {
  if (!name.starts_with("_Z") && !name.starts_with("_R")) return name;
  if (name.size() > kMaxMangled) return name;
  // Rust's older mangling is C++'s with a hash at its end, so Rust is tried first.
  for (const Demangler demangler : {&rust_demangle_callback, &cplus_demangle_v3_callback}) {
    Output output;
    if (try_demangler(demangler, name, output) && !output.text.empty()) return output.text;
  }
  return name;
}

}  // namespace pyscope
