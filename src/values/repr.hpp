// Objects as text: what Python's own repr() gives, without running any code of the target; or less
// than that, marked, where there is too much or where only code could tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/value_limits.hpp"
#include "python/objects.hpp"
#include "values/secrets.hpp"

namespace pyscope {

struct Repr {
  std::string text;  // UTF-8, surrogates as three bytes
  std::string type;  // the type's name: "int", "Order", "datetime.date"
  bool truncated =
      false;  // text leaves something out: because of a limit, or because it can't be read
  std::string
      detail;  // what repr() doesn't tell: "suspended at line 12"; empty if there is nothing
  bool complete = true;  // nothing of it was unreadable
};

/// What all objects that one writer is asked for may cost together.
struct ReprBudget {
  std::size_t objects = 200'000;
  std::size_t text = std::size_t{32} << 20U;
};

class ReprWriter {
 public:
  ReprWriter(ObjectReader& objects, const ValueLimits& limits, ReprBudget& budget)
      : objects_(objects),
        reader_(objects.reader()),
        limits_(limits),
        secrets_(limits.secret_names),
        budget_(budget) {}

  /// The object, as the value of a variable of this name.
  [[nodiscard]] Repr write(RemoteAddr object, std::string_view name);

 private:
  friend struct ReprDecoders;

  void write_object(RemoteAddr object, std::size_t depth);

  // Pieces of text. Nothing is added beyond the budget.
  void put(std::string_view text);
  void put_address(RemoteAddr at);
  /// The value of something that has a name, unless it is a secret.
  void put_named(std::string_view name, RemoteAddr value, std::size_t depth);
  /// Whether a value of this name must not be shown.
  [[nodiscard]] bool is_secret(std::string_view name, RemoteAddr value);
  /// A str or bytes that names something; empty for what is neither, kUnreadableName for what can't
  /// be read.
  [[nodiscard]] std::string name_of(RemoteAddr key);
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
  [[nodiscard]] Result<void> put_instance(RemoteAddr object, const ObjectType& type,
                                          std::size_t depth);
  [[nodiscard]] bool put_python_class(RemoteAddr object, const ObjectType& type, std::size_t depth);

  ObjectReader& objects_;
  const Reader& reader_;
  const ValueLimits& limits_;
  SecretNames secrets_;
  ReprBudget& budget_;
  std::vector<RemoteAddr> open_;  // the containers that are being written
  std::string out_;
  bool truncated_ = false;
  bool complete_ = true;
  std::string detail_;
};

/// A str of these characters as repr() has it.
[[nodiscard]] std::string quoted(const std::u32string& characters);

}  // namespace pyscope
