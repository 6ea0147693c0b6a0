// The real interpreters that the live tests run on.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace pyscope::test {

struct Interpreter {
  std::string version;  // "3.14.8"
  std::string kind;  // "release", "debug", with "-freethreaded" behind it for a build without GIL
  std::string root;  // the folder to chroot into; "/" for an interpreter of this machine
  std::string executable;  // the path inside `root`

  [[nodiscard]] int minor() const;
  [[nodiscard]] bool debug() const { return kind.starts_with("debug"); }
};

std::ostream& operator<<(std::ostream& out, const Interpreter& interpreter);

/// All from 3.13 on of the manifest that PYSCOPE_TEST_INTERPRETERS names, or else that
/// scripts/interpreters.sh makes. Throws if there is none, or if one of the supported versions
/// isn't in it: no test is skipped silently for want of an interpreter.
[[nodiscard]] const std::vector<Interpreter>& interpreters();

/// These, and those of versions that publish no offsets (3.11; 3.12 where PYSCOPE_TEST_PYTHONS
/// names one): for the tests whose programs run on them, too.
[[nodiscard]] const std::vector<Interpreter>& all_interpreters();

/// The newest release build: for tests of what doesn't depend on the interpreter.
[[nodiscard]] const Interpreter& any_interpreter();

}  // namespace pyscope::test
