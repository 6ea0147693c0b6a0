// Objects as text: what Python's own repr() gives, without running any code of the target; or less
// than that, marked, where there is too much or where only code could tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pyscope/value_limits.hpp"
#include "python/reader.hpp"

namespace pyscope {

struct Repr {
  std::string text;  // UTF-8, surrogates as three bytes
  std::string type;  // the type's name: "int", "Order", "datetime.date"
  bool truncated =
      false;  // text leaves something out: because of a limit, or because it can't be read
};

/// What all objects that one writer is asked for may cost together.
struct ReprBudget {
  std::size_t objects = 200'000;
  std::size_t text = std::size_t{32} << 20U;
};

class ReprWriter {
 public:
  ReprWriter(const Reader& reader, const ValueLimits& limits, ReprBudget& budget)
      : reader_(reader), limits_(limits), budget_(budget) {}

  /// The object, as the value of a variable of this name.
  [[nodiscard]] Repr write(RemoteAddr object, std::string_view name);

  /// What decides how objects of a type are shown.
  struct Type {
    RemoteAddr at;
    std::string name;       // of the class alone: "Order"
    std::string full_name;  // with the module, as repr() has it: "shop.Order", "int"
    std::uint64_t flags = 0;
    std::uint64_t basic_size = 0;
    std::int64_t dict_offset = 0;
    RemoteAddr repr;                // the C function of its repr()
    std::string builtin;            // tp_name of the nearest base that is C code: "dict",
                                    // "collections.deque", "object"
    RemoteAddr builtin_repr;        // and its C function
    bool exact = false;             // it is that C code itself
    std::vector<RemoteAddr> bases;  // the chain of tp_base, itself first

    /// As a type is named where there is room for a word: with the module only if it is C code.
    [[nodiscard]] const std::string& label() const { return exact ? full_name : name; }
    /// No Python code has a say in how it is shown.
    [[nodiscard]] bool shown_by_c() const { return repr == builtin_repr; }
  };

 private:
  friend struct ReprDecoders;

  void write_object(RemoteAddr object, std::size_t depth);
  [[nodiscard]] Result<const Type*> type_of(RemoteAddr object);
  [[nodiscard]] Result<const Type*> describe_type(RemoteAddr type);

  // Pieces of text. Nothing is added beyond the budget.
  void put(std::string_view text);
  void put_address(RemoteAddr at);
  /// The value of something that has a name, unless it is a secret.
  void put_named(std::string_view name, RemoteAddr value, std::size_t depth);
  void put_more(std::uint64_t count);

  // Kinds of objects.
  [[nodiscard]] Result<void> put_int(RemoteAddr object);
  [[nodiscard]] Result<void> put_str(RemoteAddr object);
  [[nodiscard]] Result<void> put_bytes(RemoteAddr data, std::uint64_t size,
                                       bool escape_quotes = false);
  [[nodiscard]] Result<void> put_float(double value, bool always_point);
  [[nodiscard]] Result<void> put_items(const std::vector<RemoteAddr>& items, std::uint64_t count,
                                       std::size_t depth);
  [[nodiscard]] Result<void> put_dict(RemoteAddr dict, std::size_t depth);
  [[nodiscard]] Result<void> put_pairs(const std::vector<std::pair<RemoteAddr, RemoteAddr>>& pairs,
                                       std::uint64_t count, std::size_t depth);
  [[nodiscard]] Result<void> put_instance(RemoteAddr object, const Type& type, std::size_t depth);
  [[nodiscard]] bool put_python_class(RemoteAddr object, const Type& type, std::size_t depth);

  /// The attributes of an instance, its slots and its dict, in the order of their creation.
  [[nodiscard]] std::vector<std::pair<std::string, RemoteAddr>> attributes(RemoteAddr object,
                                                                           const Type& type);
  [[nodiscard]] RemoteAddr attribute(RemoteAddr object, const Type& type, std::string_view name);
  /// A name in the dict of a class, of this class only.
  [[nodiscard]] RemoteAddr class_attribute(RemoteAddr type, std::string_view name);
  [[nodiscard]] std::string text_of(RemoteAddr str_object);

  const Reader& reader_;
  const ValueLimits& limits_;
  ReprBudget& budget_;
  std::unordered_map<std::uint64_t, Type> types_;
  std::vector<RemoteAddr> open_;  // the containers that are being written
  std::string out_;
  bool truncated_ = false;
};

/// True for names of variables, attributes and keys whose values are not for every eye: passwords,
/// tokens, keys, cookies.
[[nodiscard]] bool is_secret_name(std::string_view name);

}  // namespace pyscope
