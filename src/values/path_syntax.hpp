// The grammar of paths such as `shop.orders[3].state` or `worker-1/fetch:row['id']`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/error.hpp"

namespace pyscope {

/// One step from an object to the next.
struct PathStep {
  enum class Kind : std::uint8_t { Attribute, Subscript };
  Kind kind = Kind::Attribute;
  std::string text;                   // the attribute's name, or what stands between the brackets
  std::optional<std::string> key;     // the content, if the subscript is a str or bytes literal
  bool bytes = false;                 // the literal is one of bytes
  std::optional<std::int64_t> index;  // the subscript, if it is an integer that fits
  std::size_t end = 0;                // where the step ends in the path
};

struct ObjectPath {
  std::string text;
  bool in_frame = false;        // begins at a variable of the frame that these name
  std::string thread;           // may be empty
  std::string frame;            // may be empty
  std::vector<PathStep> steps;  // the first one is a name

  /// The path up to a step, for messages.
  [[nodiscard]] std::string up_to(std::size_t steps_taken) const;
};

/// Fails with Usage, and says where.
///
///     path  = [scope ":"] name {"." name | "[" literal "]"}
///     scope = thread ["/" frame]
///
/// A thread's name may hold anything: it ends at the first colon behind which a path can begin.
[[nodiscard]] Result<ObjectPath> parse_path(std::string_view text);

}  // namespace pyscope
