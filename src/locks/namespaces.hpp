// What the search for locks asks of objects: their types, their attributes, and the names in
// namespaces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "python/objects.hpp"
#include "python/reader.hpp"

namespace pyscope {

/// tp_name of an object's type; empty if there is no object.
[[nodiscard]] std::string type_name_of(const Reader& reader, RemoteAddr object);
/// The same for a type that is C code, and empty for all others: a class of the target's can have
/// the same name as a type of C code.
[[nodiscard]] std::string c_type_name_of(const Reader& reader, RemoteAddr object);
/// An attribute in an instance's dict, or within the instance; null if there is none.
[[nodiscard]] RemoteAddr instance_attribute(const Reader& reader, RemoteAddr object,
                                            std::string_view name);
/// The object that a method, of Python or C code, is bound to; null for anything else.
[[nodiscard]] RemoteAddr bound_self(const Reader& reader, RemoteAddr method);

/// Reads ahead all of these objects, each as far as an instance usually goes, with what lies before
/// it.
void prefetch_instances(const Reader& reader, const std::vector<RemoteAddr>& objects);

/// Attributes and names, each namespace read once: threads that run the same module share it. All
/// of them count against one budget, because a target can have any number of namespaces that are
/// one piece of memory.
class Namespaces {
 public:
  explicit Namespaces(const Reader& reader) : reader_(reader), objects_(reader) {}
  Namespaces(const Namespaces&) = delete;
  Namespaces& operator=(const Namespaces&) = delete;

  [[nodiscard]] const Reader& reader() const { return reader_; }
  [[nodiscard]] ObjectReader& objects() { return objects_; }

  /// The keys and values in an instance's dict, or within the instance.
  [[nodiscard]] std::vector<std::pair<RemoteAddr, RemoteAddr>> attributes(RemoteAddr object);
  /// The attributes of an instance that has slots and no dict; empty for all others.
  [[nodiscard]] std::vector<NamedObject> slots(RemoteAddr object);
  /// The key of a value in a dict; null if the dict doesn't have the value.
  [[nodiscard]] RemoteAddr key_of(RemoteAddr dict, RemoteAddr value);
  /// The namespaces of the modules that a module has among its names.
  [[nodiscard]] const std::vector<RemoteAddr>& modules_in(RemoteAddr globals);
  /// The text of a key; empty if it isn't a short str.
  [[nodiscard]] const std::string& key_text(RemoteAddr key);

 private:
  using Keys = std::unordered_map<std::uint64_t, RemoteAddr>;  // by value

  [[nodiscard]] const Keys& keys_in(RemoteAddr dict);
  [[nodiscard]] bool spend(std::size_t items);

  // Bound: names that are looked through for the names of locks
  static constexpr std::size_t kMostItemsInAll = std::size_t{1} << 22U;

  const Reader& reader_;
  ObjectReader objects_;
  std::size_t items_left_ = kMostItemsInAll;
  std::unordered_map<std::uint64_t, Keys> keys_;                        // by dict
  std::unordered_map<std::uint64_t, std::vector<RemoteAddr>> modules_;  // by namespace
  std::unordered_map<std::uint64_t, std::string> key_texts_;
};

}  // namespace pyscope
