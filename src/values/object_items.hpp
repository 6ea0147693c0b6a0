#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "python/objects.hpp"

namespace pyscope {

/// Something that an object holds.
struct ObjectItem {
  std::string name;    // the step that leads to it: "stock", "['key']", "[3]"
  std::string origin;  // "class Order": where it was found, if not in the object itself
  std::string key;     // the name by which the value may be a secret; or empty
  RemoteAddr object;
};

struct ObjectItems {
  std::vector<ObjectItem> items;
  std::uint64_t left_out = 0;  // how many more there are
};

/// What there is in an object, at most `most`: the names of a module, the attributes of an
/// instance and of its classes, the entries of a dict, the items of a sequence or set. Names that
/// Python itself puts everywhere (`__doc__`) are left out.
[[nodiscard]] ObjectItems list_items(ObjectReader& objects, RemoteAddr object, std::size_t most);

}  // namespace pyscope
