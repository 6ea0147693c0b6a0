// Decodes objects of the target into values, without running any code of the target. Each type that
// C code shows has a decoder; the tables of these are in decode_*.cpp, one for each kind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/thousands.hpp"
#include "pyscope/value_limits.hpp"
#include "python/objects.hpp"
#include "values/contents.hpp"
#include "values/secrets.hpp"
#include "values/value.hpp"

namespace pyscope {

/// The most that all values together may cost that share the budget.
struct ReprBudget {
  // Bound: objects of all values of a dump
  std::size_t objects = 200'000;
  // Bound (bytes): text of all values of a dump
  std::size_t text = std::size_t{32} << 20U;
};

class ValueDecoder {
 public:
  ValueDecoder(ObjectReader& objects, const ValueLimits& limits, ReprBudget& budget);

  /// The object, as the value of a variable of this name.
  [[nodiscard]] Value decode(RemoteAddr object, std::string_view name);
  /// The objects that an instruction may be changing at the moment: the change may be half done.
  void set_being_changed(const std::unordered_set<std::uint64_t>& objects) {
    being_changed_ = &objects;
  }
  /// Whether one of them was decoded since that was asked last, and can change.
  [[nodiscard]] bool met_one_being_changed() { return std::exchange(met_, false); }

  // --- For the decoders of single types

  [[nodiscard]] ObjectReader& objects() { return objects_; }
  [[nodiscard]] const Reader& reader() const { return reader_; }
  [[nodiscard]] const ValueLimits& limits() const { return limits_; }
  /// How many items of one container may be read: the limit, or what is left of the budget.
  [[nodiscard]] std::uint64_t most_items() const;
  [[nodiscard]] bool too_deep(std::size_t depth) const { return depth >= max_depth_; }

  /// Decodes an object that is part of another one, which lies one level above `depth`.
  [[nodiscard]] ValueNode decode_object(RemoteAddr object, std::size_t depth);
  /// The same for a value that has a name. A secret is masked.
  [[nodiscard]] ValueNode decode_named(std::string_view name, RemoteAddr value, std::size_t depth);

  /// Takes one node off the budget, for a part that is no object of its own: a number in an array.
  /// False if the budget is used up.
  [[nodiscard]] bool take_node();
  [[nodiscard]] bool exhausted() const { return budget_.objects == 0 || held_ >= budget_.text; }
  [[nodiscard]] ValueNode string_node(std::u32string characters, std::uint64_t length);
  [[nodiscard]] Result<ValueNode> bytes_node(const ByteRange& range);

  /// Adds parts to a node that has some.
  void add_items(ValueNode& node, const SequencePrefix& items, std::size_t depth);
  void add_pairs(ValueNode& node, const DictPrefix& pairs, std::size_t depth);
  void add_item(ValueNode& node, RemoteAddr object, std::size_t depth);
  void add_named(ValueNode& node, const std::string& name, RemoteAddr value, std::size_t depth);
  void leave_out(ValueNode& node, std::uint64_t count);

  /// Whether a value of this name must not be shown.
  [[nodiscard]] bool is_secret(std::string_view name, RemoteAddr value);
  /// The text of a key that is a str or bytes. Empty for any other key, kUnreadableName for a key
  /// that can't be read.
  [[nodiscard]] std::string name_of(RemoteAddr key);

  /// Notes that the value leaves something out.
  void mark_truncated() { truncated_ = true; }
  /// Sets a fact about the outermost object that repr() doesn't tell.
  void set_detail(std::string detail) { detail_ = std::move(detail); }

 private:
  [[nodiscard]] Result<ValueNode> decode_known(RemoteAddr object, const ObjectType& type,
                                               std::size_t depth);
  [[nodiscard]] ValueNode unreadable(std::string_view type_name, RemoteAddr object);

  ObjectReader& objects_;
  const Reader& reader_;
  const ValueLimits& limits_;
  SecretNames secrets_;
  ReprBudget& budget_;
  std::size_t max_depth_;
  std::unordered_set<std::uint64_t> open_;  // the objects that are being decoded
  std::size_t held_ = 0;                    // bytes of text that the value holds
  bool truncated_ = false;
  bool complete_ = true;
  const std::unordered_set<std::uint64_t>* being_changed_ = nullptr;
  bool met_ = false;
  std::string detail_;
};

using DecodeFunction = Result<ValueNode> (*)(ValueDecoder& decoder, RemoteAddr object,
                                             const ObjectType& type, std::size_t depth);

/// How objects of one type are decoded. The type is known by its tp_name.
struct TypeDecoder {
  std::string_view type;
  DecodeFunction decode;
  std::string_view cycle;  // how an object within itself is shown; empty: it can't be
};

[[nodiscard]] std::span<const TypeDecoder> number_decoders();
[[nodiscard]] std::span<const TypeDecoder> text_decoders();
[[nodiscard]] std::span<const TypeDecoder> container_decoders();
[[nodiscard]] std::span<const TypeDecoder> date_decoders();
[[nodiscard]] std::span<const TypeDecoder> standard_library_decoders();
[[nodiscard]] std::span<const TypeDecoder> function_decoders();
[[nodiscard]] std::span<const TypeDecoder> buffer_decoders();
[[nodiscard]] std::span<const TypeDecoder> numpy_decoders();

/// All exceptions are shown alike, whatever their types are called.
[[nodiscard]] Result<ValueNode> decode_exception(ValueDecoder& decoder, RemoteAddr object,
                                                 const ObjectType& type, std::size_t depth);
/// Decodes an instance of a class of the standard library whose repr() is Python code that pyscope
/// knows. Nothing for any other instance.
[[nodiscard]] std::optional<ValueNode> decode_known_class(ValueDecoder& decoder, RemoteAddr object,
                                                          const ObjectType& type,
                                                          std::size_t depth);
/// Shows an instance of any other class by its attributes. Its own __repr__ isn't run.
[[nodiscard]] ValueNode decode_instance(ValueDecoder& decoder, RemoteAddr object,
                                        const ObjectType& type, std::size_t depth);

// --- Nodes

[[nodiscard]] inline ValueNode leaf(std::string text) {
  return {ValueNode::Kind::Other, std::move(text)};
}
/// A node with parts, which stand between these.
[[nodiscard]] ValueNode between(std::string opening, std::string closing,
                                ValueNode::Kind kind = ValueNode::Kind::Other);
/// Adds a part that has no name.
void append(ValueNode& node, ValueNode part);
void append_named(ValueNode& node, std::string name, ValueNode part);
/// "0x7f00deadbeef"
[[nodiscard]] std::string address_text(RemoteAddr at);

}  // namespace pyscope
