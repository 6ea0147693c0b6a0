// A value of the target as a tree: what each object is, and what it holds. The renderers make the
// text of repr() or the form of JSON from the tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pyscope/address.hpp"

namespace pyscope {

struct ObjectType;
struct ValueParts;

/// One object. A leaf has a text only. Any other node has parts, and its text stands before them.
struct ValueNode {
  enum class Kind : std::uint8_t {
    None,
    Bool,
    Integer,
    Float,
    String,  // text: the first characters, as UTF-8 with surrogates as three bytes
    Bytes,   // text: the first bytes
    List,
    Tuple,
    Dict,
    Other,  // any other object, which only repr() shows
    Group,  // several parts of an object, and no object itself
    // These stand in place of an object.
    Masked,      // a secret, as its name says
    Cut,         // left out by the limits
    Cycle,       // the object holds itself, and is being shown already
    Unreadable,  // its memory can't be read, or makes no sense
  };

  ValueNode() = default;
  ValueNode(Kind of_kind, std::string of_text) : kind(of_kind), text(std::move(of_text)) {}
  ValueNode(ValueNode&&) noexcept = default;
  ValueNode& operator=(ValueNode&&) noexcept = default;
  ValueNode(const ValueNode&) = delete;
  ValueNode& operator=(const ValueNode&) = delete;
  ~ValueNode() = default;

  Kind kind = Kind::Other;
  bool escapes_quotes = false;       // Bytes: a single quote is escaped between double ones, too
  RemoteAddr address;                // null for a group, and for what is no object of its own
  const ObjectType* type = nullptr;  // lives as long as the ObjectReader; null if unknown
  std::string text;
  std::uint64_t whole_length = 0;     // String, Bytes: of all of it, if it is cut; or else 0
  std::unique_ptr<ValueParts> parts;  // null for a leaf
};

// A dump with variables has hundreds of thousands of them.
static_assert(sizeof(ValueNode) <= 72);

struct ValueParts {
  static constexpr std::uint64_t kSomeLeftOut = ~std::uint64_t{0};

  std::string closing;         // behind the parts
  bool spaced = false;         // a space stands between them, and no comma
  bool too_deep = false;       // the parts lie deeper than the limit, so none is here
  std::uint64_t left_out = 0;  // how many more there are; kSomeLeftOut: not known
  std::vector<ValueNode> values;
  std::vector<ValueNode> keys;     // of a mapping, one for each value; or else empty
  std::vector<std::string> names;  // of attributes and fields, one for each value, may be empty
};

/// A value, and what is true of all of it.
struct Value {
  ValueNode root;
  bool truncated = false;  // a limit or unreadable memory left something out
  bool complete = true;    // all of it could be read
  std::string detail;      // a fact that repr() doesn't tell: "suspended at line 12"
};

}  // namespace pyscope
