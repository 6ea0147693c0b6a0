// The model of the value at a path, as plain data. Text from the target is kept as it was read, as
// in snapshot.hpp; renderers escape it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/plain_value.hpp"

namespace pyscope {

/// A part of the value at a path: a name of a module, an attribute, an item.
struct InspectedItem {
  std::string name;    // "stock", "'key'", "[3]": what leads there from the path
  std::string origin;  // "class Order": where it was found, if not in the object itself
  std::string type;
  std::optional<std::uint64_t> size;  // len(), of what has one and is known
  std::string repr;                   // shortened
  bool truncated = false;             // repr leaves something out
};

/// The value at one path.
struct InspectedValue {
  std::string path;            // as it was asked for
  std::optional<Error> error;  // why there is nothing; all else is empty then

  std::string origin;  // where it was found, if the path doesn't say so: "class Order",
                       // "thread 4711 MainThread, frame 2, Inventory.refresh"
  std::string type;    // "int", "Order", "datetime.date"
  std::string repr;    // what Python's repr() gives, as far as that is known without running code
  std::string detail;  // what repr() doesn't tell: "suspended at line 12"
  std::optional<std::uint64_t> size = {};  // len(), of what has one and is known
  std::optional<PlainValue> value;         // if there is one and nothing of it was cut or masked
  std::uint64_t address = 0;  // id(); 0 for what is no object of its own, as s[0] of a str
  bool consistent = true;     // read while nobody could change it
  bool same_twice = false;    // not so, but read twice with the same result
  /// When it was read, a thread was at an instruction that works on it, and may be in the middle of
  /// changing it.
  bool half_done = false;
  bool truncated = false;   // repr leaves something out
  bool unreadable = false;  // something of it, or of what is there, couldn't be read

  std::vector<InspectedItem> items;  // if they were asked for
  std::uint64_t items_left_out = 0;
};

struct Inspection {
  std::vector<InspectedValue> values;  // one for each path, in their order
  std::chrono::system_clock::time_point captured_at;
  std::int64_t paused_us = 0;
};

/// 0 if everything was read and verified; the first error's status if there is nothing else;
/// else 6.
[[nodiscard]] int exit_status(const Inspection& inspection);

}  // namespace pyscope
