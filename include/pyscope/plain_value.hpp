#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pyscope {

/// A value that JSON has a form for without loss: None, bool, int, a finite float, a str without
/// lone surrogates, a list or tuple of these, a dict of these with str keys.
struct PlainValue {
  enum class Kind : std::uint8_t { Null, Bool, Number, String, Array, Object };
  Kind kind = Kind::Null;
  bool boolean = false;
  std::string text;                // of a Number, as JSON writes it, or of a String
  std::vector<PlainValue> items;   // of an Array, or the values of an Object
  std::vector<std::string> names;  // of an Object, as many as items
};

}  // namespace pyscope
