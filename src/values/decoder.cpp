#include "values/decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace pyscope {
namespace {

using Kind = ValueNode::Kind;

const TypeDecoder* find_decoder(std::string_view type) {
  static const auto registry = [] {
    std::unordered_map<std::string_view, const TypeDecoder*> all;
    for (const auto& decoders :
         {number_decoders(), text_decoders(), container_decoders(), date_decoders(),
          standard_library_decoders(), function_decoders(), buffer_decoders(), numpy_decoders()}) {
      for (const TypeDecoder& decoder : decoders)
        all.emplace(decoder.type, &decoder);
    }
    return all;
  }();
  const auto found = registry.find(type);
  return found == registry.end() ? nullptr : found->second;
}

const TypeDecoder* find_decoder(const ObjectType& type) {
  return find_decoder(type.is_class() ? std::string_view("type") : type.builtin);
}

}  // namespace

// --- Nodes

ValueNode between(std::string opening, std::string closing, Kind kind) {
  ValueNode node(kind, std::move(opening));
  node.parts = std::make_unique<ValueParts>();
  node.parts->closing = std::move(closing);
  return node;
}

void append(ValueNode& node, ValueNode part) {
  ValueParts& parts = *node.parts;
  if (!parts.names.empty()) parts.names.emplace_back();
  parts.values.push_back(std::move(part));
}

void append_named(ValueNode& node, std::string name, ValueNode part) {
  ValueParts& parts = *node.parts;
  parts.names.resize(parts.values.size());
  parts.names.push_back(std::move(name));
  parts.values.push_back(std::move(part));
}

std::string address_text(RemoteAddr at) {
  return fmt::format("{:#x}", at.raw());
}

// --- The decoder

ValueDecoder::ValueDecoder(ObjectReader& objects, const ValueLimits& limits, ReprBudget& budget)
    : objects_(objects),
      reader_(objects.reader()),
      limits_(limits),
      secrets_(limits.secret_names),
      budget_(budget),
      max_depth_(std::min(limits.max_depth, ValueLimits::kDeepest)) {}

Value ValueDecoder::decode(RemoteAddr object, std::string_view name) {
  open_.clear();
  held_ = 0;
  truncated_ = false;
  complete_ = true;
  detail_.clear();
  Value value;
  value.root = decode_named(name, object, 0);
  if (value.root.type == nullptr) {
    if (const auto type = objects_.type_of(object)) value.root.type = *type;
  }
  value.truncated = truncated_;
  value.complete = complete_;
  value.detail = std::move(detail_);
  return value;
}

std::uint64_t ValueDecoder::most_items() const {
  return std::min(limits_.max_items, budget_.objects);
}

bool ValueDecoder::take_node() {
  if (exhausted()) {
    truncated_ = true;
    return false;
  }
  --budget_.objects;
  return true;
}

bool ValueDecoder::is_secret(std::string_view name, RemoteAddr value) {
  if (limits_.show_secrets) return false;
  if (name == kUnreadableName) return true;
  if (!secrets_.matches(name)) return false;
  const auto type = objects_.type_of(value);
  if (!type) return true;
  const std::string& builtin = (*type)->builtin;
  // The lack of a value is no secret.
  if (builtin == "NoneType" || builtin == "bool" || builtin == "float") return false;
  return builtin != "int" || secrets_.matches_number(name);
}

