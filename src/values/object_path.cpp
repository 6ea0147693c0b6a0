#include "values/object_path.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>

#include "base/lower_case.hpp"
#include "values/contents.hpp"
#include "values/quoting.hpp"

namespace pyscope {
namespace {

bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

bool is_name(std::string_view text) {
  return !text.empty() && starts_name(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return starts_name(c) || (c >= '0' && c <= '9'); });
}

/// A name as Python's compiler makes it: identifiers are normalised to NFKC, so that ﬁ is fi.
std::string identifier(std::string_view name) {
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  utf8proc_uint8_t* made = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(name.data()),
                                 static_cast<utf8proc_ssize_t>(name.size()), &made, options);
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(made, std::free);
  if (size < 0) return std::string(name);  // it isn't UTF-8
  return {reinterpret_cast<const char*>(made), static_cast<std::size_t>(size)};
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' '))
    text.remove_prefix(1);
  while (text.ends_with(' '))
    text.remove_suffix(1);
  return text;
}

/// The end of a subscript that begins behind the bracket at `open`; npos if it has none.
std::size_t closing_bracket(std::string_view text, std::size_t open) {
  std::size_t depth = 0;
  char quote = '\0';
  for (std::size_t i = open; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == '\\') {
        ++i;
      } else if (c == quote) {
        quote = '\0';
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '[' || c == '(' || c == '{') {
      ++depth;
    } else if (c == ']' || c == ')' || c == '}') {
      if (--depth == 0) return i;
    }
  }
  return std::string_view::npos;
}

/// The content of a quoted literal, with the escapes that repr() uses.
std::optional<std::string> unquoted(std::string_view text, bool bytes) {
  if (text.size() < 2 || (text.front() != '\'' && text.front() != '"') ||
      text.back() != text.front()) {
    return std::nullopt;
  }
  const char quote = text.front();
  text = text.substr(1, text.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == quote) return std::nullopt;  // the literal ends before the text does
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    const auto number = [&](std::size_t digits) {
      std::uint32_t value = 0;
      const std::string_view word = text.substr(i + 1, digits);
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, 16);
      i += digits;
      const bool whole = error == std::errc{} && end == word.data() + digits;
      return whole && value <= 0x10FFFF ? std::optional(value) : std::nullopt;
    };
    std::optional<std::uint32_t> code;
    switch (text[i]) {
      case 'n':
        code = '\n';
        break;
      case 't':
        code = '\t';
        break;
      case 'r':
        code = '\r';
        break;
      case 'x':
        code = number(2);
        break;
      case 'u':
        code = number(4);
        break;
      case 'U':
        code = number(8);
        break;
      default:
        out += text[i];
        continue;
    }
    if (!code) return std::nullopt;
    if (bytes) {
      out += static_cast<char>(*code);
    } else {
      append_utf8(out, *code);
    }
  }
  return out;
}

PathStep subscript_step(std::string_view raw) {
  PathStep step;
  step.kind = PathStep::Kind::Subscript;
  step.text = raw;
  step.bytes = raw.starts_with('b') && raw.size() > 1 && (raw[1] == '\'' || raw[1] == '"');
  step.key = unquoted(step.bytes ? raw.substr(1) : raw, step.bytes);
  if (!step.key) step.bytes = false;
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), index);
  if (error == std::errc{} && end == raw.data() + raw.size()) step.index = index;
  return step;
}

/// The steps of a path without a scope.
Result<std::vector<PathStep>> parse_steps(std::string_view text) {
  constexpr std::size_t kMostSteps = 256;
  const auto wrong = [&](std::size_t at, std::string_view what) {
    return fail(ErrorKind::Usage,
                fmt::format("'{}' is no path: {} at its character {}", text, what, at + 1),
                "a path looks like shop.orders[3].state or config['key']");
  };
  std::vector<PathStep> steps;
  for (std::size_t at = 0; at < text.size();) {
    if (steps.size() == kMostSteps) return wrong(at, "too many steps");
    if (text[at] == '[' && !steps.empty()) {
      const std::size_t end = closing_bracket(text, at);
      if (end == std::string_view::npos) return wrong(at, "a bracket that isn't closed");
      const std::string_view raw = trimmed(text.substr(at + 1, end - at - 1));
      if (raw.empty()) return wrong(at, "nothing between brackets");
      steps.push_back(subscript_step(raw));
      at = end + 1;
    } else {
      if (text[at] == '.' && !steps.empty()) ++at;
      const std::size_t end = std::min(text.find_first_of(".[", at), text.size());
      if (!is_name(text.substr(at, end - at))) return wrong(at, "no name");
      if (!steps.empty() && text[at - 1] != '.') return wrong(at, "no dot");
      PathStep step;
      step.text = identifier(text.substr(at, end - at));
      steps.push_back(std::move(step));
      at = end;
    }
    steps.back().end = at;
  }
  if (steps.empty()) return wrong(0, "no name");
  return steps;
}

