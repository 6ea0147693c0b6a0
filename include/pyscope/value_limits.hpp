#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace pyscope {

/// How much of the values of variables is read.
struct ValueLimits {
  /// No value is followed deeper than this, whatever max_depth says.
  // Bound: containers within containers
  static constexpr std::size_t kDeepest = 200;

  std::size_t max_string = 200;  // characters of a str, bytes of a bytes object
  std::size_t max_items = 20;    // of one container, attributes of one object
  std::size_t max_depth = 4;     // of containers within containers
  bool show_secrets = false;     // else values are masked that are named like a secret
  std::vector<std::string> secret_names = {};  // parts of names that mean one, besides the usual
};

}  // namespace pyscope
