#include "values/plain_value.hpp"

#include "python/objects.hpp"
#include "values/secrets.hpp"

namespace pyscope {
namespace {

using Kind = ValueNode::Kind;

class PlainRenderer {
 public:
  explicit PlainRenderer(const ValueLimits& limits)
      : show_secrets_(limits.show_secrets), secrets_(limits.secret_names) {}

  std::optional<PlainValue> render(const ValueNode& node) {
    constexpr std::size_t kMostNodes = 200'000;
    if (node.type == nullptr || !node.type->exact || ++nodes_ > kMostNodes) return std::nullopt;
    PlainValue value;
    switch (node.kind) {
      case Kind::None:
        return value;
      case Kind::Bool:
        value.kind = PlainValue::Kind::Bool;
        value.boolean = node.text == "True";
        return value;
      case Kind::Integer:
      case Kind::Float:
        if (node.text == "nan" || node.text.ends_with("inf")) return std::nullopt;
        value.kind = PlainValue::Kind::Number;
        value.text = node.text;
        return value;
      case Kind::String:
        if (has_surrogate(node.text)) return std::nullopt;
        value.kind = PlainValue::Kind::String;
        value.text = node.text;
        return value;
      case Kind::List:
      case Kind::Tuple:
        value.kind = PlainValue::Kind::Array;
        return add_items(std::move(value), *node.parts);
      case Kind::Dict:
        value.kind = PlainValue::Kind::Object;
        if (!add_names(value, *node.parts)) return std::nullopt;
        return add_items(std::move(value), *node.parts);
      default:
        return std::nullopt;
    }
  }

 private:
  std::optional<PlainValue> add_items(PlainValue value, const ValueParts& parts) {
    value.items.reserve(parts.values.size());
    for (const ValueNode& item : parts.values) {
      auto plain = render(item);
      if (!plain) return std::nullopt;
      value.items.push_back(*std::move(plain));
    }
    return value;
  }

  bool add_names(PlainValue& value, const ValueParts& parts) {
    for (const ValueNode& key : parts.keys) {
      auto name = render(key);
      if (!name || name->kind != PlainValue::Kind::String) return false;
      if (!show_secrets_ && secrets_.matches(name->text)) return false;
      value.names.push_back(std::move(name->text));
    }
    return true;
  }

  /// Surrogates are three bytes, of which the first two are in these ranges.
  static bool has_surrogate(std::string_view utf8) {
    for (std::size_t i = utf8.find('\xED'); i != std::string_view::npos;
         i = utf8.find('\xED', i + 1)) {
      if (i + 1 < utf8.size() && static_cast<unsigned char>(utf8[i + 1]) >= 0xA0) return true;
    }
    return false;
  }

  bool show_secrets_;
  SecretNames secrets_;
  std::size_t nodes_ = 0;
};

}  // namespace

std::optional<PlainValue> plain_value(const Value& value, const ValueLimits& limits) {
  if (value.truncated) return std::nullopt;
  return PlainRenderer(limits).render(value.root);
}

bool may_be_plain(const Value& value, const ValueLimits& limits) {
  return PlainRenderer(limits).render(value.root).has_value();
}

}  // namespace pyscope
