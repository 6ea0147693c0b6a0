// The value at a path such as `shop.orders.queue[3].state`: found and read without running any code
// of the target.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/inspected_value.hpp"
#include "pyscope/value_limits.hpp"

namespace pyscope {

struct InspectOptions {
  /// The thread whose frames the paths begin at: a decimal tid or a Python name. Empty: they begin
  /// at modules, unless the path itself names a thread.
  std::string thread;
  /// A frame of that thread: a number, 0 for the innermost, or the name of a function. Empty: the
  /// innermost one that has a variable of the path's first name.
  std::string frame;
  /// What there is at each path, besides its value.
  bool list = false;
  /// Hold all Python threads while it is read.
  bool pause = false;
  ValueLimits values = {};
  /// How long each reading may take. What was read by then is the result, and says that it isn't
  /// all.
  std::chrono::milliseconds timeout{30'000};
  /// Told each step that is tried, in one line without a line end.
  std::function<void(const std::string&)> log = {};
};

/// Looks at one process as often as one likes.
class Inspector {
 public:
  /// Pins the process and finds its runtime. Fails as capture() does.
  [[nodiscard]] static Result<Inspector> attach(pid_t pid, const InspectOptions& options);
  Inspector(Inspector&&) noexcept;
  Inspector& operator=(Inspector&&) noexcept;
  Inspector(const Inspector&) = delete;
  Inspector& operator=(const Inspector&) = delete;
  ~Inspector();

  /// What is at each of the paths, all of one reading. A path that leads nowhere costs only itself.
  /// Fails if nothing could be read, as with NoSuchProcess once the process has ended.
  [[nodiscard]] Result<Inspection> read(const std::vector<std::string>& paths) const;

 private:
  struct State;
  explicit Inspector(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pyscope
