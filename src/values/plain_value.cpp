#include "values/plain_value.hpp"

#include <fmt/core.h>

#include <cmath>

#include "values/repr.hpp"

namespace pyscope {
namespace {

class PlainReader {
 public:
  PlainReader(ObjectReader& objects, const ValueLimits& limits)
      : objects_(objects),
        reader_(objects.reader()),
        limits_(limits),
        secrets_(limits.secret_names) {}

  std::optional<PlainValue> read(RemoteAddr object, std::size_t depth) {
    using Kind = PlainValue::Kind;
    if (objects_left_ == 0) return std::nullopt;
    --objects_left_;
    const auto described = objects_.type_of(object);
    if (!described || !(*described)->exact) return std::nullopt;
    const std::string& type = (*described)->full_name;
    PlainValue value;
    if (type == "NoneType") return value;
    if (type == "bool") {
      const auto number = read_unsigned(reader_, object);
      if (!number) return std::nullopt;
      value.kind = Kind::Bool;
      value.boolean = *number != 0;
      return value;
    }
    if (type == "int") {
      ReprBudget budget;
      Repr text = ReprWriter(objects_, limits_, budget).write(object, "");
      if (text.truncated) return std::nullopt;
      value.kind = Kind::Number;
      value.text = std::move(text.text);
      return value;
    }
    if (type == "float") return number(object);
    if (type == "str") {
      auto text = string(object);
      if (!text) return std::nullopt;
      value.kind = Kind::String;
      value.text = *std::move(text);
      return value;
    }
    if (depth >= limits_.max_depth) return std::nullopt;
    if (type == "list" || type == "tuple") return array(object, type == "list", depth);
    if (type == "dict") return dict(object, depth);
    return std::nullopt;
  }

 private:
  std::optional<PlainValue> number(RemoteAddr object) {
    const auto content = reader_.field<double>(object, Field::FloatObFval);
    if (!content || !std::isfinite(*content)) return std::nullopt;
    PlainValue value;
    value.kind = PlainValue::Kind::Number;
    value.text = fmt::format("{}", *content);
    // That it is no int shows in JSON, too.
    if (value.text.find_first_of(".e") == std::string::npos) value.text += ".0";
    return value;
  }

  std::optional<std::string> string(RemoteAddr object) {
    const auto prefix = read_str_prefix(reader_, object, limits_.max_string);
    if (!prefix || prefix->length > prefix->characters.size()) return std::nullopt;
    std::u32string characters = prefix->characters;
    if (!limits_.show_secrets && mask_url_users(characters)) return std::nullopt;
    std::string text;
    for (const char32_t c : characters) {
      constexpr char32_t kFirstSurrogate = 0xD800;
      constexpr char32_t kLastSurrogate = 0xDFFF;
      if (c >= kFirstSurrogate && c <= kLastSurrogate) return std::nullopt;
      append_utf8(text, c);
    }
    return text;
  }

  std::optional<PlainValue> array(RemoteAddr object, bool list, std::size_t depth) {
    const auto size =
        reader_.field<std::uint64_t>(object, list ? Field::ListObSize : Field::TupleObSize);
    const auto items = list ? reader_.pointer(object, Field::ListObItem)
                            : Result<RemoteAddr>(object + reader_.offsets()[Field::TupleObItem]);
    if (!size || !items || *size > limits_.max_items) return std::nullopt;
    std::vector<std::uint64_t> pointers(*size);
    if (*size > 0 && !reader_.memory().read(*items, std::as_writable_bytes(std::span{pointers}))) {
      return std::nullopt;
    }
    PlainValue value;
    value.kind = PlainValue::Kind::Array;
    for (const std::uint64_t pointer : pointers) {
      auto item = read(RemoteAddr{pointer}, depth + 1);
      if (!item) return std::nullopt;
      value.items.push_back(*std::move(item));
    }
    return value;
  }

  std::optional<PlainValue> dict(RemoteAddr object, std::size_t depth) {
    const auto prefix = read_dict_prefix(reader_, object, limits_.max_items);
    if (!prefix || prefix->count > prefix->items.size()) return std::nullopt;
    PlainValue value;
    value.kind = PlainValue::Kind::Object;
    for (const auto& [key, item] : prefix->items) {
      const auto type = objects_.type_of(key);
      if (!type || (*type)->full_name != "str") return std::nullopt;
      auto name = string(key);
      if (!name || (!limits_.show_secrets && secrets_.matches(*name))) return std::nullopt;
      auto plain = read(item, depth + 1);
      if (!plain) return std::nullopt;
      value.names.push_back(*std::move(name));
      value.items.push_back(*std::move(plain));
    }
    return value;
  }

  ObjectReader& objects_;
  const Reader& reader_;
  const ValueLimits& limits_;
  SecretNames secrets_;
  std::size_t objects_left_ = 200'000;
};

}  // namespace

std::optional<PlainValue> read_plain_value(ObjectReader& objects, RemoteAddr object,
                                           const ValueLimits& limits) {
  return PlainReader(objects, limits).read(object, 0);
}

}  // namespace pyscope