std::string article(std::string_view word) {
  const bool vowel =
      !word.empty() && std::string_view("aeiouAEIOU").find(word.front()) != std::string_view::npos;
  return fmt::format("{} {}", vowel ? "an" : "a", word);
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

/// Whether a class attribute of this type computes the attribute of an instance by code.
bool is_computed(const ObjectType& type) {
  static constexpr auto kComputed = std::to_array<std::string_view>(
      {"property", "getset_descriptor", "member_descriptor", "functools.cached_property",
       "cached_property", "_tuplegetter", "collections._tuplegetter"});
  return std::find(kComputed.begin(), kComputed.end(), type.full_name) != kComputed.end() ||
         type.name == "cached_property" || type.builtin == "property";
}

/// An int object that fits.
std::optional<std::int64_t> integer_of(const Reader& reader, RemoteAddr object) {
  const auto tag = reader.field<std::uint64_t>(object, Field::LongLvTag);
  if (!tag) return std::nullopt;
  const bool negative = (*tag & 3U) == 2;
  const std::uint64_t count = (*tag & 3U) == 1 ? 0 : *tag >> 3U;
  if (count > 2) return std::nullopt;
  std::int64_t value = 0;
  for (std::uint64_t i = count; i-- > 0;) {
    const auto digit =
        reader.value<std::uint32_t>(object, reader.offsets()[Field::LongObDigit] + 4 * i);
    if (!digit || *digit >> 30U != 0) return std::nullopt;
    value = value << 30U | *digit;
  }
  return negative ? -value : value;
}

constexpr std::size_t kMostNames = 4096;
constexpr std::size_t kMostEntries = 1U << 20U;

}  // namespace

std::string ObjectPath::up_to(std::size_t steps_taken) const {
  if (steps_taken == 0) return {};
  const std::size_t scope = text.size() - steps.back().end;
  return text.substr(0, scope + steps[std::min(steps_taken, steps.size()) - 1].end);
}

Result<ObjectPath> parse_path(std::string_view text) {
  ObjectPath path;
  path.text = text;
  auto steps = parse_steps(text);
  if (!steps) {
    for (std::size_t colon = text.find(':'); colon != std::string_view::npos;
         colon = text.find(':', colon + 1)) {
      auto rest = parse_steps(text.substr(colon + 1));
      if (!rest) continue;
      const std::string_view scope = text.substr(0, colon);
      const std::size_t slash = scope.rfind('/');
      path.in_frame = true;
      path.thread = scope.substr(0, slash);
      path.frame = slash == std::string_view::npos ? "" : scope.substr(slash + 1);
      path.steps = *std::move(rest);
      return path;
    }
    return fail(std::move(steps).error());
  }
  path.steps = *std::move(steps);
  return path;
}

std::vector<std::string> nearest_names(std::string_view wanted,
                                       const std::vector<std::string>& names) {
  constexpr std::size_t kMostShown = 3;
  constexpr std::size_t kMostLength = 64;
  const std::string lower = lower_case(wanted.substr(0, kMostLength));
  std::vector<std::pair<std::size_t, const std::string*>> ranked;
  for (const std::string& name : names) {
    if (name.size() > kMostLength) continue;
    const std::string other = lower_case(name);
    std::size_t distance = edit_distance(lower, other);
    const bool part =
        lower.size() >= 3 && (other.find(lower) != std::string::npos ||
                              (other.size() >= 3 && lower.find(other) != std::string::npos));
    if (!part && distance > std::max<std::size_t>(1, (lower.size() + 2) / 3)) continue;
    if (part) distance = std::min<std::size_t>(distance, 2);
    ranked.emplace_back(distance, &name);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (const auto& [distance, name] : ranked) {
    if (nearest.size() == kMostShown) break;
    if (std::find(nearest.begin(), nearest.end(), *name) == nearest.end()) nearest.push_back(*name);
  }
  return nearest;
}

std::string nearest_hint(std::string_view wanted, const std::vector<std::string>& names) {
  const auto nearest = nearest_names(wanted, names);
  if (!nearest.empty()) return fmt::format("nearest names: {}", fmt::join(nearest, ", "));
  if (names.empty()) return {};
  constexpr std::size_t kMostShown = 8;
  const bool all = names.size() <= kMostShown;
  return fmt::format(
      "there {} {}{}", names.size() == 1 ? "is" : "are",
      fmt::join(names.begin(),
                names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kMostShown)),
                ", "),
      all ? "" : fmt::format(" and {} more", names.size() - kMostShown));
}

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
