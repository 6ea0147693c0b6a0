// Sequences, sets, dicts, views of dicts, and the bounds of ranges and slices.
#include <fmt/format.h>

#include <array>
#include <span>

#include "values/decoder.hpp"

namespace pyscope {
namespace {

using Kind = ValueNode::Kind;

Result<SequencePrefix> items_of(ValueDecoder& d, RemoteAddr at, ContainerKind kind) {
  return read_sequence_prefix(d.reader(), at, kind, d.most_items());
}

/// Servers and clients keep the headers of HTTP so: (b'cookie', b'...'), ['Authorization', '...'].
void add_pair_or_items(ValueDecoder& d, ValueNode& node, const SequencePrefix& sequence,
                       std::size_t depth) {
  const auto& items = sequence.items;
  if (sequence.count == 2 && items.size() == 2 && !d.too_deep(depth) &&
      d.is_secret(d.name_of(items[0]), items[1])) {
    d.add_item(node, items[0], depth);
    append(node, d.decode_named(d.name_of(items[0]), items[1], depth + 1));
  } else {
    d.add_items(node, sequence, depth);
  }
}

Result<ValueNode> tuple(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  const auto tuple = items_of(d, at, ContainerKind::Tuple);
  if (!tuple) return fail(tuple.error());
  ValueNode node = between("(", tuple->count == 1 ? ",)" : ")", Kind::Tuple);
  add_pair_or_items(d, node, *tuple, depth);
  return node;
}

/// list.sort() takes the items out for as long as it runs, keys and comparisons included
/// (list_sort_impl in Objects/listobject.c).
bool is_being_sorted(const Reader& reader, RemoteAddr list) {
  const auto allocated = reader.field<std::int64_t>(list, Field::ListAllocated);
  return allocated && *allocated == -1;
}

Result<ValueNode> list(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  const auto items = items_of(d, at, ContainerKind::List);
  if (!items) return fail(items.error());
  if (items->count == 0 && is_being_sorted(d.reader(), at)) {
    d.mark_truncated();
    return leaf(fmt::format("<list at {} that is being sorted>", address_text(at)));
  }
  ValueNode node = between("[", "]", Kind::List);
  add_pair_or_items(d, node, *items, depth);
  return node;
}

Result<ValueNode> set(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t depth) {
  const auto items = items_of(d, at, ContainerKind::Set);
  if (!items) return fail(items.error());
  if (items->count == 0) return leaf(type.name + "()");
  const bool plain = type.exact && type.name == "set";
  ValueNode node = plain ? between("{", "}") : between(type.name + "({", "})");
  d.add_items(node, *items, depth);
  return node;
}

Result<ValueNode> deque(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t depth) {
  const auto most = d.reader().field<std::int64_t>(at, Field::DequeMaxlen);
  if (!most) return fail(most.error());
  const auto items = items_of(d, at, ContainerKind::Deque);
  if (!items) return fail(items.error());
  ValueNode node =
      between(type.name + "([", *most >= 0 ? fmt::format("], maxlen={})", *most) : "])");
  d.add_items(node, *items, depth);
  return node;
}

Result<ValueNode> pairs_between(ValueDecoder& d, RemoteAddr at, std::size_t depth,
                                std::string opening, std::string closing, Kind kind) {
  const auto entries = read_entries(d.reader(), at, ContainerKind::Dict, d.most_items());
  if (!entries) return fail(entries.error());
  ValueNode node = between(std::move(opening), std::move(closing), kind);
  d.add_pairs(node, *entries, depth);
  return node;
}

Result<ValueNode> dict(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  return pairs_between(d, at, depth, "{", "}", Kind::Dict);
}

void add_pair(ValueDecoder& d, ValueNode& node, RemoteAddr key, RemoteAddr value,
              std::size_t depth) {
  ValueNode pair = between("(", ")", Kind::Group);
  d.add_item(pair, key, depth);
  append(pair, d.decode_named(d.name_of(key), value, depth + 1));
  append(node, std::move(pair));
}

Result<ValueNode> dict_in_call(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                               std::size_t depth) {
  const auto kind = container_kind(type);
  const auto entries = read_entries(d.reader(), at, kind, d.most_items());
  if (!entries) return fail(entries.error());
  if (entries->count == 0) return leaf(type.name + "()");
  if (kind == ContainerKind::OrderedDict && d.reader().layout().ordered_dict_has_pairs) {
    ValueNode pairs = between(type.name + "([", "])");
    for (const auto& [key, value] : entries->items) {
      if (d.exhausted()) break;
      add_pair(d, pairs, key, value, depth);
    }
    d.leave_out(pairs, entries->count - pairs.parts->values.size());
    return pairs;
  }
  ValueNode node = between(type.name + "({", "})");
  d.add_pairs(node, *entries, depth);
  return node;
}

Result<ValueNode> default_dict(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                               std::size_t depth) {
  const auto factory = d.reader().pointer(at, Field::DefaultDictDefaultFactory);
  if (!factory) return fail(factory.error());
  auto entries = pairs_between(d, at, depth, "{", "}", Kind::Group);
  if (!entries) return entries;
  ValueNode node = between(type.name + "(", ")");
  if (*factory) {
    d.add_item(node, *factory, depth);
  } else {
    append(node, leaf("None"));
  }
  append(node, *std::move(entries));
  return node;
}

enum class View : std::uint8_t { Keys, Values, Items };

template <View Shown>
Result<ValueNode> dict_view(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                            std::size_t depth) {
  const auto viewed = d.reader().pointer(at, Field::DictViewDict);
  if (!viewed) return fail(viewed.error());
  const auto entries = read_entries(d.reader(), *viewed, ContainerKind::Dict, d.most_items());
  if (!entries) return fail(entries.error());
  ValueNode node = between(type.name + "([", "])");
  for (const auto& [key, value] : entries->items) {
    if (d.exhausted()) break;
    if (Shown == View::Keys) {
      d.add_item(node, key, depth);
    } else if (Shown == View::Values) {
      append(node, d.decode_named(d.name_of(key), value, depth + 1));
    } else {
      add_pair(d, node, key, value, depth);
    }
  }
  d.leave_out(node, entries->count - node.parts->values.size());
  return node;
}

Result<ValueNode> mapping_proxy(ValueDecoder& d, RemoteAddr at, const ObjectType&,
                                std::size_t depth) {
  const auto mapping = d.reader().pointer(at, Field::MappingProxyMapping);
  if (!mapping) return fail(mapping.error());
  ValueNode node = between("mappingproxy(", ")");
  d.add_item(node, *mapping, depth);
  return node;
}

/// The start, stop and step of a range or slice object.
Result<std::array<RemoteAddr, 3>> bounds_of(ValueDecoder& d, RemoteAddr at,
                                            const std::array<Field, 3>& fields) {
  std::array<RemoteAddr, 3> bounds;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    const auto bound = d.reader().pointer(at, fields[i]);
    if (!bound) return fail(bound.error());
    bounds[i] = *bound;
  }
  return bounds;
}

Result<ValueNode> range(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  const auto bounds = bounds_of(d, at, {Field::RangeStart, Field::RangeStop, Field::RangeStep});
  if (!bounds) return fail(bounds.error());
  const auto& [start, stop, step] = *bounds;
  ValueNode node = between("range(", ")");
  d.add_item(node, start, depth);
  d.add_item(node, stop, depth);
  if (read_unsigned(d.reader(), step).value_or(0) != 1) d.add_item(node, step, depth);
  return node;
}

Result<ValueNode> slice(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  const auto bounds = bounds_of(d, at, {Field::SliceStart, Field::SliceStop, Field::SliceStep});
  if (!bounds) return fail(bounds.error());
  ValueNode node = between("slice(", ")");
  for (const RemoteAddr bound : *bounds)
    d.add_item(node, bound, depth);
  return node;
}

}  // namespace

std::span<const TypeDecoder> container_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"tuple", tuple, "(...)"},
      {"list", list, "[...]"},
      {"dict", dict, "{...}"},
      {"frozendict", dict_in_call, "{...}"},
      {"set", set, "set(...)"},
      {"frozenset", set, "frozenset(...)"},
      {"collections.defaultdict", default_dict, "defaultdict(...)"},
      {"collections.OrderedDict", dict_in_call, "..."},
      {"collections.deque", deque, "[...]"},
      {"dict_keys", dict_view<View::Keys>, "..."},
      {"dict_values", dict_view<View::Values>, "..."},
      {"dict_items", dict_view<View::Items>, "..."},
      {"mappingproxy", mapping_proxy, "..."},
      {"range", range, ""},
      {"slice", slice, "..."},
  });
  return kDecoders;
}

}  // namespace pyscope
