// The layouts of objects that the table of offsets doesn't publish stand with the code that reads
// them. All are for builds with a GIL, and the same in 3.13, 3.14 and 3.15, unless PythonLayout has
// them.
#include "values/repr.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>

#include "frames/generator.hpp"
#include "python/code.hpp"

namespace pyscope {
namespace {

std::string with_separators(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

/// str.isprintable, by the Unicode version of utf8proc.
bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= ' ';
  switch (::utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

void append_escaped(std::string& out, char32_t c, char quote) {
  if (c == U'\\' || c == static_cast<char32_t>(quote)) {
    out += '\\';
    out += static_cast<char>(c);
  } else if (c == U'\t') {
    out += "\\t";
  } else if (c == U'\n') {
    out += "\\n";
  } else if (c == U'\r') {
    out += "\\r";
  } else if (is_printable(c)) {
    append_utf8(out, c);
  } else if (c < 0x100) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint32_t>(c));
  } else if (c < 0x10000) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
  } else {
    fmt::format_to(std::back_inserter(out), "\\U{:08x}", static_cast<std::uint32_t>(c));
  }
}

/// The shortest digits that mean this number among those of its width, as repr() has them.
template <class Float>
std::string float_text(Float value, bool always_point, int most_digits = 16) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // fmt finds the same digits as std::to_chars, whose tables would be a twentieth of the binary.
  const std::string shortest = fmt::format("{}", value);  // 1500, 0.015, 1.5e-07
  std::string_view text = shortest;
  std::string out;
  if (text.starts_with('-')) {
    out = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = std::min(text.find('e'), text.size());
  int exponent = 0;
  std::string_view exponent_text = text.substr(std::min(e + 1, text.size()));
  if (exponent_text.starts_with('+')) exponent_text.remove_prefix(1);
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  std::string digits{text.substr(0, e)};
  // As one digit before the point, and no zeros around.
  exponent += static_cast<int>(std::min(digits.find('.'), digits.size())) - 1;
  std::erase(digits, '.');
  const std::size_t zeros = std::min(digits.find_first_not_of('0'), digits.size());
  digits.erase(0, zeros);
  exponent -= static_cast<int>(zeros);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.empty()) {
    digits = "0";
    exponent = 0;
  }
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= most_digits) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    out += digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0');
    return always_point ? out + ".0" : out;
  }
  return out + digits.substr(0, static_cast<std::size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<std::size_t>(exponent) + 1);
}

/// Digits in base 2^30, the lowest first, as decimal text.
std::string decimal_text(std::vector<std::uint32_t> digits) {
  constexpr std::uint64_t kGroup = 1'000'000'000;
  std::vector<std::uint32_t> groups;
  while (!digits.empty()) {
    std::uint64_t rest = 0;
    for (std::size_t i = digits.size(); i-- > 0;) {
      const std::uint64_t value = rest << 30U | digits[i];
      digits[i] = static_cast<std::uint32_t>(value / kGroup);
      rest = value % kGroup;
    }
    groups.push_back(static_cast<std::uint32_t>(rest));
    while (!digits.empty() && digits.back() == 0)
      digits.pop_back();
  }
  if (groups.empty()) return "0";
  std::string text = std::to_string(groups.back());
  for (std::size_t i = groups.size() - 1; i-- > 0;)
    text += fmt::format("{:09}", groups[i]);
  return text;
}

}  // namespace

std::string quoted(const std::u32string& characters) {
  const bool double_quotes = characters.find(U'\'') != std::u32string::npos &&
                             characters.find(U'"') == std::u32string::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (const char32_t c : characters)
    append_escaped(out, c, quote);
  return out + quote;
}

// --- Text
// -----------------------------------------------------------------------------------------------------------

void ReprWriter::put(std::string_view text) {
  if (text.size() > budget_.text) {
    truncated_ = true;
    return;
  }
  budget_.text -= text.size();
  out_ += text;
}

void ReprWriter::put_address(RemoteAddr at) {
  put(fmt::format("{:#x}", at.raw()));
}

void ReprWriter::put_more(std::uint64_t count) {
  put(fmt::format("… {} more", with_separators(count)));
  truncated_ = true;
}

bool ReprWriter::is_secret(std::string_view name, RemoteAddr value) {
  if (limits_.show_secrets) return false;
  if (name == kUnreadableName) return true;
  if (!secrets_.matches(name)) return false;
  const auto type = objects_.type_of(value);
  if (!type) return true;
  const std::string& builtin = (*type)->builtin;
  // That there is none is no secret.
  if (builtin == "NoneType" || builtin == "bool" || builtin == "float") return false;
  return builtin != "int" || secrets_.matches_number(name);
}

std::string ReprWriter::name_of(RemoteAddr key) {
  const auto type = objects_.type_of(key);
  if (!type) return std::string(kUnreadableName);
  if (((*type)->flags & kTypeUnicodeSubclass) != 0) return objects_.name_of(key);
  if (((*type)->flags & kTypeBytesSubclass) == 0) return {};
  constexpr std::size_t kMost = 256;
  const auto bytes = read_bytes(reader_, key, kMost);
  if (!bytes) return std::string(kUnreadableName);
  std::string name;
  for (const std::byte byte : *bytes)
    name += static_cast<char>(byte);
  return name;
}

void ReprWriter::put_named(std::string_view name, RemoteAddr value, std::size_t depth) {
  if (is_secret(name, value)) {
    put("'***'");
    truncated_ = true;
    return;
  }
  write_object(value, depth);
}

// --- Kinds of objects
// --------------------------------------------------------------------------------------------------

Result<void> ReprWriter::put_int(RemoteAddr object) {
  const auto tag = reader_.field<std::uint64_t>(object, Field::LongLvTag);
  if (!tag) return fail("int", tag.error());
  const std::uint64_t sign = *tag & 3U;
  const std::uint64_t count = *tag >> 3U;
  if (sign == 1) {
    put("0");
    return {};
  }
  // Python itself refuses to print more than 4,300 decimal digits.
  constexpr std::uint64_t kMostDigits = 477;
  if (sign == 3 || count == 0) return fail(ErrorKind::Malformed, "an int with a bad tag");
  if (count > kMostDigits) {
    put(fmt::format("<int of about {} bits>", with_separators(count * 30)));
    truncated_ = true;
    return {};
  }
  std::vector<std::uint32_t> digits(count);
  const auto ok = reader_.memory().read(object + reader_.offsets()[Field::LongObDigit],
                                        std::as_writable_bytes(std::span{digits}));
  if (!ok) return fail("int", ok.error());
  if (std::any_of(digits.begin(), digits.end(), [](std::uint32_t d) { return d >> 30U != 0; })) {
    return fail(ErrorKind::Malformed, "an int with a bad digit");
  }
  put((sign == 2 ? "-" : "") + decimal_text(std::move(digits)));
  return {};
}

Result<void> ReprWriter::put_str(RemoteAddr object) {
  const auto prefix = read_str_prefix(reader_, object, limits_.max_string);
  if (!prefix) return fail(prefix.error());
  std::u32string text = prefix->characters;
  const bool cut = prefix->length > text.size();
  if (!limits_.show_secrets && mask_url_users(text, cut)) truncated_ = true;
  std::string out = quoted(text);
  if (cut) {
    truncated_ = true;
    const char quote = out.back();
    out.pop_back();
    out += fmt::format("…{} ({} characters)", quote, with_separators(prefix->length));
  }
  put(out);
  return {};
}

Result<void> ReprWriter::put_bytes(RemoteAddr data, std::uint64_t size, bool escape_quotes) {
  const std::uint64_t count = std::min<std::uint64_t>(size, limits_.max_string);
  if (auto ok = reader_.spend(count); !ok) return ok;
  std::string bytes(count, '\0');
  if (count > 0) {
    if (auto ok = reader_.memory().read(data, std::as_writable_bytes(std::span{bytes})); !ok)
      return ok;
  }
  if (!limits_.show_secrets && mask_url_users(bytes, size > count)) truncated_ = true;
  const bool double_quotes =
      bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out = "b";
  out += quote;
  for (const char byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    if (escape_quotes && c == '\'') {
      out += "\\'";  // between whatever quotes
    } else if (c < 0x80 && (c >= ' ' || c == '\t' || c == '\n' || c == '\r') && c != 0x7F) {
      append_escaped(out, c, quote);
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
    }
  }
  if (size > count) {
    truncated_ = true;
    out += fmt::format("…{} ({} bytes)", quote, with_separators(size));
  } else {
    out += quote;
  }
  put(out);
  return {};
}

Result<void> ReprWriter::put_float(double value, bool always_point) {
  put(float_text(value, always_point));
  return {};
}

