// Classes whose repr() is Python code that pyscope knows. A class is recognised by an attribute
// that no other class has, and by the file that its __repr__ is from.
#include <algorithm>
#include <vector>

#include "python/integers.hpp"
#include "values/decoder.hpp"

namespace pyscope {
namespace {

using Decoded = std::optional<ValueNode>;

constexpr std::uint64_t kTypeTupleSubclass = 1U << 26U;

/// An instance, and what is known of its class.
struct Instance {
  ValueDecoder& d;
  RemoteAddr at;
  const ObjectType& type;
  std::size_t depth;

  [[nodiscard]] bool repr_is_from(std::string_view file) const {
    for (const RemoteAddr base : type.bases) {
      const RemoteAddr function = d.objects().class_attribute(base, "__repr__");
      if (!function) continue;
      const auto code = d.reader().pointer(function, Field::FunctionCode);
      const auto described = d.objects().type_of(function);
      if (!code || !described || (*described)->builtin != "function") return false;
      const auto name = d.reader().pointer(*code, Field::CodeFilename);
      return name && d.objects().text_of(*name).ends_with(file);
    }
    return false;
  }

  [[nodiscard]] RemoteAddr attribute(std::string_view name) const {
    return d.objects().attribute(at, type, name);
  }

  [[nodiscard]] RemoteAddr class_attribute(std::string_view name) const {
    for (const RemoteAddr base : type.bases) {
      if (const RemoteAddr found = d.objects().class_attribute(base, name)) return found;
    }
    return {};
  }
};

/// An attribute of an object of any class; null if there is none of this name.
RemoteAddr attribute_of(ValueDecoder& d, RemoteAddr object, std::string_view name) {
  const auto type = object ? d.objects().type_of(object)
                           : Result<const ObjectType*>(fail(ErrorKind::Malformed, "no object"));
  return type ? d.objects().attribute(object, **type, name) : RemoteAddr{};
}

Decoded named_tuple(const Instance& it) {
  ValueDecoder& d = it.d;
  // The class of a named tuple has the names of the items in _fields.
  const RemoteAddr fields = it.class_attribute("_fields");
  if (!fields) return std::nullopt;
  const auto type = d.objects().type_of(fields);
  if (!type || (*type)->builtin != "tuple" || !it.repr_is_from("collections/__init__.py"))
    return std::nullopt;
  const auto names = read_sequence_prefix(d.reader(), fields, ContainerKind::Tuple, d.most_items());
  const auto items = read_sequence_prefix(d.reader(), it.at, ContainerKind::Tuple, d.most_items());
  if (!names || !items || names->count != items->count) return std::nullopt;
  if (d.too_deep(it.depth)) {
    d.mark_truncated();
    return leaf(it.type.name + "(…)");
  }
  ValueNode node = between(it.type.name + "(", ")");
  for (std::size_t i = 0; i < items->items.size(); ++i)
    d.add_named(node, d.objects().name_of(names->items[i]), items->items[i], it.depth);
  d.leave_out(node, items->count - items->items.size());
  return node;
}

Decoded data_class(const Instance& it) {
  ValueDecoder& d = it.d;
  const Reader& reader = d.reader();
  const RemoteAddr fields = d.objects().class_attribute(it.type.at, "__dataclass_fields__");
  if (!fields || !(it.repr_is_from("dataclasses.py") || it.repr_is_from("reprlib.py")))
    return std::nullopt;
  const std::uint64_t most = d.most_items();
  const auto names = read_dict_prefix(reader, fields, most);
  if (!names) return std::nullopt;
  // Python prints the qualified name without the module.
  const auto qualified = reader.pointer(it.type.at, Field::HeapTypeHtQualname);
  const auto found = d.objects().attributes(it.at, it.type, most + 1);
  ValueNode node = between((qualified ? d.objects().text_of(*qualified) : it.type.name) + "(", ")");
  for (const auto& [key, field] : names->items) {
    // Fields with repr=False aren't printed, and neither are ClassVar and InitVar.
    const RemoteAddr shown = attribute_of(d, field, "repr");
    if (shown && read_unsigned(reader, shown).value_or(1) == 0) continue;
    const RemoteAddr kind = attribute_of(d, field, "_field_type");
    if (kind && d.objects().text_of(attribute_of(d, kind, "name")) != "_FIELD") continue;
    const std::string name = d.objects().name_of(key);
    const auto value =
        std::find_if(found.begin(), found.end(), [&](const auto& a) { return a.first == name; });
    if (value != found.end()) d.add_named(node, name, value->second, it.depth);
  }
  d.leave_out(node, names->count - names->items.size());
  return node;
}

/// A class that is an enumeration.
Decoded enum_class(const Instance& it) {
  ValueDecoder& d = it.d;
  if (it.type.name != "EnumType" || !it.repr_is_from("enum.py")) return std::nullopt;
  const auto described = d.objects().describe_type(it.at);
  if (!described) return std::nullopt;
  bool flag = false;
  for (const RemoteAddr base : (*described)->bases) {
    const auto name = d.reader().type_name(base);
    flag = flag || (name && *name == "Flag");
  }
  return leaf((flag ? "<flag '" : "<enum '") + d.reader().type_name(it.at).value_or("?") + "'>");
}

Decoded enum_member(const Instance& it) {
  ValueDecoder& d = it.d;
  if (!it.repr_is_from("enum.py")) return std::nullopt;
  const std::string name = d.objects().text_of(it.attribute("_name_"));
  const RemoteAddr value = it.attribute("_value_");
  if (name.empty() || !value) return std::nullopt;
  ValueNode node = between("<" + it.type.name + "." + name + ": ", ">");
  d.add_item(node, value, it.depth);
  return node;
}

Decoded fraction(const Instance& it) {
  if (it.type.name != "Fraction" || !it.repr_is_from("fractions.py")) return std::nullopt;
  ValueNode node = between(it.type.name + "(", ")");
  it.d.add_item(node, it.attribute("_numerator"), it.depth);
  it.d.add_item(node, it.attribute("_denominator"), it.depth);
  return node;
}

Decoded uuid(const Instance& it) {
  const Reader& reader = it.d.reader();
  if (it.type.name != "UUID" || !it.repr_is_from("uuid.py")) return std::nullopt;
  const RemoteAddr number = it.attribute("int");
  if (!number) return std::nullopt;
  constexpr std::uint64_t kDigits = 5;  // 128 bits
  auto integer = read_integer(reader, number, kDigits);
  if (!integer || integer->digit_count > kDigits) return std::nullopt;
  std::vector<std::uint32_t>& digits = integer->digits;
  digits.resize(kDigits);
  std::string hex;
  for (int bit = 124; bit >= 0; bit -= 4) {
    const auto at = static_cast<std::size_t>(bit / 30);
    const int shift = bit % 30;
    std::uint64_t window = digits[at];
    if (at + 1 < digits.size()) window |= std::uint64_t{digits[at + 1]} << 30U;
    hex += "0123456789abcdef"[window >> static_cast<unsigned>(shift) & 15U];
    if (bit == 96 || bit == 80 || bit == 64 || bit == 48) hex += '-';
  }
  return leaf(it.type.name + "('" + hex + "')");
}

Decoded counter(const Instance& it) {
  ValueDecoder& d = it.d;
  if (it.type.name != "Counter" || !it.repr_is_from("collections/__init__.py")) return std::nullopt;
  // The most common item is first. Among equal counts, the item that was counted first is.
  constexpr std::size_t kMost = 1U << 16U;
  const auto all = read_dict_prefix(d.reader(), it.at, kMost);
  if (!all || all->count > kMost) return std::nullopt;
  if (all->count == 0) return leaf("Counter()");
  std::vector<std::pair<std::uint64_t, std::size_t>> counts;
  for (std::size_t i = 0; i < all->items.size(); ++i) {
    const auto count = read_unsigned(d.reader(), all->items[i].second);
    if (!count) return std::nullopt;  // negative, or no number at all
    counts.emplace_back(*count, i);
  }
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  DictPrefix most_common;
  most_common.count = all->count;
  for (const auto& [count, index] : counts) {
    if (most_common.items.size() == d.most_items()) break;
    most_common.items.push_back(all->items[index]);
  }
  ValueNode node = between("Counter({", "})");
  d.add_pairs(node, most_common, it.depth);
  return node;
}

/// The parts of a path joined as PurePosixPath does it: no ".", no double slashes, none at the end.
std::string joined_path(const std::vector<std::string>& parts) {
  std::string path;
  for (const std::string& part : parts) {
    if (part.starts_with('/')) path.clear();
    if (!path.empty() && !path.ends_with('/')) path += '/';
    path += part;
  }
  const bool two = path.starts_with("//") && !path.starts_with("///");
  std::string clean = two ? "//" : path.starts_with('/') ? "/" : "";
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (!part.empty() && part != ".") {
      if (!clean.empty() && !clean.ends_with('/')) clean += '/';
      clean += part;
    }
    at = end + 1;
  }
  return clean.empty() ? "." : clean;
}

Decoded path(const Instance& it) {
  ValueDecoder& d = it.d;
  if (!it.type.name.ends_with("Path") ||
      !(it.repr_is_from("pathlib/__init__.py") || it.repr_is_from("pathlib/_local.py") ||
        it.repr_is_from("/pathlib.py"))) {
    return std::nullopt;
  }
  ValueNode node = between(it.type.name + "(", ")");
  bool windows = false;
  for (const RemoteAddr base : it.type.bases) {
    const auto name = d.reader().type_name(base);
    windows = windows || (name && *name == "PureWindowsPath");
  }
  if (const RemoteAddr known = it.attribute("_str")) {
    if (!windows) {
      d.add_item(node, known, it.depth);
      return node;
    }
    // repr() has as_posix().
    auto text = read_str_prefix(d.reader(), known, d.limits().max_string);
    if (!text) return std::nullopt;
    std::replace(text->characters.begin(), text->characters.end(), U'\\', U'/');
    append(node, d.string_node(std::move(text->characters), text->length));
    return node;
  }
  if (windows) return std::nullopt;
  RemoteAddr raw = it.attribute("_raw_paths");
  if (!raw) raw = it.attribute("_parts");  // until 3.11
  if (!raw) return std::nullopt;
  constexpr std::uint64_t kMost = 64;
  const auto items = read_sequence_prefix(d.reader(), raw, ContainerKind::List, kMost);
  if (!items || items->count > kMost) return std::nullopt;
  std::vector<std::string> parts;
  for (const RemoteAddr item : items->items) {
    constexpr std::size_t kLongest = 4096;
    auto part = read_str(d.reader(), item, kLongest);
    if (!part) return std::nullopt;
    parts.push_back(*std::move(part));
  }
  append(node, ValueNode(ValueNode::Kind::String, joined_path(parts)));
  return node;
}

}  // namespace

Decoded decode_known_class(ValueDecoder& decoder, RemoteAddr object, const ObjectType& type,
                           std::size_t depth) {
  const Instance it{decoder, object, type, depth};
  if ((type.flags & kTypeTupleSubclass) != 0) return named_tuple(it);
  if (type.is_class()) return enum_class(it);
  for (const auto decode : {data_class, enum_member, fraction, uuid, counter, path}) {
    if (auto decoded = decode(it)) return decoded;
  }
  return std::nullopt;
}

}  // namespace pyscope