std::string ValueDecoder::name_of(RemoteAddr key) {
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

ValueNode ValueDecoder::decode_named(std::string_view name, RemoteAddr value, std::size_t depth) {
  if (!is_secret(name, value)) return decode_object(value, depth);
  truncated_ = true;
  ValueNode node(Kind::Masked, fmt::format("'{}'", kMask));
  node.address = value;
  return node;
}

ValueNode ValueDecoder::unreadable(std::string_view type_name, RemoteAddr object) {
  truncated_ = true;
  complete_ = false;
  return {Kind::Unreadable, fmt::format("<unreadable{}{} at {:#x}>", type_name.empty() ? "" : " ",
                                        type_name, object.raw())};
}

namespace {

/// Of an object that its C code changes in several steps.
bool can_change(const ObjectType& type) {
  const ContainerKind kind = container_kind(type);
  return (kind != ContainerKind::None && kind != ContainerKind::Tuple) ||
         type.builtin == "bytearray" || type.builtin == "array.array";
}

}  // namespace

ValueNode ValueDecoder::decode_object(RemoteAddr object, std::size_t depth) {
  // Containers end at the limit themselves. Other objects, such as bound methods, may form a long
  // chain, which ends here.
  constexpr std::size_t kMostBeyond = 8;
  if (depth > max_depth_ + kMostBeyond || !take_node()) {
    truncated_ = true;
    return {Kind::Cut, "…"};
  }
  const auto described = objects_.type_of(object);
  if (!described) return unreadable("", object);
  const ObjectType& type = **described;
  if (being_changed_ != nullptr && being_changed_->contains(object.raw()) && can_change(type))
    met_ = true;
  if (!open_.insert(object.raw()).second) {
    const TypeDecoder* decoder = find_decoder(type);
    const bool own = decoder != nullptr && !decoder->cycle.empty();
    return {Kind::Cycle, std::string(own ? decoder->cycle : "...")};
  }
  auto decoded = decode_known(object, type, depth);
  open_.erase(object.raw());
  ValueNode node = decoded ? *std::move(decoded) : unreadable(type.name, object);
  node.address = object;
  node.type = &type;
  // Strings and bytes were counted when they were read.
  if (node.kind != Kind::String && node.kind != Kind::Bytes) held_ += node.text.size();
  return node;
}

Result<ValueNode> ValueDecoder::decode_known(RemoteAddr object, const ObjectType& type,
                                             std::size_t depth) {
  const TypeDecoder* decoder = find_decoder(type);
  const bool exception = (type.flags & kTypeExceptionSubclass) != 0;
  const DecodeFunction function = exception            ? decode_exception
                                  : decoder != nullptr ? decoder->decode
                                                       : nullptr;
  if (function != nullptr && type.shown_by_c()) return function(*this, object, type, depth);
  if (auto known = decode_known_class(*this, object, type, depth)) return *std::move(known);
  if (function == nullptr) return decode_instance(*this, object, type, depth);
  // A subclass has a __repr__ of its own, which isn't run: its type and its contents are shown.
  auto content = function(*this, object, type, depth);
  if (!content) return content;
  ValueNode node = between("<" + type.name + " at " + address_text(object) + " ", ">");
  append(node, *std::move(content));
  return node;
}

ValueNode ValueDecoder::string_node(std::u32string characters, std::uint64_t length) {
  const bool cut = length > characters.size();
  if (cut) truncated_ = true;
  if (!limits_.show_secrets) {
    const bool user = mask_url_users(characters, cut);
    if (mask_named_values(characters, secrets_) || user) truncated_ = true;
  }
  ValueNode node(Kind::String, {});
  for (const char32_t c : characters)
    append_utf8(node.text, c);
  held_ += node.text.size();
  if (cut) node.whole_length = length;
  return node;
}

Result<ValueNode> ValueDecoder::bytes_node(const ByteRange& range) {
  const std::uint64_t count = std::min<std::uint64_t>(range.size, limits_.max_string);
  if (auto ok = reader_.spend(count); !ok) return fail(ok.error());
  ValueNode node(Kind::Bytes, std::string(count, '\0'));
  if (count > 0) {
    if (auto ok = reader_.memory().read(range.start, std::as_writable_bytes(std::span{node.text}));
        !ok) {
      return fail(ok.error());
    }
  }
  const bool cut = range.size > count;
  if (cut) truncated_ = true;
  if (!limits_.show_secrets) {
    const bool user = mask_url_users(node.text, cut);
    if (mask_named_values(node.text, secrets_) || user) truncated_ = true;
  }
  if (cut) node.whole_length = range.size;
  held_ += node.text.size();
  return node;
}

void ValueDecoder::leave_out(ValueNode& node, std::uint64_t count) {
  if (count == 0) return;
  node.parts->left_out = count;
  truncated_ = true;
}

void ValueDecoder::add_item(ValueNode& node, RemoteAddr object, std::size_t depth) {
  append(node, decode_object(object, depth + 1));
}

void ValueDecoder::add_named(ValueNode& node, const std::string& name, RemoteAddr value,
                             std::size_t depth) {
  held_ += name.size();
  append_named(node, name, decode_named(name, value, depth + 1));
}

void ValueDecoder::add_items(ValueNode& node, const SequencePrefix& items, std::size_t depth) {
  if (items.count == 0) return;
  if (too_deep(depth)) {
    node.parts->too_deep = true;
    return leave_out(node, items.count);
  }
  node.parts->values.reserve(items.items.size());
  for (const RemoteAddr item : items.items) {
    if (exhausted()) break;
    add_item(node, item, depth);
  }
  leave_out(node, items.count - node.parts->values.size());
}

void ValueDecoder::add_pairs(ValueNode& node, const DictPrefix& pairs, std::size_t depth) {
  if (pairs.count == 0) return;
  if (too_deep(depth)) {
    node.parts->too_deep = true;
    return leave_out(node, pairs.count);
  }
  ValueParts& parts = *node.parts;
  parts.keys.reserve(pairs.items.size());
  parts.values.reserve(pairs.items.size());
  for (const auto& [key, value] : pairs.items) {
    if (exhausted()) break;
    parts.keys.push_back(decode_object(key, depth + 1));
    parts.values.push_back(decode_named(name_of(key), value, depth + 1));
  }
  leave_out(node, pairs.count - parts.values.size());
}

}  // namespace pyscope
