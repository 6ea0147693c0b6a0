// Types of the standard library that are C code: types, decimal, re, functools, threading, weakref.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "python/lock_object.hpp"
#include "values/decoder.hpp"

namespace pyscope {
namespace {

Result<ValueNode> simple_namespace(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                                   std::size_t depth) {
  ValueNode node = between(type.exact ? "namespace(" : type.name + "(", ")");
  const std::uint64_t most = d.most_items();
  const auto found = d.objects().attributes(at, type, most + 1);
  for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), most); ++i)
    d.add_named(node, found[i].first, found[i].second, depth);
  if (found.size() > most) d.leave_out(node, ValueParts::kSomeLeftOut);
  return node;
}

/// The bits of mpd_t.flags.
constexpr std::uint8_t kNegative = 1;
constexpr std::uint8_t kInfinite = 2;
constexpr std::uint8_t kSignalingNan = 8;
constexpr std::uint8_t kSpecial = 14;

/// Words in base 10^19, the lowest first, as decimal text without zeros in front.
std::string digits_of(std::vector<std::uint64_t> words) {
  while (words.size() > 1 && words.back() == 0)
    words.pop_back();
  std::string digits = words.empty() ? "0" : std::to_string(words.back());
  for (std::size_t i = words.size(); i-- > 1;)
    digits += fmt::format("{:019}", words[i - 1]);
  return digits;
}

/// digits * 10^exponent as str() of a Decimal has it.
std::string scientific(const std::string& digits, std::int64_t exponent) {
  const auto count = static_cast<std::int64_t>(digits.size());
  const std::int64_t left = count + exponent;
  constexpr std::int64_t kMostZeros = 6;
  const bool plain = exponent <= 0 && left > -kMostZeros;
  const std::int64_t point = plain ? left : 1;
  std::string text;
  if (point <= 0) {
    text = "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else if (point >= count) {
    text = digits + std::string(static_cast<std::size_t>(point - count), '0');
  } else {
    text = digits.substr(0, static_cast<std::size_t>(point)) + "." +
           digits.substr(static_cast<std::size_t>(point));
  }
  return left == point ? text : text + fmt::format("E{:+}", left - point);
}

Result<ValueNode> decimal(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t) {
  const auto flags = d.reader().field<std::uint8_t>(at, Field::DecimalFlags);
  const auto exponent = d.reader().field<std::int64_t>(at, Field::DecimalExp);
  const auto count = d.reader().field<std::uint64_t>(at, Field::DecimalLen);
  const auto data = d.reader().field<std::uint64_t>(at, Field::DecimalData);
  if (!flags) return fail(flags.error());
  if (!exponent) return fail(exponent.error());
  if (!count) return fail(count.error());
  if (!data) return fail(data.error());
  // decimal.MIN_ETINY is -1,999,999,999,999,999,997, and MAX_EMAX is less than that.
  constexpr std::int64_t kFarthest = 2'000'000'000'000'000'000;
  if (*exponent < -kFarthest || *exponent > kFarthest) {
    return fail(ErrorKind::Malformed, "a Decimal with a bad exponent");
  }
  constexpr std::uint64_t kMostWords = 256;
  constexpr std::uint64_t kMostThereCanBe = std::uint64_t{1} << 58U;
  if (*count > kMostThereCanBe) return fail(ErrorKind::Malformed, "a Decimal with bad digits");
  if (*count > kMostWords) {
    d.mark_truncated();
    return leaf(fmt::format("<Decimal of {} digits>", with_separators(*count * 19)));
  }
  std::string text = (*flags & kNegative) != 0 ? "-" : "";
  if ((*flags & kInfinite) != 0) {
    text += "Infinity";
  } else {
    std::vector<std::uint64_t> words(*count);
    if (!words.empty()) {
      const auto ok =
          d.reader().memory().read(RemoteAddr{*data}, std::as_writable_bytes(std::span{words}));
      if (!ok) return fail(ok.error());
    }
    const std::string digits = digits_of(std::move(words));
    if ((*flags & kSpecial) != 0) {
      text += (*flags & kSignalingNan) != 0 ? "sNaN" : "NaN";
      if (digits != "0") text += digits;
    } else {
      text += scientific(digits, *exponent);
    }
  }
  return leaf(type.name + "('" + text + "')");
}