Result<void> ReprWriter::put_items(const std::vector<RemoteAddr>& items, std::uint64_t count,
                                   std::size_t depth) {
  if (count > 0 && depth >= limits_.max_depth) {
    put(fmt::format("… {} {}", with_separators(count), count == 1 ? "item" : "items"));
    truncated_ = true;
    return {};
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) put(", ");
    write_object(items[i], depth + 1);
  }
  if (count > items.size()) {
    if (!items.empty()) put(", ");
    put_more(count - items.size());
  }
  return {};
}

Result<void> ReprWriter::put_pairs(const std::vector<std::pair<RemoteAddr, RemoteAddr>>& pairs,
                                   std::uint64_t count, std::size_t depth) {
  if (count > 0 && depth >= limits_.max_depth) {
    put(fmt::format("{{… {} {}}}", with_separators(count), count == 1 ? "item" : "items"));
    truncated_ = true;
    return {};
  }
  put("{");
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i > 0) put(", ");
    const auto& [key, value] = pairs[i];
    write_object(key, depth + 1);
    put(": ");
    put_named(name_of(key), value, depth + 1);
  }
  if (count > pairs.size()) {
    if (!pairs.empty()) put(", ");
    put_more(count - pairs.size());
  }
  put("}");
  return {};
}

Result<void> ReprWriter::put_dict(RemoteAddr dict, std::size_t depth) {
  const auto prefix = read_dict_prefix(reader_, dict, limits_.max_items);
  if (!prefix) return fail(prefix.error());
  return put_pairs(prefix->items, prefix->count, depth);
}

// What an instance of a class is that has no other way to be shown: never what its own __repr__
// might say.
Result<void> ReprWriter::put_instance(RemoteAddr object, const ObjectType& type,
                                      std::size_t depth) {
  const auto found = objects_.attributes(object, type, limits_.max_items + 1);
  if (found.empty() && type.shown_by_c() && type.builtin == "object") {
    put("<" + type.full_name + " object at ");
    put_address(object);
    put(">");
    return {};
  }
  put("<" + type.name + " at ");
  put_address(object);
  // Objects lead to all others, so their attributes count as three levels; the first one's are
  // shown whatever the limit is.
  constexpr std::size_t kLevels = 3;
  if (!found.empty() && depth > 0 && depth + kLevels > limits_.max_depth + 1) {
    put(" …");
    truncated_ = true;
  } else {
    for (std::size_t i = 0; i < std::min(found.size(), limits_.max_items); ++i) {
      put(" " + found[i].first + "=");
      put_named(found[i].first, found[i].second, depth + kLevels);
    }
    if (found.size() > limits_.max_items) {
      put(" …");
      truncated_ = true;
    }
  }
  put(">");
  return {};
}

/// One decoder for each type that C code shows; by its tp_name.
struct ReprDecoders {
  using Decoder = Result<void> (*)(ReprWriter&, RemoteAddr, const ObjectType&, std::size_t);

  struct Entry {
    std::string_view name;
    Decoder decode;
    std::string_view cycle;  // what stands for it within itself; empty: it holds nothing
  };

  static const Entry* find(std::string_view name) {
    static constexpr auto kEntries = std::to_array<Entry>({
        {"NoneType", constant<'N'>, ""},
        {"ellipsis", constant<'E'>, ""},
        {"NotImplementedType", constant<'I'>, ""},
        {"bool", boolean, ""},
        {"int", integer, ""},
        {"float", floating, ""},
        {"complex", complex, ""},
        {"str", text, ""},
        {"bytes", bytes, ""},
        {"bytearray", byte_array, ""},
        {"tuple", tuple, "(...)"},
        {"list", list, "[...]"},
        {"dict", dict, "{...}"},
        {"frozendict", frozen_dict, "{...}"},
        {"set", set, "set(...)"},
        {"frozenset", set, "frozenset(...)"},
        {"collections.defaultdict", default_dict, "defaultdict(...)"},
        {"collections.OrderedDict", ordered_dict, "..."},
        {"collections.deque", deque, "[...]"},
        {"dict_keys", dict_view<'k'>, "..."},
        {"dict_values", dict_view<'v'>, "..."},
        {"dict_items", dict_view<'i'>, "..."},
        {"mappingproxy", mapping_proxy, "..."},
        {"range", range, ""},
        {"slice", slice, "..."},
        {"array.array", array, ""},
        {"types.SimpleNamespace", simple_namespace, "namespace(...)"},
        {"datetime.date", date, ""},
        {"datetime.time", time, ""},
        {"datetime.datetime", date_time, ""},
        {"datetime.timedelta", time_delta, ""},
        {"datetime.timezone", time_zone, ""},
        {"decimal.Decimal", decimal, ""},
        {"module", module, ""},
        {"function", function, ""},
        {"method", method, "..."},
        {"builtin_function_or_method", builtin_function, ""},
        {"type", class_object, ""},
        {"generator", generator, ""},
        {"coroutine", generator, ""},
        {"async_generator", generator, ""},
        {"_thread.lock", lock, ""},
        {"_thread.RLock", recursive_lock, ""},
        {"weakref.ReferenceType", weak_reference, ""},
        {"memoryview", memory_view, ""},
        {"re.Pattern", pattern, ""},
        {"functools.partial", partial, "..."},
        {"_asyncio.Task", task, "..."},
        {"numpy.ndarray", numpy_array, ""},
        {"numpy.bool", numpy_scalar<0>, ""},
        {"numpy.int8", numpy_scalar<1>, ""},
        {"numpy.uint8", numpy_scalar<2>, ""},
        {"numpy.int16", numpy_scalar<3>, ""},
        {"numpy.uint16", numpy_scalar<4>, ""},
        {"numpy.int32", numpy_scalar<5>, ""},
        {"numpy.uint32", numpy_scalar<6>, ""},
        {"numpy.int64", numpy_scalar<7>, ""},
        {"numpy.uint64", numpy_scalar<8>, ""},
        {"numpy.longlong", numpy_scalar<9>, ""},
        {"numpy.ulonglong", numpy_scalar<10>, ""},
        {"numpy.float32", numpy_scalar<11>, ""},
        {"numpy.float64", numpy_scalar<12>, ""},
        {"_asyncio.Future", future, "..."},
    });
    const auto* found = std::find_if(kEntries.begin(), kEntries.end(),
                                     [&](const Entry& entry) { return entry.name == name; });
    return found == kEntries.end() ? nullptr : found;
  }

  /// Exceptions have types of all names, and one way to be shown.
  static Result<void> exception(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                std::size_t depth) {
    constexpr std::uint64_t kArgs = 24;
    const auto args = w.reader_.pointer(at, kArgs);
    if (!args) return fail(args.error());
    w.put(type.name);
    const auto items = tuple_items(w, *args);
    if (!items) return fail(items.error());
    w.put("(");
    if (auto ok = w.put_items(items->first, items->second, depth); !ok) return ok;
    w.put(")");
    return {};
  }

 private:
  template <char Which>
  static Result<void> constant(ReprWriter& w, RemoteAddr, const ObjectType&, std::size_t) {
    w.put(Which == 'N' ? "None" : Which == 'E' ? "Ellipsis" : "NotImplemented");
    return {};
  }
  static Result<void> boolean(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto value = read_unsigned(w.reader_, at);
    if (!value) return fail(value.error());
    w.put(*value != 0 ? "True" : "False");
    return {};
  }
  static Result<void> integer(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    return w.put_int(at);
  }
  static Result<void> floating(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto value = w.reader_.field<double>(at, Field::FloatObFval);
    if (!value) return fail(value.error());
    return w.put_float(*value, true);
  }
  static Result<void> complex(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto real = w.reader_.value<double>(at, 16);
    const auto imaginary = w.reader_.value<double>(at, 24);
    if (!real) return fail(real.error());
    if (!imaginary) return fail(imaginary.error());
    if (*real == 0 && !std::signbit(*real)) {
      w.put(float_text(*imaginary, false) + "j");
      return {};
    }
    std::string tail = float_text(*imaginary, false);
    if (!tail.starts_with('-')) tail.insert(0, "+");
    w.put("(" + float_text(*real, false) + tail + "j)");
    return {};
  }
  static Result<void> text(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    return w.put_str(at);
  }
  static Result<void> bytes(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto size = w.reader_.field<std::uint64_t>(at, Field::BytesObSize);
    if (!size) return fail(size.error());
    return w.put_bytes(at + w.reader_.offsets()[Field::BytesObSval], *size);
  }
  static Result<void> byte_array(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                 std::size_t) {
    // PyByteArrayObject: ob_start is where the content begins, and ob_bytes where its memory does.
    constexpr std::uint64_t kSize = 16;
    constexpr std::uint64_t kStart = 40;
    const auto size = w.reader_.value<std::uint64_t>(at, kSize);
    const auto start = w.reader_.value<std::uint64_t>(at, kStart);
    if (!size) return fail(size.error());
    if (!start) return fail(start.error());
    w.put(type.name + "(");
    if (auto ok =
            w.put_bytes(RemoteAddr{*start}, *size, w.reader_.layout().bytearray_escapes_quotes);
        !ok)
      return ok;
    w.put(")");
    return {};
  }

