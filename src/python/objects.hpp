// Python objects as data: their types, and the attributes that they hold. Nothing here runs code of
// the target, so a property is a property and not its value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "python/reader.hpp"

namespace pyscope {

/// A class, builtin or not, as far as it decides how its instances are read and shown.
struct ObjectType {
  RemoteAddr at;
  std::string name;       // of the class alone: "Order"
  std::string full_name;  // with the module, as repr() has it: "shop.Order", "int"
  std::uint64_t flags = 0;
  std::uint64_t basic_size = 0;
  RemoteAddr repr;                // the C function of its repr()
  std::string builtin;            // tp_name of the nearest base that is C code: "dict",
                                  // "collections.deque", "object"
  RemoteAddr builtin_repr;        // and its C function
  bool exact = false;             // it is that C code itself
  std::vector<RemoteAddr> bases;  // the chain of tp_base, itself first
  std::vector<RemoteAddr> mro;    // where attributes are looked up, itself first

  /// As a type is named where there is room for a word: with the module only if it is C code.
  [[nodiscard]] const std::string& label() const { return exact ? full_name : name; }
  /// No Python code has a say in how it is shown.
  [[nodiscard]] bool shown_by_c() const { return repr == builtin_repr; }
  [[nodiscard]] bool is_class() const { return (flags & kTypeSubclass) != 0; }
};

/// Stands for a name that can't be read. What has it may be a secret.
inline constexpr std::string_view kUnreadableName = "<unreadable>";

/// An attribute by its name.
using NamedObject = std::pair<std::string, RemoteAddr>;

/// The keys and values in an instance's dict, or within the instance, in the order in which they
/// were set; at most `limit`. Slots aren't among them.
[[nodiscard]] Result<DictPrefix> read_instance_items(const Reader& reader, RemoteAddr object,
                                                     RemoteAddr type, std::size_t limit);

class ObjectReader {
 public:
  explicit ObjectReader(const Reader& reader) : reader_(reader) {}

  [[nodiscard]] const Reader& reader() const { return reader_; }

  /// The type of an object. It lives as long as this reader.
  [[nodiscard]] Result<const ObjectType*> type_of(RemoteAddr object);
  [[nodiscard]] Result<const ObjectType*> describe_type(RemoteAddr type);

  /// What an instance holds, at most `most`: its slots, those of the outermost base first, and its
  /// dict in the order in which that was filled.
  [[nodiscard]] std::vector<NamedObject> attributes(RemoteAddr object, const ObjectType& type,
                                                    std::size_t most);
  /// One of them; null if there is none of this name.
  [[nodiscard]] RemoteAddr attribute(RemoteAddr object, const ObjectType& type,
                                     std::string_view name);
  /// What the C structure of an instance holds under a name that Python code can see: `__self__`,
  /// `args`, `start`. Null if there is nothing of this name, or if it isn't an object.
  [[nodiscard]] RemoteAddr member(RemoteAddr object, const ObjectType& type, std::string_view name);
  /// A name in the dict of a class, of this class only; null if there is none. The classes that are
  /// part of the interpreter keep theirs out of reach.
  [[nodiscard]] RemoteAddr class_attribute(RemoteAddr type, std::string_view name);
  /// The dict of a class; null if it can't be reached.
  [[nodiscard]] RemoteAddr class_dict(RemoteAddr type);
  /// The namespace of a module.
  [[nodiscard]] Result<RemoteAddr> module_dict(RemoteAddr module);

  /// A str that is a name: up to 1,024 characters; empty if it is longer or can't be read.
  [[nodiscard]] std::string text_of(RemoteAddr str_object);
  /// A str that something is called by: its first 1,024 characters; kUnreadableName if it can't be
  /// read.
  [[nodiscard]] std::string name_of(RemoteAddr str_object);

 private:
  void read_bases(ObjectType& type);

  const Reader& reader_;
  std::unordered_map<std::uint64_t, ObjectType> types_;
};

}  // namespace pyscope
