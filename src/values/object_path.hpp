// Follows paths through the objects of the target.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pyscope/error.hpp"
#include "python/objects.hpp"
#include "python/runtime_state.hpp"
#include "values/path_syntax.hpp"
#include "values/repr.hpp"

namespace pyscope {

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

}  // namespace pyscope