  using Items = std::pair<std::vector<RemoteAddr>, std::uint64_t>;

  /// The first pointers of an array of them, and how many there are.
  static Result<Items> pointers(ReprWriter& w, RemoteAddr at, std::uint64_t count) {
    Items items;
    items.second = count;
    std::vector<std::uint64_t> raw(std::min<std::uint64_t>(count, w.limits_.max_items));
    if (!raw.empty()) {
      if (!at.is_plausible_pointer()) return fail(ErrorKind::Malformed, "items at no address");
      if (auto ok = w.reader_.memory().read(at, std::as_writable_bytes(std::span{raw})); !ok)
        return fail(ok.error());
    }
    for (const std::uint64_t item : raw)
      items.first.emplace_back(item);
    return items;
  }
  static Result<Items> tuple_items(ReprWriter& w, RemoteAddr at) {
    const auto size = w.reader_.field<std::uint64_t>(at, Field::TupleObSize);
    if (!size) return fail(size.error());
    return pointers(w, at + w.reader_.offsets()[Field::TupleObItem], *size);
  }
  static Result<void> tuple(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    const auto items = tuple_items(w, at);
    if (!items) return fail(items.error());
    w.put("(");
    // As the headers of HTTP requests are kept: (b'cookie', b'...').
    const bool pair = items->second == 2 && items->first.size() == 2;
    if (pair && depth < w.limits_.max_depth &&
        w.is_secret(w.name_of(items->first[0]), items->first[1])) {
      w.write_object(items->first[0], depth + 1);
      w.put(", ");
      w.put_named(w.name_of(items->first[0]), items->first[1], depth + 1);
    } else if (auto ok = w.put_items(items->first, items->second, depth); !ok) {
      return ok;
    }
    w.put(items->second == 1 ? ",)" : ")");
    return {};
  }
  static Result<void> list(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    const auto size = w.reader_.field<std::uint64_t>(at, Field::ListObSize);
    const auto data = w.reader_.field<std::uint64_t>(at, Field::ListObItem);
    if (!size) return fail(size.error());
    if (!data) return fail(data.error());
    const auto items = pointers(w, RemoteAddr{*data}, *size);
    if (!items) return fail(items.error());
    w.put("[");
    if (auto ok = w.put_items(items->first, items->second, depth); !ok) return ok;
    w.put("]");
    return {};
  }
  static Result<void> dict(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    return w.put_dict(at, depth);
  }
  static Result<void> frozen_dict(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                  std::size_t depth) {
    const auto prefix = read_dict_prefix(w.reader_, at, w.limits_.max_items);
    if (!prefix) return fail(prefix.error());
    w.put(type.name + "(");
    if (prefix->count > 0) {
      if (auto ok = w.put_pairs(prefix->items, prefix->count, depth); !ok) return ok;
    }
    w.put(")");
    return {};
  }
  static Result<void> set(ReprWriter& w, RemoteAddr at, const ObjectType& type, std::size_t depth) {
    // PySetObject: 3.13 doesn't publish them yet.
    const auto used = w.reader_.value<std::uint64_t>(at, 24);
    const auto mask = w.reader_.value<std::uint64_t>(at, 32);
    const auto table = w.reader_.pointer(at, 40);
    if (!used) return fail(used.error());
    if (!mask) return fail(mask.error());
    if (!table) return fail(table.error());
    constexpr std::uint64_t kMostSlots = std::uint64_t{1} << 32U;
    if (*mask >= kMostSlots || !std::has_single_bit(*mask + 1) || *used > *mask) {
      return fail(ErrorKind::Malformed, "a set with a bad table");
    }
    if (*used == 0) {
      w.put(type.name + "()");
      return {};
    }
    // Entries are (key, hash); a removed one has the hash -1.
    constexpr std::uint64_t kBatch = 256;
    constexpr std::uint64_t kMostLookedAt = 1U << 20U;
    Items items;
    items.second = *used;
    std::vector<std::uint64_t> entries;
    const std::uint64_t wanted = std::min<std::uint64_t>(*used, w.limits_.max_items);
    for (std::uint64_t first = 0;
         first <= std::min(*mask, kMostLookedAt) && items.first.size() < wanted; first += kBatch) {
      entries.resize(2 * std::min(kBatch, *mask + 1 - first));
      if (auto ok = w.reader_.memory().read(*table + first * 16,
                                            std::as_writable_bytes(std::span{entries}));
          !ok)
        return ok;
      for (std::size_t i = 0; i < entries.size() && items.first.size() < wanted; i += 2) {
        if (entries[i] != 0 && entries[i + 1] != ~std::uint64_t{0})
          items.first.emplace_back(entries[i]);
      }
    }
    const bool plain = type.exact && type.name == "set";
    w.put(plain ? "{" : type.name + "({");
    if (auto ok = w.put_items(items.first, items.second, depth); !ok) return ok;
    w.put(plain ? "}" : "})");
    return {};
  }
  static Result<void> default_dict(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                   std::size_t depth) {
    constexpr std::uint64_t kFactory = 48;
    const auto factory = w.reader_.pointer(at, kFactory);
    if (!factory) return fail(factory.error());
    w.put(type.name + "(");
    if (*factory) {
      w.write_object(*factory, depth + 1);
    } else {
      w.put("None");
    }
    w.put(", ");
    if (auto ok = w.put_dict(at, depth); !ok) return ok;
    w.put(")");
    return {};
  }
  static Result<void> ordered_dict(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                   std::size_t depth) {
    // Its own order is a list of nodes (key, hash, next, previous).
    constexpr std::uint64_t kFirst = 48;
    constexpr std::uint64_t kMost = 1U << 16U;
    const auto all = read_dict_prefix(w.reader_, at, kMost);
    if (!all) return fail(all.error());
    w.put(type.name + "(");
    if (all->count > 0) {
      std::unordered_map<std::uint64_t, RemoteAddr> values;
      for (const auto& [key, value] : all->items)
        values.emplace(key.raw(), value);
      std::vector<std::pair<RemoteAddr, RemoteAddr>> pairs;
      auto node = w.reader_.pointer(at, kFirst);
      while (node && *node && pairs.size() < w.limits_.max_items) {
        const auto key = w.reader_.pointer(*node, 0);
        if (!key) return fail(key.error());
        const auto value = values.find(key->raw());
        if (value == values.end()) return fail(ErrorKind::Malformed, "a node without its item");
        pairs.emplace_back(*key, value->second);
        node = w.reader_.pointer(*node, 16);
      }
      if (!node) return fail(node.error());
      if (auto ok = w.put_pairs(pairs, all->count, depth); !ok) return ok;
    }
    w.put(")");
    return {};
  }
  static Result<void> deque(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                            std::size_t depth) {
    // Blocks (left link, 64 items, right link); the first item is at leftindex of the leftmost one.
    constexpr std::uint64_t kBlockItems = 64;
    const auto size = w.reader_.value<std::uint64_t>(at, 16);
    auto block = w.reader_.pointer(at, 24);
    auto index = w.reader_.value<std::uint64_t>(at, 40);
    const auto most = w.reader_.value<std::int64_t>(at, 64);
    if (!size) return fail(size.error());
    if (!block) return fail(block.error());
    if (!index) return fail(index.error());
    if (!most) return fail(most.error());
    if (*index >= kBlockItems) return fail(ErrorKind::Malformed, "a deque with a bad index");
    Items items;
    items.second = *size;
    while (items.first.size() < std::min<std::uint64_t>(*size, w.limits_.max_items)) {
      const auto item = w.reader_.pointer(*block, 8 + *index * 8);
      if (!item) return fail(item.error());
      items.first.push_back(*item);
      if (++*index == kBlockItems) {
        *index = 0;
        block = w.reader_.pointer(*block, 8 + kBlockItems * 8);
        if (!block) return fail(block.error());
      }
    }
    w.put(type.name + "([");
    if (auto ok = w.put_items(items.first, items.second, depth); !ok) return ok;
    w.put(*most >= 0 ? fmt::format("], maxlen={})", *most) : "])");
    return {};
  }
  template <char Which>
  static Result<void> dict_view(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                std::size_t depth) {
    const auto viewed = w.reader_.pointer(at, 16);
    if (!viewed) return fail(viewed.error());
    const auto prefix = read_dict_prefix(w.reader_, *viewed, w.limits_.max_items);
    if (!prefix) return fail(prefix.error());
    w.put(type.name + "([");
    std::size_t n = 0;
    for (const auto& [key, value] : prefix->items) {
      if (n++ > 0) w.put(", ");
      if (Which == 'i') w.put("(");
      if (Which != 'v') w.write_object(key, depth + 1);
      if (Which == 'i') w.put(", ");
      if (Which != 'k') w.put_named(w.name_of(key), value, depth + 1);
      if (Which == 'i') w.put(")");
    }
    if (prefix->count > prefix->items.size()) {
      w.put(", ");
      w.put_more(prefix->count - prefix->items.size());
    }
    w.put("])");
    return {};
  }
  static Result<void> mapping_proxy(ReprWriter& w, RemoteAddr at, const ObjectType&,
                                    std::size_t depth) {
    const auto mapping = w.reader_.pointer(at, 16);
    if (!mapping) return fail(mapping.error());
    w.put("mappingproxy(");
    w.write_object(*mapping, depth + 1);
    w.put(")");
    return {};
  }
  static Result<std::array<RemoteAddr, 3>> three(ReprWriter& w, RemoteAddr at) {
    std::array<RemoteAddr, 3> parts;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto part = w.reader_.pointer(at, 16 + 8 * i);
      if (!part) return fail(part.error());
      parts[i] = *part;
    }
    return parts;
  }
  static Result<void> range(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    const auto parts = three(w, at);
    if (!parts) return fail(parts.error());
    w.put("range(");
    w.write_object((*parts)[0], depth + 1);
    w.put(", ");
    w.write_object((*parts)[1], depth + 1);
    if (read_unsigned(w.reader_, (*parts)[2]).value_or(0) != 1) {
      w.put(", ");
      w.write_object((*parts)[2], depth + 1);
    }
    w.put(")");
    return {};
  }
  static Result<void> slice(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    const auto parts = three(w, at);
    if (!parts) return fail(parts.error());
    w.put("slice(");
    for (std::size_t i = 0; i < parts->size(); ++i) {
      if (i > 0) w.put(", ");
      w.write_object((*parts)[i], depth + 1);
    }
    w.put(")");
    return {};
  }
  static Result<void> array(ReprWriter& w, RemoteAddr at, const ObjectType& type, std::size_t) {
    // arrayobject: ob_item, allocated, ob_descr; arraydescr begins with the type code and the size
    // of an item.
    const auto size = w.reader_.value<std::uint64_t>(at, 16);
    const auto data = w.reader_.value<std::uint64_t>(at, 24);
    const auto descriptor = w.reader_.pointer(at, 40);
    if (!size) return fail(size.error());
    if (!data) return fail(data.error());
    if (!descriptor) return fail(descriptor.error());
    const auto code = w.reader_.value<char>(*descriptor, 0);
    if (!code) return fail(code.error());
    static constexpr std::string_view kCodes = "bBhHiIlLqQfd";
    if (kCodes.find(*code) == std::string_view::npos || *code == '\0') {
      w.put("<" + type.name + " at ");
      w.put_address(at);
      w.put(fmt::format(" of {} items>", with_separators(*size)));
      w.truncated_ = true;
      return {};
    }
    w.put(fmt::format("{}('{}'", type.name, *code));
    const std::uint64_t count = std::min<std::uint64_t>(*size, w.limits_.max_items);
    const auto put_all = [&]<class T>(T) -> Result<void> {
      std::vector<T> values(count);
      if (auto ok =
              w.reader_.memory().read(RemoteAddr{*data}, std::as_writable_bytes(std::span{values}));
          !ok)
        return ok;
      for (std::size_t i = 0; i < values.size(); ++i) {
        w.put(i > 0 ? ", " : "");
        if constexpr (std::is_floating_point_v<T>) {
          // Python makes a double of it first.
          w.put(float_text(static_cast<double>(values[i]), true));
        } else {
          w.put(std::to_string(values[i]));
        }
      }
      return {};
    };
    if (*size > 0) {
      w.put(", [");
      Result<void> ok;
      switch (*code) {
        case 'b':
          ok = put_all(std::int8_t{});
          break;
        case 'B':
          ok = put_all(std::uint8_t{});
          break;
        case 'h':
          ok = put_all(std::int16_t{});
          break;
        case 'H':
          ok = put_all(std::uint16_t{});
          break;
        case 'i':
          ok = put_all(std::int32_t{});
          break;
        case 'I':
          ok = put_all(std::uint32_t{});
          break;
        case 'l':
        case 'q':
          ok = put_all(std::int64_t{});
          break;
        case 'L':
        case 'Q':
          ok = put_all(std::uint64_t{});
          break;
        case 'f':
          ok = put_all(float{});
          break;
        default:
          ok = put_all(double{});
          break;
      }
      if (!ok) return ok;
      if (*size > count) {
        w.put(", ");
        w.put_more(*size - count);
      }
      w.put("]");
    }
    w.put(")");
    return {};
  }
  static Result<void> simple_namespace(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                       std::size_t depth) {
    w.put(type.exact ? "namespace(" : type.name + "(");
    const auto found = w.objects_.attributes(at, type, w.limits_.max_items + 1);
    for (std::size_t i = 0; i < std::min(found.size(), w.limits_.max_items); ++i) {
      w.put((i > 0 ? ", " : "") + found[i].first + "=");
      w.put_named(found[i].first, found[i].second, depth + 1);
    }
    if (found.size() > w.limits_.max_items) {
      w.put(", …");
      w.truncated_ = true;
    }
    w.put(")");
    return {};
  }

  // datetime (Include/datetime.h): the fields are bytes, the highest first, from 25 on.
  static Result<std::array<std::uint8_t, 16>> date_bytes(ReprWriter& w, RemoteAddr at,
                                                         std::size_t count) {
    constexpr std::uint64_t kData = 25;
    std::array<std::uint8_t, 16> bytes{};
    if (auto ok = w.reader_.memory().read(at + kData,
                                          std::as_writable_bytes(std::span{bytes}.first(count)));
        !ok)
      return fail(ok.error());
    return bytes;
  }
  static Result<void> date(ReprWriter& w, RemoteAddr at, const ObjectType& type, std::size_t) {
    const auto b = date_bytes(w, at, 4);
    if (!b) return fail(b.error());
    w.put(fmt::format("{}({}, {}, {})", type.full_name, (*b)[0] * 256 + (*b)[1], (*b)[2], (*b)[3]));
    return {};
  }
  static std::string seconds_text(int second, int microsecond) {
    if (microsecond != 0) return fmt::format(", {}, {}", second, microsecond);
    return second != 0 ? fmt::format(", {}", second) : std::string{};
  }
  static Result<void> put_fold_and_zone(ReprWriter& w, RemoteAddr at, std::uint64_t fold_at,
                                        std::uint64_t zone_at, std::size_t depth) {
    constexpr std::uint64_t kHasZone = 24;
    const auto fold = w.reader_.value<std::uint8_t>(at, fold_at);
    const auto has_zone = w.reader_.value<std::uint8_t>(at, kHasZone);
    if (!fold) return fail(fold.error());
    if (!has_zone) return fail(has_zone.error());
    if (*fold != 0) w.put(", fold=1");
    if (*has_zone != 0) {
      const auto zone = w.reader_.pointer(at, zone_at);
      if (!zone) return fail(zone.error());
      w.put(", tzinfo=");
      w.write_object(*zone, depth + 1);
    }
    w.put(")");
    return {};
  }
  static Result<void> time(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                           std::size_t depth) {
    const auto b = date_bytes(w, at, 6);
    if (!b) return fail(b.error());
    const int microsecond = (*b)[3] << 16 | (*b)[4] << 8 | (*b)[5];
    w.put(fmt::format("{}({}, {}{}", type.full_name, (*b)[0], (*b)[1],
                      seconds_text((*b)[2], microsecond)));
    return put_fold_and_zone(w, at, 31, 32, depth);
  }
  static Result<void> date_time(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                std::size_t depth) {
    const auto b = date_bytes(w, at, 10);
    if (!b) return fail(b.error());
    const int microsecond = (*b)[7] << 16 | (*b)[8] << 8 | (*b)[9];
    w.put(fmt::format("{}({}, {}, {}, {}, {}{}", type.full_name, (*b)[0] * 256 + (*b)[1], (*b)[2],
                      (*b)[3], (*b)[4], (*b)[5], seconds_text((*b)[6], microsecond)));
    return put_fold_and_zone(w, at, 35, 40, depth);
  }
  static Result<void> time_delta(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                 std::size_t) {
    const auto days = w.reader_.value<std::int32_t>(at, 24);
    const auto seconds = w.reader_.value<std::int32_t>(at, 28);
    const auto microseconds = w.reader_.value<std::int32_t>(at, 32);
    if (!days) return fail(days.error());
    if (!seconds) return fail(seconds.error());
    if (!microseconds) return fail(microseconds.error());
    std::string text;
    const auto add = [&](std::string_view name, std::int32_t value) {
      if (value != 0) text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, value);
    };
    add("days", *days);
    add("seconds", *seconds);
    add("microseconds", *microseconds);
    w.put(type.full_name + "(" + (text.empty() ? "0" : text) + ")");
    return {};
  }
  static Result<void> time_zone(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                std::size_t depth) {
    const auto offset = w.reader_.pointer(at, 16);
    const auto name = w.reader_.pointer(at, 24);
    if (!offset) return fail(offset.error());
    if (!name) return fail(name.error());
    const auto seconds = w.reader_.value<std::int32_t>(*offset, 28);
    const auto days = w.reader_.value<std::int32_t>(*offset, 24);
    const auto microseconds = w.reader_.value<std::int32_t>(*offset, 32);
    if (seconds && days && microseconds && *seconds == 0 && *days == 0 && *microseconds == 0 &&
        !*name) {
      w.put("datetime.timezone.utc");
      return {};
    }
    w.put(type.full_name + "(");
    w.write_object(*offset, depth + 1);
    if (*name) {
      w.put(", ");
      w.write_object(*name, depth + 1);
    }
    w.put(")");
    return {};
  }
  static Result<void> decimal(ReprWriter& w, RemoteAddr at, const ObjectType& type, std::size_t) {
    // PyDecObject: mpd_t with its flags, exponent, count of digits and words in base 10^19, the
    // lowest first.
    const auto flags = w.reader_.value<std::uint8_t>(at, 24);
    const auto exponent = w.reader_.value<std::int64_t>(at, 32);
    const auto words = w.reader_.value<std::uint64_t>(at, 48);
    const auto data = w.reader_.value<std::uint64_t>(at, 64);
    if (!flags) return fail(flags.error());
    if (!exponent) return fail(exponent.error());
    if (!words) return fail(words.error());
    if (!data) return fail(data.error());
    constexpr std::uint64_t kMostWords = 256;
    const bool special = (*flags & 14U) != 0;
    std::string digits;
    if (*words > kMostWords) {
      w.put(fmt::format("<Decimal of {} digits>", with_separators(*words * 19)));
      w.truncated_ = true;
      return {};
    }
    if ((*flags & 2U) == 0) {
      std::vector<std::uint64_t> raw(*words);
      if (!raw.empty()) {
        if (auto ok =
                w.reader_.memory().read(RemoteAddr{*data}, std::as_writable_bytes(std::span{raw}));
            !ok)
          return ok;
      }
      while (raw.size() > 1 && raw.back() == 0)
        raw.pop_back();
      if (!raw.empty()) digits = std::to_string(raw.back());
      for (std::size_t i = raw.size(); i-- > 1;)
        digits += fmt::format("{:019}", raw[i - 1]);
    }
    std::string text = (*flags & 1U) != 0 ? "-" : "";
    if (special) {
      text += (*flags & 2U) != 0 ? "Infinity" : (*flags & 8U) != 0 ? "sNaN" : "NaN";
      if ((*flags & 2U) == 0 && !digits.empty() && digits != "0") text += digits;
    } else {
      if (digits.empty()) digits = "0";
      const auto count = static_cast<std::int64_t>(digits.size());
      const std::int64_t left = count + *exponent;
      constexpr std::int64_t kMostZeros = 6;
      const bool plain = *exponent <= 0 && left > -kMostZeros;
      const std::int64_t point = plain ? left : 1;
      if (point <= 0) {
        text += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
      } else if (point >= count) {
        text += digits + std::string(static_cast<std::size_t>(point - count), '0');
      } else {
        text += digits.substr(0, static_cast<std::size_t>(point)) + "." +
                digits.substr(static_cast<std::size_t>(point));
      }
      if (left != point) text += fmt::format("E{:+}", left - point);
    }
    w.put(type.name + "('" + text + "')");
    return {};
  }

  static Result<void> module(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto dict = w.reader_.pointer(at, Field::ModuleMdDict);
    if (!dict) return fail(dict.error());
    const auto item = [&](RemoteAddr from, std::string_view name) {
      return from ? dict_item(w.reader_, from, name).value_or(RemoteAddr{}) : RemoteAddr{};
    };
    const std::string name = w.objects_.text_of(item(*dict, "__name__"));
    std::string where = w.objects_.text_of(item(*dict, "__file__"));
    const RemoteAddr spec = item(*dict, "__spec__");
    const auto spec_type =
        spec ? w.objects_.type_of(spec) : Result<const ObjectType*>(fail(ErrorKind::Malformed, ""));
    if (spec_type && (*spec_type)->name == "ModuleSpec") {
      const std::string origin =
          w.objects_.text_of(w.objects_.attribute(spec, **spec_type, "origin"));
      if (origin == "built-in" || origin == "frozen") {
        w.put("<module '" + name + "' (" + origin + ")>");
        return {};
      }
      if (!origin.empty()) where = origin;
    }
    w.put("<module '" + name + "'" + (where.empty() ? "" : " from '" + where + "'") + ">");
    return {};
  }
  static Result<void> function(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    constexpr std::uint64_t kQualifiedName = 40;
    const auto name = w.reader_.pointer(at, kQualifiedName);
    if (!name) return fail(name.error());
    w.put("<function " + w.objects_.text_of(*name) + " at ");
    w.put_address(at);
    w.put(">");
    return {};
  }
  static Result<void> method(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    const auto called = w.reader_.pointer(at, 16);
    const auto self = w.reader_.pointer(at, 24);
    if (!called) return fail(called.error());
    if (!self) return fail(self.error());
    const auto type = w.objects_.type_of(*called);
    constexpr std::uint64_t kQualifiedName = 40;
    std::string name = "?";
    if (type && (*type)->builtin == "function") {
      if (const auto at_name = w.reader_.pointer(*called, kQualifiedName))
        name = w.objects_.text_of(*at_name);
    }
    w.put("<bound method " + name + " of ");
    w.write_object(*self, depth + 1);
    w.put(">");
    return {};
  }
  static Result<void> builtin_function(ReprWriter& w, RemoteAddr at, const ObjectType&,
                                       std::size_t) {
    // PyCFunctionObject: m_ml (whose first word is the name), m_self.
    const auto definition = w.reader_.pointer(at, 16);
    const auto self = w.reader_.pointer(at, 24);
    if (!definition) return fail(definition.error());
    if (!self) return fail(self.error());
    const auto name_at = w.reader_.value<std::uint64_t>(*definition, 0);
    if (!name_at) return fail(name_at.error());
    const std::string name = w.reader_.c_string(RemoteAddr{*name_at}).value_or("?");
    const auto type = *self ? w.objects_.type_of(*self)
                            : Result<const ObjectType*>(fail(ErrorKind::Malformed, ""));
    if (!type || (*type)->builtin == "module") {
      w.put("<built-in function " + name + ">");
      return {};
    }
    w.put("<built-in method " + name + " of " + (*type)->label() + " object at ");
    w.put_address(*self);
    w.put(">");
    return {};
  }
  static Result<void> class_object(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto described = w.objects_.describe_type(at);
    if (!described) return fail(described.error());
    w.put("<class '" + (*described)->full_name + "'>");
    return {};
  }
  static Result<void> generator(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                std::size_t depth) {
    constexpr std::uint64_t kQualifiedName = 32;
    const auto name = w.reader_.pointer(at, kQualifiedName);
    if (!name) return fail(name.error());
    w.put("<" + type.name + " object " + w.objects_.text_of(*name) + " at ");
    w.put_address(at);
    w.put(">");
    if (depth == 0) w.detail_ = generator_state(w, at);
    return {};
  }
  static std::string generator_state(ReprWriter& w, RemoteAddr at) {
    const auto generator = read_generator(w.reader_, at);
    if (!generator) return {};
    switch (generator->state) {
      case GeneratorState::NotStarted:
        return "not started";
      case GeneratorState::Running:
        return "running";
      case GeneratorState::Finished:
        return "finished";
      case GeneratorState::Suspended:
        break;
    }
    const auto frame = read_first_frame(w.reader_, generator->stack);
    if (!frame) return "suspended";
    CodeTable codes(w.reader_.memory(), w.reader_.offsets());
    codes.load({frame->executable});
    if (!codes.knows(frame->executable)) return "suspended";
    const auto unit = unit_of(codes, *frame);
    if (!unit) return "suspended";
    const auto line = codes.location(frame->executable, *unit).position.line;
    return line ? fmt::format("suspended at line {}", *line) : "suspended";
  }
  static Result<void> task(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                           std::size_t depth) {
    // TaskObj (Modules/_asynciomodule.c). Its repr() is Python code.
    const auto state = w.reader_.field<std::int32_t>(at, Field::TaskState);
    const auto name = w.reader_.pointer(at, Field::TaskName);
    const auto coroutine = w.reader_.pointer(at, Field::TaskCoro);
    if (!state) return fail(state.error());
    if (!name) return fail(name.error());
    if (!coroutine) return fail(coroutine.error());
    w.put("<" + type.name + " at ");
    w.put_address(at);
    w.put(" name=");
    // One that nobody named holds its number.
    const auto number = *name ? read_unsigned(w.reader_, *name)
                              : Result<std::uint64_t>(fail(ErrorKind::Malformed, "no name"));
    const auto name_type = w.objects_.type_of(*name);
    if (number && name_type && (*name_type)->builtin == "int") {
      w.put(fmt::format("'Task-{}'", *number));
    } else {
      w.write_object(*name, depth + 1);
    }
    w.put(*state == 0 ? " pending" : *state == 1 ? " cancelled" : " finished");
    if (*coroutine) {
      w.put(" coro=");
      w.write_object(*coroutine, depth + 1);
      if (depth == 0) w.detail_ = generator_state(w, *coroutine);
    }
    w.put(">");
    return {};
  }
  static Result<void> future(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                             std::size_t depth) {
    constexpr std::uint64_t kException = 48;
    constexpr std::uint64_t kResult = 64;
    const auto state = w.reader_.field<std::int32_t>(at, Field::FutureState);
    const auto exception = w.reader_.pointer(at, kException);
    const auto result = w.reader_.pointer(at, kResult);
    if (!state) return fail(state.error());
    if (!exception) return fail(exception.error());
    if (!result) return fail(result.error());
    w.put("<" + type.name + " at ");
    w.put_address(at);
    w.put(*state == 0 ? " pending" : *state == 1 ? " cancelled" : " finished");
    if (*state == 2 && (*exception || *result)) {
      w.put(*exception ? " exception=" : " result=");
      w.write_object(*exception ? *exception : *result, depth + 1);
    }
    w.put(">");
    return {};
  }
  // numpy (numpy/core/include/numpy/ndarraytypes.h and arrayscalars.h): numbers by their type_num,
  // and the name of the type; what isn't here isn't decoded.
  struct NumpyNumber {
    std::string_view name;
    std::size_t size;
    std::string (*text)(const std::byte*);
  };
  template <class T>
  static std::string numpy_text(const std::byte* bytes) {
    T value{};
    std::memcpy(&value, bytes, sizeof value);
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t byte = 0;
      std::memcpy(&byte, bytes, 1);
      return byte != 0 ? "True" : "False";
    } else if constexpr (std::is_same_v<T, float>) {
      // numpy changes to exponents sooner than Python does.
      constexpr int kMostDigits = 6;
      return float_text(value, true, kMostDigits);
    } else if constexpr (std::is_same_v<T, double>) {
      return float_text(value, true);
    } else {
      return std::to_string(value);
    }
  }
  static const NumpyNumber* numpy_number(std::int32_t type_num) {
    static constexpr auto kNumbers = std::to_array<NumpyNumber>({
        {"bool", 1, numpy_text<bool>},
        {"int8", 1, numpy_text<std::int8_t>},
        {"uint8", 1, numpy_text<std::uint8_t>},
        {"int16", 2, numpy_text<std::int16_t>},
        {"uint16", 2, numpy_text<std::uint16_t>},
        {"int32", 4, numpy_text<std::int32_t>},
        {"uint32", 4, numpy_text<std::uint32_t>},
        {"int64", 8, numpy_text<std::int64_t>},  // long
        {"uint64", 8, numpy_text<std::uint64_t>},
        {"int64", 8, numpy_text<std::int64_t>},
        {"uint64", 8, numpy_text<std::uint64_t>},
        {"float32", 4, numpy_text<float>},
        {"float64", 8, numpy_text<double>},
    });
    if (type_num < 0 || static_cast<std::size_t>(type_num) >= kNumbers.size()) return nullptr;
    return &kNumbers[static_cast<std::size_t>(type_num)];
  }
  static Result<void> numpy_array(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                  std::size_t depth) {
    // PyArrayObject_fields; PyArray_Descr begins with typeobj, kind, type, byteorder, type_num.
    constexpr std::size_t kMostDimensions = 64;
    const auto data = w.reader_.value<std::uint64_t>(at, 16);
    const auto count = w.reader_.value<std::int32_t>(at, 24);
    const auto dimensions_at = w.reader_.value<std::uint64_t>(at, 32);
    const auto strides_at = w.reader_.value<std::uint64_t>(at, 40);
    const auto descriptor = w.reader_.pointer(at, 56);
    if (!data) return fail(data.error());
    if (!count) return fail(count.error());
    if (!dimensions_at) return fail(dimensions_at.error());
    if (!strides_at) return fail(strides_at.error());
    if (!descriptor) return fail(descriptor.error());
    const auto byte_order = w.reader_.value<char>(*descriptor, 26);
    const auto type_num = w.reader_.value<std::int32_t>(*descriptor, 28);
    const auto scalar = w.reader_.pointer(*descriptor, 16);
    if (!byte_order) return fail(byte_order.error());
    if (!type_num) return fail(type_num.error());
    if (*count < 0 || static_cast<std::size_t>(*count) > kMostDimensions) {
      return fail(ErrorKind::Malformed, "an array with a bad number of dimensions");
    }
    NumpyShape shape;
    shape.data = *data;
    shape.sizes.resize(static_cast<std::size_t>(*count));
    shape.strides.resize(static_cast<std::size_t>(*count));
    if (*count > 0) {
      auto ok = w.reader_.memory().read(RemoteAddr{*dimensions_at},
                                        std::as_writable_bytes(std::span{shape.sizes}));
      if (!ok) return ok;
      ok = w.reader_.memory().read(RemoteAddr{*strides_at},
                                   std::as_writable_bytes(std::span{shape.strides}));
      if (!ok) return ok;
    }
    const NumpyNumber* number = numpy_number(*type_num);
    std::string name = "?";
    if (number != nullptr) {
      name = number->name;
    } else if (scalar && *scalar) {
      if (const auto described = w.objects_.describe_type(*scalar)) name = (*described)->name;
    }
    w.put("<" + type.name + " shape=(");
    for (std::size_t i = 0; i < shape.sizes.size(); ++i)
      w.put(fmt::format("{}{}", i > 0 ? ", " : "", shape.sizes[i]));
    w.put(fmt::format("{}) dtype={}", shape.sizes.size() == 1 ? "," : "", name));
    w.truncated_ = true;  // it isn't what repr() prints
    // '>' is the order of another machine.
    if (number != nullptr && *byte_order != '>' && depth < w.limits_.max_depth) {
      w.put(" ");
      std::size_t left = w.limits_.max_items;
      if (auto ok = put_numpy_items(w, shape, *number, 0, shape.data, left); !ok) return ok;
    }
    w.put(">");
    return {};
  }
  struct NumpyShape {
    std::uint64_t data = 0;
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
  };
  static Result<void> put_numpy_items(ReprWriter& w, const NumpyShape& shape,
                                      const NumpyNumber& number, std::size_t dimension,
                                      std::uint64_t at, std::size_t& left) {
    if (dimension == shape.sizes.size()) {
      std::array<std::byte, 8> bytes{};
      auto ok = w.reader_.memory().read(RemoteAddr{at}, std::span{bytes}.first(number.size));
      if (!ok) return ok;
      w.put(number.text(bytes.data()));
      left -= left > 0 ? 1 : 0;
      return {};
    }
    w.put("[");
    const std::int64_t size = shape.sizes[dimension];
    for (std::int64_t i = 0; i < size; ++i) {
      if (i > 0) w.put(", ");
      if (left == 0) {
        w.put_more(static_cast<std::uint64_t>(size - i));
        break;
      }
      // Whatever a torn stride gives, it is only read from.
      const std::uint64_t item =
          at + static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(shape.strides[dimension]);
      if (auto ok = put_numpy_items(w, shape, number, dimension + 1, item, left); !ok) return ok;
    }
    w.put("]");
    return {};
  }
  template <std::int32_t TypeNum>
  static Result<void> numpy_scalar(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    constexpr std::uint64_t kValue = 16;
    const NumpyNumber& number = *numpy_number(TypeNum);
    std::array<std::byte, 8> bytes{};
    if (auto ok = w.reader_.memory().read(at + kValue, std::span{bytes}.first(number.size)); !ok)
      return ok;
    const std::string text = number.text(bytes.data());
    w.put(TypeNum == 0 ? "np." + text + "_" : fmt::format("np.{}({})", number.name, text));
    return {};
  }
  static Result<void> lock(ReprWriter& w, RemoteAddr at, const ObjectType& type, std::size_t) {
    // One byte (PyMutex), of which bit 0 says it.
    constexpr std::uint64_t kState = 16;
    const auto state = w.reader_.value<std::uint8_t>(at, kState);
    if (!state) return fail(state.error());
    w.put((*state & 1U) != 0 ? "<locked " : "<unlocked ");
    w.put(type.full_name + " object at ");
    w.put_address(at);
    w.put(">");
    return {};
  }
  static Result<void> recursive_lock(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                                     std::size_t) {
    constexpr std::uint64_t kOwner = 24;
    constexpr std::uint64_t kCount = 32;
    const auto owner = w.reader_.value<std::uint64_t>(at, kOwner);
    const auto count = w.reader_.value<std::uint64_t>(at, kCount);
    if (!owner) return fail(owner.error());
    if (!count) return fail(count.error());
    const std::uint64_t held = *owner != 0 ? *count + w.reader_.layout().rlock_count_missing : 0;
    w.put(fmt::format("<{} {} object owner={} count={} at ", held != 0 ? "locked" : "unlocked",
                      type.full_name, *owner, held));
    w.put_address(at);
    w.put(">");
    return {};
  }
  static Result<void> weak_reference(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t) {
    const auto referent = w.reader_.pointer(at, 16);
    if (!referent) return fail(referent.error());
    const auto target = w.objects_.type_of(*referent);
    w.put("<weakref at ");
    w.put_address(at);
    if (!target || (*target)->builtin == "NoneType") {
      w.put("; dead>");
      return {};
    }
    w.put("; to '" + (*target)->label() + "' at ");
    w.put_address(*referent);
    w.put(">");
    return {};
  }
  static Result<void> memory_view(ReprWriter& w, RemoteAddr at, const ObjectType&,
                                  std::size_t depth) {
    w.put("<memory at ");
    w.put_address(at);
    w.put(">");
    if (depth > 0) return {};
    // PyMemoryViewObject: flags, then a Py_buffer (buf, obj, len, itemsize, readonly, ndim,
    // format).
    constexpr std::uint64_t kFlags = 40;
    constexpr std::int32_t kReleased = 1;
    constexpr std::uint64_t kLength = 72;
    constexpr std::uint64_t kReadOnly = 88;
    constexpr std::uint64_t kFormat = 96;
    const auto flags = w.reader_.value<std::int32_t>(at, kFlags);
    const auto length = w.reader_.value<std::uint64_t>(at, kLength);
    const auto read_only = w.reader_.value<std::int32_t>(at, kReadOnly);
    const auto format = w.reader_.value<std::uint64_t>(at, kFormat);
    if (!flags || !length || !read_only || !format) return {};
    if ((*flags & kReleased) != 0) {
      w.detail_ = "released";
      return {};
    }
    const std::string kind =
        *format == 0 ? "B" : w.reader_.c_string(RemoteAddr{*format}).value_or("?");
    w.detail_ = fmt::format("{} bytes of format '{}'{}", with_separators(*length), kind,
                            *read_only != 0 ? ", read-only" : "");
    return {};
  }
  static Result<void> pattern(ReprWriter& w, RemoteAddr at, const ObjectType&, std::size_t depth) {
    // PatternObject: groups, groupindex, indexgroup, pattern, flags.
    const auto source = w.reader_.pointer(at, 48);
    const auto flags = w.reader_.value<std::int32_t>(at, 56);
    if (!source) return fail(source.error());
    if (!flags) return fail(flags.error());
    auto left = static_cast<std::uint32_t>(*flags);
    constexpr std::uint32_t kUnicode = 32;
    constexpr std::uint32_t kLocaleOrAscii = 4 | 256;
    const auto type = w.objects_.type_of(*source);
    if (type && ((*type)->flags & kTypeUnicodeSubclass) != 0 &&
        (left & (kLocaleOrAscii | kUnicode)) == kUnicode) {
      left &= ~kUnicode;
    }
    w.put("re.compile(");
    w.write_object(*source, depth + 1);
    static constexpr auto kNames =
        std::to_array<std::pair<std::uint32_t, std::string_view>>({{2, "re.IGNORECASE"},
                                                                   {4, "re.LOCALE"},
                                                                   {8, "re.MULTILINE"},
                                                                   {16, "re.DOTALL"},
                                                                   {32, "re.UNICODE"},
                                                                   {64, "re.VERBOSE"},
                                                                   {128, "re.DEBUG"},
                                                                   {256, "re.ASCII"}});
    std::string text;
    for (const auto& [bit, name] : kNames) {
      if ((left & bit) == 0) continue;
      text += text.empty() ? "" : "|";
      text += name;
      left &= ~bit;
    }
    if (left != 0) text += fmt::format("{}{:#x}", text.empty() ? "" : "|", left);
    w.put(text.empty() ? ")" : ", " + text + ")");
    return {};
  }
  static Result<void> partial(ReprWriter& w, RemoteAddr at, const ObjectType& type,
                              std::size_t depth) {
    const auto parts = three(w, at);
    if (!parts) return fail(parts.error());
    w.put(type.full_name + "(");
    w.write_object((*parts)[0], depth + 1);
    const auto items = tuple_items(w, (*parts)[1]);
    if (!items) return fail(items.error());
    for (const RemoteAddr item : items->first) {
      w.put(", ");
      w.write_object(item, depth + 1);
    }
    if (items->second > items->first.size()) {
      w.put(", ");
      w.put_more(items->second - items->first.size());
    }
    const auto keywords = read_dict_prefix(w.reader_, (*parts)[2], w.limits_.max_items);
    if (!keywords) return fail(keywords.error());
    for (const auto& [key, value] : keywords->items) {
      const std::string name = w.objects_.name_of(key);
      w.put(", " + name + "=");
      w.put_named(name, value, depth + 1);
    }
    w.put(")");
    return {};
  }
};

