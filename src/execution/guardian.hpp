// A process of our own that cleans up if this one can't: it waits for the end of this process,
// however that comes, and then does what it was given.
#pragma once

#include <sys/types.h>

#include <functional>

#include "base/unique_fd.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

class Guardian {
 public:
  [[nodiscard]] static Result<Guardian> start(const std::function<void()>& clean_up);
  Guardian(Guardian&& other) noexcept;
  Guardian& operator=(Guardian&&) = delete;
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;
  /// Ends it: there is nothing left to clean up.
  ~Guardian();

 private:
  Guardian() = default;
  pid_t process_ = 0;
  UniqueFd line_;
};

}  // namespace pyscope
