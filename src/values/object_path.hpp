// Paths such as `shop.orders[3].state` or `worker-1/fetch:row['id']`: their grammar, and where they
// lead.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/error.hpp"
#include "python/objects.hpp"
#include "python/runtime_state.hpp"
#include "values/repr.hpp"

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

/// Where a path leads.
struct FoundObject {
  RemoteAddr object;          // null for a part that is no object: a byte, a character
  std::optional<Repr> plain;  // the value of such a part
  std::string name;           // by the last step: it may tell that the value is a secret
  std::string origin;         // "class Order", if the class has it and not the object itself
};

/// Follows paths through objects.
class PathResolver {
 public:
  PathResolver(ObjectReader& objects, const RawInterpreter& interpreter)
      : objects_(objects), reader_(objects.reader()), interpreter_(interpreter) {}

  /// Begins at a module, by the longest part of the path that names one, or at a name in __main__.
  [[nodiscard]] Result<FoundObject> from_modules(const ObjectPath& path);
  /// Whether the path's first name is a module, or a name of __main__ or of the builtins.
  [[nodiscard]] bool knows_start(const ObjectPath& path);
  /// Goes on from the object that the first steps of the path led to.
  [[nodiscard]] Result<FoundObject> follow(const ObjectPath& path, FoundObject start,
                                           std::size_t steps_taken);

 private:
  /// The module of a name, and the value of a name in a module; null if there is none.
  [[nodiscard]] RemoteAddr module(std::string_view name);
  [[nodiscard]] RemoteAddr in_module(std::string_view module_name, std::string_view name);
  [[nodiscard]] Result<FoundObject> attribute(const ObjectPath& path, std::size_t step,
                                              RemoteAddr object);
  [[nodiscard]] Result<FoundObject> subscript(const ObjectPath& path, std::size_t step,
                                              RemoteAddr object);
  [[nodiscard]] Result<FoundObject> dict_entry(const ObjectPath& path, std::size_t step,
                                               RemoteAddr dict);
  [[nodiscard]] tl::unexpected<Error> no_attribute(const ObjectPath& path, std::size_t step,
                                                   RemoteAddr object, const ObjectType& type);
  /// The step's index, counted from the beginning. Fails if there is no such one of `count` items.
  [[nodiscard]] static Result<std::uint64_t> index_of(const ObjectPath& path, std::size_t step,
                                                      std::uint64_t count, const std::string& type);

  ObjectReader& objects_;
  const Reader& reader_;
  const RawInterpreter& interpreter_;
};

/// The names that are most like the wanted one, the nearest first. Empty if there is none that is
/// like it.
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view wanted,
                                                     const std::vector<std::string>& names);
/// "nearest names: stock, stocks", or what there is at all; empty without names.
[[nodiscard]] std::string nearest_hint(std::string_view wanted,
                                       const std::vector<std::string>& names);

}  // namespace pyscope