std::string flags_text(std::uint32_t flags) {
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
    if ((flags & bit) == 0) continue;
    text += text.empty() ? "" : "|";
    text += name;
    flags &= ~bit;
  }
  if (flags != 0) text += fmt::format("{}{:#x}", text.empty() ? "" : "|", flags);
  return text;
}

Result<ValueNode> pattern(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  const auto source = d.reader().pointer(at, Field::PatternPattern);
  const auto all_flags = d.reader().field<std::int32_t>(at, Field::PatternFlags);
  if (!source) return fail(source.error());
  if (!all_flags) return fail(all_flags.error());
  auto flags = static_cast<std::uint32_t>(*all_flags);
  constexpr std::uint32_t kUnicode = 32;
  constexpr std::uint32_t kLocaleOrAscii = 4 | 256;
  const auto type = d.objects().type_of(*source);
  if (type && ((*type)->flags & kTypeUnicodeSubclass) != 0 &&
      (flags & (kLocaleOrAscii | kUnicode)) == kUnicode) {
    flags &= ~kUnicode;
  }
  ValueNode node = between("re.compile(", ")");
  d.add_item(node, *source, depth);
  if (flags != 0) append(node, leaf(flags_text(flags)));
  return node;
}

Result<ValueNode> partial(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                          std::size_t depth) {
  const auto function = d.reader().pointer(at, Field::PartialFn);
  const auto arguments = d.reader().pointer(at, Field::PartialArgs);
  const auto keywords = d.reader().pointer(at, Field::PartialKw);
  if (!function) return fail(function.error());
  if (!arguments) return fail(arguments.error());
  if (!keywords) return fail(keywords.error());
  const auto items =
      read_sequence_prefix(d.reader(), *arguments, ContainerKind::Tuple, d.most_items());
  if (!items) return fail(items.error());
  ValueNode node = between(type.full_name + "(", ")");
  d.add_item(node, *function, depth);
  if (items->count > 0) {
    ValueNode group = between("", "", ValueNode::Kind::Group);
    for (const RemoteAddr item : items->items)
      d.add_item(group, item, depth);
    d.leave_out(group, items->count - items->items.size());
    append(node, std::move(group));
  }
  const auto named = read_dict_prefix(d.reader(), *keywords, d.most_items());
  if (!named) return fail(named.error());
  for (const auto& [key, value] : named->items)
    d.add_named(node, d.objects().name_of(key), value, depth);
  d.leave_out(node, named->count - named->items.size());
  return node;
}

Result<ValueNode> lock(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t) {
  const auto state = read_lock(d.reader(), at);
  if (!state) return fail(state.error());
  return leaf((state->locked ? "<locked " : "<unlocked ") + type.full_name + " object at " +
              address_text(at) + ">");
}

Result<ValueNode> recursive_lock(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                                 std::size_t) {
  const auto owner = d.reader().field<std::uint64_t>(at, Field::RLockOwner);
  const auto count = d.reader().field<std::uint64_t>(at, Field::RLockCount);
  if (!owner) return fail(owner.error());
  if (!count) return fail(count.error());
  const std::uint64_t held = *owner != 0 ? *count + d.reader().layout().rlock_count_missing : 0;
  return leaf(fmt::format("<{} {} object owner={} count={} at {}>",
                          held != 0 ? "locked" : "unlocked", type.full_name, *owner, held,
                          address_text(at)));
}

Result<ValueNode> weak_reference(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto referent = d.reader().pointer(at, Field::WeakRefWrObject);
  if (!referent) return fail(referent.error());
  const auto target = d.objects().type_of(*referent);
  const std::string opening = "<weakref at " + address_text(at);
  if (!target || (*target)->builtin == "NoneType") return leaf(opening + "; dead>");
  return leaf(opening + "; to '" + (*target)->label() + "' at " + address_text(*referent) + ">");
}

}  // namespace

std::span<const TypeDecoder> standard_library_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"types.SimpleNamespace", simple_namespace, "namespace(...)"},
      {"decimal.Decimal", decimal, ""},
      {"re.Pattern", pattern, ""},
      {"functools.partial", partial, "..."},
      {"_thread.lock", lock, ""},
      {"_thread.RLock", recursive_lock, ""},
      {"weakref.ReferenceType", weak_reference, ""},
  });
  return kDecoders;
}

}  // namespace pyscope
