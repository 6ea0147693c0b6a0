// A value of the target as data: what each object is, and what it holds. It is decoded once, and
// rendered as repr() has it or as JSON has it.
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

/// One object. A leaf is its text; all others have parts, and their text stands before these.
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
    Other,  // what has no form but its repr()
    Group,  // no object: several parts of one
    // These stand for an object.
    Masked,      // its name says that it is a secret
    Cut,         // the limits leave it out
    Cycle,       // it is within itself
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
  std::uint64_t whole_length = 0;     // String, Bytes: if more is left out; or else 0
  std::unique_ptr<ValueParts> parts;  // null for a leaf
};

// A dump with variables has hundreds of thousands of them.
static_assert(sizeof(ValueNode) <= 72);

struct ValueParts {
  static constexpr std::uint64_t kSomeLeftOut = ~std::uint64_t{0};

  std::string closing;         // behind the parts
  bool spaced = false;         // a space stands between them, and no comma
  bool too_deep = false;       // none is here, since they lie deeper than the limit
  std::uint64_t left_out = 0;  // so many more; kSomeLeftOut: it isn't known how many
  std::vector<ValueNode> values;
  std::vector<ValueNode> keys;     // of a mapping, one for each value; or else empty
  std::vector<std::string> names;  // of attributes and fields, one for each value, may be empty
};

/// A value, and what is true of all of it.
struct Value {
  ValueNode root;
  bool truncated = false;  // something is left out: by a limit, or since it can't be read
  bool complete = true;    // nothing of it was unreadable
  std::string detail;      // what repr() doesn't tell: "suspended at line 12"
};

}  // namespace pyscope
