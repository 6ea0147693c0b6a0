#include "values/object_path.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "python/integers.hpp"
#include "values/contents.hpp"
#include "values/nearest_names.hpp"
#include "values/quoting.hpp"

namespace pyscope {
namespace {

std::string article(std::string_view word) {
  const bool vowel =
      !word.empty() && std::string_view("aeiouAEIOU").find(word.front()) != std::string_view::npos;
  return fmt::format("{} {}", vowel ? "an" : "a", word);
}

/// Whether a class attribute of this type computes the attribute of an instance by code.
bool is_computed(const ObjectType& type) {
  static constexpr auto kComputed = std::to_array<std::string_view>(
      {"property", "getset_descriptor", "member_descriptor", "functools.cached_property",
       "cached_property", "_tuplegetter", "collections._tuplegetter"});
  return std::find(kComputed.begin(), kComputed.end(), type.full_name) != kComputed.end() ||
         type.name == "cached_property" || type.builtin == "property";
}

/// The value of an int object, if it has two digits at most.
std::optional<std::int64_t> integer_of(const Reader& reader, RemoteAddr object) {
  constexpr std::uint64_t kMostDigits = 2;
  const auto integer = read_integer(reader, object, kMostDigits);
  if (!integer || integer->digit_count > kMostDigits) return std::nullopt;
  std::int64_t value = 0;
  for (std::size_t i = integer->digits.size(); i-- > 0;)
    value = value << kBitsPerDigit | integer->digits[i];
  return integer->negative ? -value : value;
}

constexpr std::size_t kMostNames = 4096;
// Bound: entries of a dict that a path looks through
constexpr std::size_t kMostEntries = 1U << 20U;

}  // namespace

RemoteAddr PathResolver::module(std::string_view name) {
  return dict_item(reader_, interpreter_.modules, name).value_or(RemoteAddr{});
}

RemoteAddr PathResolver::in_module(std::string_view module_name, std::string_view name) {
  const RemoteAddr at = module(module_name);
  const auto dict = at ? objects_.module_dict(at) : Result<RemoteAddr>(RemoteAddr{});
  if (!dict || !*dict) return {};
  return dict_item(reader_, *dict, name).value_or(RemoteAddr{});
}

bool PathResolver::knows_start(const ObjectPath& path) {
  std::string prefix;
  for (const PathStep& step : path.steps) {
    if (step.kind != PathStep::Kind::Attribute) break;
    prefix += prefix.empty() ? step.text : "." + step.text;
    if (module(prefix)) return true;
  }
  const std::string& name = path.steps.front().text;
  return in_module("__main__", name) || in_module("builtins", name);
}

Result<FoundObject> PathResolver::from_modules(const ObjectPath& path) {
  if (!interpreter_.modules) {
    return fail(ErrorKind::Unsupported,
                "the interpreter has no sys.modules: it is just starting or shutting down",
                "try again");
  }
  const std::string& name = path.steps.front().text;
  std::vector<std::string> prefixes;
  for (const PathStep& step : path.steps) {
    if (step.kind != PathStep::Kind::Attribute) break;
    prefixes.push_back(prefixes.empty() ? step.text : prefixes.back() + "." + step.text);
  }
  for (std::size_t count = prefixes.size(); count > 0; --count) {
    const RemoteAddr at = module(prefixes[count - 1]);
    if (!at) continue;
    std::string origin;
    if (const RemoteAddr other = in_module("__main__", name); count == 1 && other && other != at) {
      origin = fmt::format("sys.modules; __main__ has another {0}: __main__.{0}", name);
    }
    auto found = follow(path, {at, {}, path.steps[count - 1].text, {}}, count);
    if (found && found->origin.empty()) found->origin = std::move(origin);
    return found;
  }
  std::vector<std::string> known;
  for (const std::string_view fallback : {"__main__", "builtins"}) {
    const RemoteAddr value = in_module(fallback, name);
    if (!value) continue;
    auto found = follow(path, {value, {}, name, {}}, 1);
    if (found && found->origin.empty()) found->origin = fmt::format("module {}", fallback);
    return found;
  }
  const RemoteAddr main = module("__main__");
  const auto main_dict = main ? objects_.module_dict(main) : Result<RemoteAddr>(RemoteAddr{});
  const auto names = main_dict && *main_dict ? read_dict_prefix(reader_, *main_dict, kMostNames)
                                             : Result<DictPrefix>(DictPrefix{});
  if (names) {
    for (const auto& [key, object] : names->items) {
      std::string text = objects_.text_of(key);
      if (!text.starts_with("__")) known.push_back(std::move(text));
    }
  }
  if (const auto modules = read_dict_prefix(reader_, interpreter_.modules, kMostNames)) {
    for (const auto& [key, object] : modules->items) {
      std::string text = objects_.text_of(key);
      if (text.find('.') == std::string::npos && !text.starts_with('_'))
        known.push_back(std::move(text));
    }
  }
  return fail(
      ErrorKind::Usage,
      fmt::format("{}: there is no module '{}', and no such name in __main__", path.text, name),
      nearest_hint(name, known));
}

Result<FoundObject> PathResolver::follow(const ObjectPath& path, FoundObject start,
                                         std::size_t steps_taken) {
  FoundObject found = std::move(start);
  for (std::size_t i = steps_taken; i < path.steps.size(); ++i) {
    if (found.plain) {
      return fail(ErrorKind::Usage, fmt::format("{}: {} has no parts", path.text, path.up_to(i)));
    }
    auto next = path.steps[i].kind == PathStep::Kind::Attribute ? attribute(path, i, found.object)
                                                                : subscript(path, i, found.object);
    if (!next) return fail(std::move(next).error());
    found = *std::move(next);
  }
  return found;
}

tl::unexpected<Error> PathResolver::no_attribute(const ObjectPath& path, std::size_t step,
                                                 RemoteAddr object, const ObjectType& type) {
  const std::string& name = path.steps[step].text;
  std::vector<std::string> known;
  const auto add = [&](std::string text) {
    if (!text.starts_with("__") || name.starts_with("__")) known.push_back(std::move(text));
  };
  const auto add_dict = [&](RemoteAddr dict) {
    const auto names =
        dict ? read_dict_prefix(reader_, dict, kMostNames) : Result<DictPrefix>(DictPrefix{});
    if (!names) return;
    for (const auto& [key, value] : names->items)
      add(objects_.text_of(key));
  };
  std::string what = fmt::format("{} object", type.label());
  if (type.builtin == "module") {
    const auto dict = objects_.module_dict(object);
    if (dict) add_dict(*dict);
    const RemoteAddr own_name =
        dict ? dict_item(reader_, *dict, "__name__").value_or(RemoteAddr{}) : RemoteAddr{};
    what = fmt::format("module '{}'", objects_.text_of(own_name));
  } else {
    const auto as_class =
        type.is_class() ? objects_.describe_type(object) : Result<const ObjectType*>(&type);
    if (type.is_class() && as_class) what = fmt::format("class {}", (*as_class)->label());
    if (!type.is_class()) {
      for (auto& [text, value] : objects_.attributes(object, type, kMostNames))
        add(std::move(text));
    }
    if (as_class) {
      const std::vector<RemoteAddr> classes = (*as_class)->mro;
      for (const RemoteAddr base : classes)
        add_dict(objects_.class_dict(base));
    }
  }
  const std::string before = path.up_to(step);
  return fail(ErrorKind::Usage,
              fmt::format("{}: {} is {}, which has no attribute '{}'", path.text, before,
                          type.builtin == "module" || type.is_class() ? what : article(what), name),
              nearest_hint(name, known));
}

Result<FoundObject> PathResolver::attribute(const ObjectPath& path, std::size_t step,
                                            RemoteAddr object) {
  const std::string& name = path.steps[step].text;
  const auto described = objects_.type_of(object);
  if (!described) return fail(path.text, described.error());
  const ObjectType type = **described;
  if (name == "__class__") return FoundObject{type.at, {}, name, {}};
  if (type.builtin == "module") {
    const auto dict = objects_.module_dict(object);
    const auto value =
        dict && *dict ? dict_item(reader_, *dict, name) : Result<RemoteAddr>(RemoteAddr{});
    if (value && *value) return FoundObject{*value, {}, name, {}};
    return no_attribute(path, step, object, type);
  }
  if (!type.is_class()) {
    if (const RemoteAddr value = objects_.attribute(object, type, name)) {
      return FoundObject{value, {}, name, {}};
    }
    if (const RemoteAddr value = objects_.member(object, type, name)) {
      return FoundObject{value, {}, name, {}};
    }
  }
  // Attributes of the class are shown as they stand in its dict.
  std::vector<RemoteAddr> classes = type.mro;
  if (type.is_class()) {
    const auto itself = objects_.describe_type(object);
    if (!itself) return fail(path.text, itself.error());
    classes = (*itself)->mro;
  }
  for (const RemoteAddr base : classes) {
    const RemoteAddr value = objects_.class_attribute(base, name);
    if (!value) continue;
    const auto owner = objects_.describe_type(base);
    const std::string owner_name = owner ? (*owner)->label() : "?";
    const auto value_type = objects_.type_of(value);
    if (!type.is_class() && value_type && is_computed(**value_type)) {
      if ((*value_type)->name == "member_descriptor") {
        return fail(ErrorKind::Usage, fmt::format("{}: {} is not set: it is a slot of class {}, "
                                                  "or no Python object",
                                                  path.text, path.up_to(step + 1), owner_name));
      }
      return fail(ErrorKind::Usage,
                  fmt::format("{}: {} is a {} of class {}: only code of the process can tell its "
                              "value, and pyscope runs none",
                              path.text, path.up_to(step + 1), (*value_type)->name, owner_name),
                  fmt::format("list what is stored in the object: --list {}", path.up_to(step)));
    }
    const bool own = type.is_class() && base == object;
    return FoundObject{value, {}, name, own ? std::string{} : "class " + owner_name};
  }
  return no_attribute(path, step, object, type);
}

Result<std::uint64_t> PathResolver::index_of(const ObjectPath& path, std::size_t step,
                                             std::uint64_t count, const std::string& type) {
  const auto& index = path.steps[step].index;
  if (!index) {
    return fail(ErrorKind::Usage,
                fmt::format("{}: {} is {}, and {} is no index of one", path.text, path.up_to(step),
                            article(type), path.steps[step].text));
  }
  const std::int64_t from_start =
      *index < 0 && count <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
          ? *index + static_cast<std::int64_t>(count)
          : *index;
  if (from_start < 0 || static_cast<std::uint64_t>(from_start) >= count) {
    return fail(ErrorKind::Usage,
                fmt::format("{}: {} is out of range: {} is {} of length {}", path.text, *index,
                            path.up_to(step), article(type), count));
  }
  return static_cast<std::uint64_t>(from_start);
}

Result<FoundObject> PathResolver::subscript(const ObjectPath& path, std::size_t step,
                                            RemoteAddr object) {
  const auto described = objects_.type_of(object);
  if (!described) return fail(path.text, described.error());
  const ObjectType& type = **described;
  const std::string& builtin = type.builtin;
  const auto length = length_of(reader_, object, type);
  const auto nothing = [&](std::string text, std::string type_name) {
    FoundObject found;
    found.plain = Repr{std::move(text), std::move(type_name), false, {}};
    return found;
  };
  if (builtin == "mappingproxy") {
    const auto mapping = reader_.pointer(object, Field::MappingProxyMapping);
    if (!mapping) return fail(path.text, mapping.error());
    return dict_entry(path, step, *mapping);
  }
  const ContainerKind kind = container_kind(type);
  if (kind == ContainerKind::Dict || kind == ContainerKind::OrderedDict) {
    return dict_entry(path, step, object);
  }
  static constexpr auto kSequences = std::to_array<std::string_view>(
      {"tuple", "list", "collections.deque", "str", "bytes", "bytearray"});
  if (!length || std::find(kSequences.begin(), kSequences.end(), builtin) == kSequences.end()) {
    return fail(ErrorKind::Usage,
                fmt::format("{}: {} is {}, which pyscope can't look into by a subscript", path.text,
                            path.up_to(step), article(type.label() + " object")),
                fmt::format("list what is stored in it: --list {}", path.up_to(step)));
  }
  const auto index = index_of(path, step, *length, type.label());
  if (!index) return fail(index.error());
  if (kind != ContainerKind::None) {
    const auto item = read_item(reader_, object, kind, *index);
    if (!item) return fail(path.text, item.error());
    return FoundObject{*item, {}, {}, {}};
  }
  if (builtin == "str") {
    constexpr std::uint64_t kMostCharacters = 1U << 24U;
    if (*index >= kMostCharacters) {
      return fail(ErrorKind::Usage, fmt::format("{}: that far into a str isn't read", path.text));
    }
    const auto prefix = read_str_prefix(reader_, object, *index + 1);
    if (!prefix) return fail(path.text, prefix.error());
    return nothing(
        quoted(std::u32string_view(prefix->characters).substr(*index, 1), reader_.layout().unicode),
        "str");
  }
  const auto bytes =
      builtin == "bytes" ? find_bytes(reader_, object) : find_byte_array(reader_, object);
  if (!bytes) return fail(path.text, bytes.error());
  const auto byte = reader_.value<std::uint8_t>(bytes->start, *index);
  if (!byte) return fail(path.text, byte.error());
  return nothing(std::to_string(*byte), "int");
}

Result<FoundObject> PathResolver::dict_entry(const ObjectPath& path, std::size_t step,
                                             RemoteAddr dict) {
  const PathStep& wanted = path.steps[step];
  const auto all = read_dict_prefix(reader_, dict, kMostEntries);
  if (!all) return fail(path.text, all.error());
  const std::string& text = wanted.key ? *wanted.key : wanted.text;
  const auto characters = static_cast<std::uint64_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  // A shell takes quotes away, so that d['a'] comes here as d[a].
  std::optional<RemoteAddr> without_quotes;
  std::vector<std::string> names;
  constexpr std::size_t kBatch = 1024;
  ValueLimits limits;
  limits.show_secrets = true;  // only compared
  ReprBudget budget;
  ReprWriter writer(objects_, limits, budget);
  for (std::size_t i = 0; i < all->items.size(); ++i) {
    if (i % kBatch == 0) {
      std::vector<RemoteAddr> keys;
      for (std::size_t n = i; n < std::min(i + kBatch, all->items.size()); ++n)
        keys.push_back(all->items[n].first);
      constexpr std::uint64_t kHeader = 64;
      reader_.prefetch(keys, kHeader);
    }
    const auto& [key, value] = all->items[i];
    const auto described = objects_.type_of(key);
    if (!described) continue;
    const ObjectType& type = **described;
    if ((type.flags & kTypeUnicodeSubclass) != 0) {
      if (names.size() < kMostNames) names.push_back(objects_.text_of(key));
      if (wanted.bytes) continue;
      const auto length = reader_.field<std::uint64_t>(key, Field::UnicodeLength);
      if (!length || *length != characters) continue;
      const auto name = read_str(reader_, key);
      if (!name || *name != text) continue;
      if (wanted.key) return FoundObject{value, {}, text, {}};
      without_quotes = value;
    } else if ((type.flags & kTypeBytesSubclass) != 0) {
      const auto bytes = read_bytes(reader_, key, kMostNames);
      if (!wanted.bytes || !bytes || bytes->size() != text.size() ||
          std::memcmp(bytes->data(), text.data(), text.size()) != 0) {
        continue;
      }
      return FoundObject{value, {}, text, {}};
    } else if (type.builtin == "int" && type.name == "int" && wanted.index) {
      if (integer_of(reader_, key) == wanted.index) return FoundObject{value, {}, {}, {}};
    } else if (!wanted.key) {
      if (writer.write(key, "").text == wanted.text) return FoundObject{value, {}, {}, {}};
    }
  }
  if (without_quotes) return FoundObject{*without_quotes, {}, text, {}};
  const bool looked_at_all = all->items.size() == all->count;
  return fail(ErrorKind::Usage,
              fmt::format("{}: {} has no key {}{}", path.text, path.up_to(step), wanted.text,
                          looked_at_all ? "" : " among the first million that were looked at"),
              nearest_hint(text, names));
}

}  // namespace pyscope
