// What this program was itself refused: descriptors or memory. A process that couldn't be looked at
// for that reason may be there all the same, so nothing may be concluded from such a failure.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>

#include "pyscope/error.hpp"

namespace pyscope {

/// Whether a system call that failed with this errno found us short of something.
[[nodiscard]] constexpr bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/// Counts the shortages of this program.
class Shortages {
 public:
  /// To be told of each failing call that could mean one; other errors don't count.
  static void note(int error) noexcept {
    if (!is_shortage(error)) return;
    latest = error;
    ++noted;
  }
  [[nodiscard]] static std::size_t count() { return noted; }
  /// The last shortage in words.
  [[nodiscard]] static Error error();

 private:
  static inline std::atomic<int> latest = 0;
  static inline std::atomic<std::size_t> noted = 0;
};

/// Watches for shortages while a result is worked out.
class ShortageWatch {
 public:
  /// The result, or the shortage on the way to it: the result may rest on what wasn't seen.
  template <class T>
  [[nodiscard]] Result<T> judge(Result<T> result) const {
    if (Shortages::count() == before_) return result;
    return fail(Shortages::error());
  }

 private:
  std::size_t before_ = Shortages::count();
};

}  // namespace pyscope