// Classes whose repr() is Python code that is known: they are recognised by what only they have.
bool ReprWriter::put_python_class(RemoteAddr object, const ObjectType& type, std::size_t depth) {
  const auto repr_is_from = [&](std::string_view file) {
    for (const RemoteAddr base : type.bases) {
      const RemoteAddr function = objects_.class_attribute(base, "__repr__");
      if (!function) continue;
      constexpr std::uint64_t kCode = 48;
      const auto code = reader_.pointer(function, kCode);
      const auto described = objects_.type_of(function);
      if (!code || !described || (*described)->builtin != "function") return false;
      const auto name = reader_.pointer(*code, Field::CodeFilename);
      return name && objects_.text_of(*name).ends_with(file);
    }
    return false;
  };
  const auto find_in_bases = [&](std::string_view name) {
    for (const RemoteAddr base : type.bases) {
      if (const RemoteAddr found = objects_.class_attribute(base, name)) return found;
    }
    return RemoteAddr{};
  };
  if ((type.flags & (std::uint64_t{1} << 26U)) != 0) {
    // A named tuple: _fields names its items.
    const RemoteAddr fields = find_in_bases("_fields");
    const auto names = fields ? objects_.type_of(fields)
                              : Result<const ObjectType*>(fail(ErrorKind::Malformed, ""));
    if (!names || (*names)->builtin != "tuple" || !repr_is_from("collections/__init__.py"))
      return false;
    const auto size = reader_.field<std::uint64_t>(object, Field::TupleObSize);
    const auto count = reader_.field<std::uint64_t>(fields, Field::TupleObSize);
    if (!size || !count || *size != *count) return false;
    if (depth >= limits_.max_depth) {
      put(type.name + "(…)");
      truncated_ = true;
      return true;
    }
    put(type.name + "(");
    const std::uint64_t items = reader_.offsets()[Field::TupleObItem];
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(*size, limits_.max_items); ++i) {
      const std::string name =
          objects_.name_of(reader_.pointer(fields, items + 8 * i).value_or(RemoteAddr{}));
      put((i > 0 ? ", " : "") + name + "=");
      put_named(name, reader_.pointer(object, items + 8 * i).value_or(RemoteAddr{}), depth + 1);
    }
    if (*size > limits_.max_items) {
      put(", ");
      put_more(*size - limits_.max_items);
    }
    put(")");
    return true;
  }
  if (const RemoteAddr fields = objects_.class_attribute(type.at, "__dataclass_fields__");
      fields && (repr_is_from("dataclasses.py") || repr_is_from("reprlib.py"))) {
    // Python's is the qualified name without the module.
    const auto qualified = reader_.pointer(type.at, Field::HeapTypeHtQualname);
    const auto names = read_dict_prefix(reader_, fields, limits_.max_items);
    if (!names) return false;
    const auto found = objects_.attributes(object, type, limits_.max_items + 1);
    put((qualified ? objects_.text_of(*qualified) : type.name) + "(");
    bool first = true;
    for (const auto& [key, field] : names->items) {
      const std::string name = objects_.name_of(key);
      const auto field_type = objects_.type_of(field);
      const RemoteAddr shown =
          field_type ? objects_.attribute(field, **field_type, "repr") : RemoteAddr{};
      const RemoteAddr kind =
          field_type ? objects_.attribute(field, **field_type, "_field_type") : RemoteAddr{};
      const auto kind_type =
          kind ? objects_.type_of(kind) : Result<const ObjectType*>(fail(ErrorKind::Malformed, ""));
      // Not those with repr=False, and no ClassVar or InitVar.
      if (shown && read_unsigned(reader_, shown).value_or(1) == 0) continue;
      if (kind_type && objects_.text_of(objects_.attribute(kind, **kind_type, "name")) != "_FIELD")
        continue;
      const auto value =
          std::find_if(found.begin(), found.end(), [&](const auto& a) { return a.first == name; });
      if (value == found.end()) continue;
      put((first ? "" : ", ") + name + "=");
      first = false;
      put_named(name, value->second, depth + 1);
    }
    if (names->count > names->items.size()) {
      put(", ");
      put_more(names->count - names->items.size());
    }
    put(")");
    return true;
  }
  if ((type.flags & kTypeSubclass) != 0) {
    if (type.name != "EnumType" || !repr_is_from("enum.py")) return false;
    const auto described = objects_.describe_type(object);
    if (!described) return false;
    bool flag = false;
    for (const RemoteAddr base : (*described)->bases) {
      const auto name = reader_.type_name(base);
      flag = flag || (name && *name == "Flag");
    }
    put((flag ? "<flag '" : "<enum '") + reader_.type_name(object).value_or("?") + "'>");
    return true;
  }
  if (repr_is_from("enum.py")) {
    const std::string name = objects_.text_of(objects_.attribute(object, type, "_name_"));
    const RemoteAddr value = objects_.attribute(object, type, "_value_");
    if (name.empty() || !value) return false;
    put("<" + type.name + "." + name + ": ");
    write_object(value, depth + 1);
    put(">");
    return true;
  }
  if (type.name == "Fraction" && repr_is_from("fractions.py")) {
    put(type.name + "(");
    write_object(objects_.attribute(object, type, "_numerator"), depth + 1);
    put(", ");
    write_object(objects_.attribute(object, type, "_denominator"), depth + 1);
    put(")");
    return true;
  }
  if (type.name == "UUID" && repr_is_from("uuid.py")) {
    const RemoteAddr number = objects_.attribute(object, type, "int");
    std::array<std::uint32_t, 5> digits{};
    const auto tag = number ? reader_.field<std::uint64_t>(number, Field::LongLvTag)
                            : Result<std::uint64_t>(~0U);
    if (!tag || (*tag >> 3U) > digits.size()) return false;
    const auto count = (*tag & 3U) == 1 ? 0 : *tag >> 3U;
    if (!reader_.memory().read(number + reader_.offsets()[Field::LongObDigit],
                               std::as_writable_bytes(std::span{digits}.first(count)))) {
      return false;
    }
    std::string hex;
    for (int bit = 124; bit >= 0; bit -= 4) {
      const auto at = static_cast<std::size_t>(bit / 30);
      const int shift = bit % 30;
      std::uint64_t window = digits[at];
      if (at + 1 < digits.size()) window |= std::uint64_t{digits[at + 1]} << 30U;
      hex += "0123456789abcdef"[window >> static_cast<unsigned>(shift) & 15U];
      if (bit == 96 || bit == 80 || bit == 64 || bit == 48) hex += '-';
    }
    put(type.name + "('" + hex + "')");
    return true;
  }
  if (repr_is_from("collections/__init__.py") && type.name == "Counter") {
    // The most common first; of equal counts, the one that was counted first.
    constexpr std::size_t kMost = 1U << 16U;
    auto all = read_dict_prefix(reader_, object, kMost);
    if (!all || all->count > kMost) return false;
    if (all->count == 0) {
      put("Counter()");
      return true;
    }
    std::vector<std::pair<std::uint64_t, std::pair<RemoteAddr, RemoteAddr>>> counts;
    for (const auto& item : all->items) {
      const auto n = read_unsigned(reader_, item.second);
      if (!n) return false;  // negative, or no number at all
      counts.emplace_back(*n, item);
    }
    std::stable_sort(counts.begin(), counts.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<std::pair<RemoteAddr, RemoteAddr>> pairs;
    for (const auto& [n, item] : counts) {
      if (pairs.size() < limits_.max_items) pairs.push_back(item);
    }
    put("Counter(");
    (void)put_pairs(pairs, all->count, depth);
    put(")");
    return true;
  }
  if (type.name.ends_with("Path") &&
      (repr_is_from("pathlib/__init__.py") || repr_is_from("pathlib/_local.py"))) {
    if (const RemoteAddr known = objects_.attribute(object, type, "_str")) {
      put(type.name + "(");
      write_object(known, depth + 1);
      put(")");
      return true;
    }
    std::string path;
    const RemoteAddr parts = objects_.attribute(object, type, "_raw_paths");
    const auto size =
        parts ? reader_.field<std::uint64_t>(parts, Field::ListObSize) : Result<std::uint64_t>(0U);
    const auto items =
        parts ? reader_.pointer(parts, Field::ListObItem) : Result<RemoteAddr>(RemoteAddr{});
    constexpr std::uint64_t kMost = 64;
    if (!size || !items || *size > kMost) return false;
    for (std::uint64_t i = 0; i < *size; ++i) {
      constexpr std::size_t kLongest = 4096;
      const auto part =
          read_str(reader_, reader_.pointer(*items, 8 * i).value_or(RemoteAddr{}), kLongest);
      if (!part) return false;
      if (part->starts_with('/')) path.clear();
      if (!path.empty() && !path.ends_with('/')) path += '/';
      path += *part;
    }
    // As PurePosixPath puts it: no ".", no double slashes, none at the end.
    const bool absolute = path.starts_with('/');
    const bool two = path.starts_with("//") && !path.starts_with("///");
    std::string clean = absolute ? (two ? "//" : "/") : "";
    for (std::size_t at = 0; at <= path.size();) {
      const std::size_t end = std::min(path.find('/', at), path.size());
      const std::string part = path.substr(at, end - at);
      if (!part.empty() && part != ".")
        clean += (clean.empty() || clean.ends_with('/') ? "" : "/") + part;
      at = end + 1;
    }
    path = clean.empty() ? "." : clean;
    std::string quoted;
    for (const char c : path) {
      if (c == '\'' || c == '\\') quoted += '\\';
      quoted += c;
    }
    const bool double_quotes =
        path.find('\'') != std::string::npos && path.find('"') == std::string::npos;
    put(type.name + "(" + (double_quotes ? "\"" + path + "\"" : "'" + quoted + "'") + ")");
    return true;
  }
  return false;
}

