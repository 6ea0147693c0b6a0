// Where the steps of an attach and a capture are told (-v). The text is made only when somebody
// listens.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string>
#include <utility>

namespace pyscope {

class Log {
 public:
  Log() = default;
  explicit Log(std::function<void(const std::string&)> sink) : sink_(std::move(sink)) {}

  template <class... Args>
  void operator()(fmt::format_string<Args...> format, Args&&... args) const {
    if (sink_) sink_(fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::function<void(const std::string&)> sink_;
};

}  // namespace pyscope