void ReprWriter::write_object(RemoteAddr object, std::size_t depth) {
  // Containers end at the limit; this is for what merely refers to something, again and again.
  constexpr std::size_t kMostBeyond = 8;
  if (budget_.objects == 0 || budget_.text == 0 || depth > limits_.max_depth + kMostBeyond) {
    put("…");
    truncated_ = true;
    return;
  }
  --budget_.objects;
  const auto unreadable = [&](std::string_view name) {
    truncated_ = true;
    complete_ = false;
    put(fmt::format("<unreadable{}{} at {:#x}>", name.empty() ? "" : " ", name, object.raw()));
  };
  const auto described = objects_.type_of(object);
  if (!described) return unreadable("");
  const ObjectType& type = **described;
  const ReprDecoders::Entry* entry = ReprDecoders::find(
      (type.flags & kTypeSubclass) != 0 ? std::string_view("type") : type.builtin);
  const bool exception = (type.flags & kTypeExceptionSubclass) != 0;
  if (std::find(open_.begin(), open_.end(), object) != open_.end()) {
    put(entry != nullptr && !entry->cycle.empty() ? entry->cycle : "...");
    return;
  }
  open_.push_back(object);
  const std::size_t start = out_.size();
  Result<void> ok;
  if (exception && type.shown_by_c()) {
    ok = ReprDecoders::exception(*this, object, type, depth);
  } else if (entry != nullptr && type.shown_by_c()) {
    ok = entry->decode(*this, object, type, depth);
  } else if (!put_python_class(object, type, depth)) {
    if (entry != nullptr || exception) {
      // A subclass with a __repr__ of its own: what it is, and what it holds.
      put("<" + type.name + " at ");
      put_address(object);
      put(" ");
      ok = exception ? ReprDecoders::exception(*this, object, type, depth)
                     : entry->decode(*this, object, type, depth);
      put(">");
    } else {
      ok = put_instance(object, type, depth);
    }
  }
  if (!ok) {
    out_.resize(start);
    unreadable(type.name);
  }
  open_.pop_back();
}

Repr ReprWriter::write(RemoteAddr object, std::string_view name) {
  out_.clear();
  open_.clear();
  truncated_ = false;
  complete_ = true;
  detail_.clear();
  Repr repr;
  const auto type = objects_.type_of(object);
  repr.type = type ? (*type)->label() : "";
  put_named(name, object, 0);
  repr.text = std::move(out_);
  repr.truncated = truncated_;
  repr.complete = complete_;
  repr.detail = std::move(detail_);
  out_.clear();
  return repr;
}

}  // namespace pyscope
