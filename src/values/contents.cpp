#include "values/contents.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <unordered_map>

namespace pyscope {
namespace {

constexpr std::uint64_t kPointerSize = 8;

Result<SequencePrefix> read_set(const Reader& reader, RemoteAddr object, std::uint64_t most) {
  const DebugOffsets& offsets = reader.offsets();
  const auto used = reader.field<std::uint64_t>(object, Field::SetUsed);
  const auto mask = reader.field<std::uint64_t>(object, Field::SetMask);
  const auto table = reader.pointer(object, Field::SetTable);
  if (!used) return fail(used.error());
  if (!mask) return fail(mask.error());
  if (!table) return fail(table.error());
  constexpr std::uint64_t kMostSlots = std::uint64_t{1} << 32U;
  if (*mask >= kMostSlots || !std::has_single_bit(*mask + 1) || *used > *mask) {
    return fail(ErrorKind::Malformed, "a set with a bad table");
  }
  constexpr std::uint64_t kHashOfRemoved = ~std::uint64_t{0};  // -1
  constexpr std::uint64_t kBatch = 256;
  constexpr std::uint64_t kMostLookedAt = 1U << 20U;
  SequencePrefix set;
  set.count = *used;
  const std::uint64_t entry_size = offsets[Field::SetEntrySize];
  std::vector<std::byte> entries;
  const std::uint64_t wanted = std::min(*used, most);
  for (std::uint64_t first = 0;
       first <= std::min(*mask, kMostLookedAt) && set.items.size() < wanted; first += kBatch) {
    entries.resize(entry_size * std::min(kBatch, *mask + 1 - first));
    if (auto ok = reader.memory().read(*table + first * entry_size, entries); !ok) {
      return fail(ok.error());
    }
    for (std::size_t at = 0; at < entries.size() && set.items.size() < wanted; at += entry_size) {
      const auto entry = std::span(entries).subspan(at, entry_size);
      const auto key = value_in<std::uint64_t>(entry, offsets[Field::SetEntryKey]);
      const auto hash = value_in<std::uint64_t>(entry, offsets[Field::SetEntryHash]);
      if (key != 0 && hash != kHashOfRemoved) set.items.emplace_back(key);
    }
  }
  return set;
}

/// Where an item of a deque lies: in a block, at an index. The blocks form a list. Each has room
/// for the same number of items, and the first item may lie at any index of the first block.
struct DequePosition {
  RemoteAddr block;
  std::uint64_t index = 0;
};

/// How many items a block has room for.
std::uint64_t block_length(const Reader& reader) {
  return reader.offsets()[Field::DequeBlockLength];
}

Result<RemoteAddr> item_at(const Reader& reader, const DequePosition& position) {
  return reader.pointer(position.block,
                        reader.offsets()[Field::DequeBlockData] + kPointerSize * position.index);
}

Result<DequePosition> first_of_deque(const Reader& reader, RemoteAddr object) {
  const auto block = reader.pointer(object, Field::DequeLeftblock);
  const auto index = reader.field<std::uint64_t>(object, Field::DequeLeftindex);
  if (!block) return fail(block.error());
  if (!index) return fail(index.error());
  if (*index >= block_length(reader)) return fail(ErrorKind::Malformed, "a deque with a bad index");
  return DequePosition{*block, *index};
}

Result<SequencePrefix> read_deque(const Reader& reader, RemoteAddr object, std::uint64_t most) {
  const auto size = reader.field<std::uint64_t>(object, Field::VarObjectObSize);
  if (!size) return fail(size.error());
  auto at = first_of_deque(reader, object);
  if (!at) return fail(at.error());
  SequencePrefix deque;
  deque.count = *size;
  while (deque.items.size() < std::min(*size, most)) {
    const auto item = item_at(reader, *at);
    if (!item) return fail(item.error());
    deque.items.push_back(*item);
    if (++at->index < block_length(reader)) continue;
    const auto next = reader.pointer(at->block, Field::DequeBlockRightlink);
    if (!next) return fail(next.error());
    at = DequePosition{*next, 0};
  }
  return deque;
}

/// The entries of an OrderedDict. Its order is that of a list of nodes, one for each key.
Result<DictPrefix> read_in_own_order(const Reader& reader, RemoteAddr object, std::uint64_t most) {
  constexpr std::uint64_t kMost = 1U << 16U;
  const auto all = read_dict_prefix(reader, object, kMost);
  if (!all) return fail(all.error());
  DictPrefix ordered;
  ordered.count = all->count;
  if (all->count == 0) return ordered;
  std::unordered_map<std::uint64_t, RemoteAddr> values;
  for (const auto& [key, value] : all->items)
    values.emplace(key.raw(), value);
  auto node = reader.pointer(object, Field::OrderedDictFirst);
  while (node && *node && ordered.items.size() < std::min(most, all->count)) {
    const auto key = reader.pointer(*node, Field::OrderedDictNodeKey);
    if (!key) return fail(key.error());
    const auto value = values.find(key->raw());
    if (value == values.end()) {
      if (all->items.size() < all->count) break;  // the key is among those that weren't read
      return fail(ErrorKind::Malformed, "a node without its item");
    }
    ordered.items.emplace_back(*key, value->second);
    node = reader.pointer(*node, Field::OrderedDictNodeNext);
  }
  if (!node) return fail(node.error());
  return ordered;
}

/// Where an object's len() is; nothing for a type whose len() isn't known.
std::optional<Field> length_field(const ObjectType& type) {
  switch (container_kind(type)) {
    case ContainerKind::List:
      return Field::ListObSize;
    case ContainerKind::Tuple:
      return Field::TupleObSize;
    case ContainerKind::Set:
      return Field::SetUsed;
    case ContainerKind::Dict:
    case ContainerKind::OrderedDict:
      return Field::DictMaUsed;
    case ContainerKind::Deque:
      return Field::VarObjectObSize;
    case ContainerKind::None:
      break;
  }
  if (type.builtin == "str") return Field::UnicodeLength;
  if (type.builtin == "bytes") return Field::BytesObSize;
  if (type.builtin == "bytearray" || type.builtin == "array.array") return Field::VarObjectObSize;
  return std::nullopt;
}

}  // namespace

ContainerKind container_kind(const ObjectType& type) {
  static const std::unordered_map<std::string_view, ContainerKind> kinds{
      {"list", ContainerKind::List},
      {"tuple", ContainerKind::Tuple},
      {"set", ContainerKind::Set},
      {"frozenset", ContainerKind::Set},
      {"collections.deque", ContainerKind::Deque},
      {"dict", ContainerKind::Dict},
      {"frozendict", ContainerKind::Dict},
      {"collections.defaultdict", ContainerKind::Dict},
      {"collections.OrderedDict", ContainerKind::OrderedDict},
  };
  const auto found = kinds.find(type.builtin);
  return found == kinds.end() ? ContainerKind::None : found->second;
}

Result<SequencePrefix> read_pointers(const Reader& reader, RemoteAddr items, std::uint64_t count,
                                     std::uint64_t most) {
  SequencePrefix prefix;
  prefix.count = count;
  const std::uint64_t shown = std::min(count, most);
  if (shown == 0) return prefix;
  if (!items.is_plausible_pointer()) return fail(ErrorKind::Malformed, "items at no address");
  // The target gives the count, so memory is taken only for what was read.
  constexpr std::uint64_t kBatch = 4096;
  std::array<std::uint64_t, kBatch> batch;
  while (prefix.items.size() < shown) {
    const std::uint64_t n = std::min<std::uint64_t>(kBatch, shown - prefix.items.size());
    if (auto ok = reader.memory().read(items + kPointerSize * prefix.items.size(),
                                       std::as_writable_bytes(std::span{batch}.first(n)));
        !ok) {
      return fail(ok.error());
    }
    for (std::uint64_t i = 0; i < n; ++i)
      prefix.items.emplace_back(batch[i]);
  }
  return prefix;
}

Result<SequencePrefix> read_sequence_prefix(const Reader& reader, RemoteAddr object,
                                            ContainerKind kind, std::uint64_t most) {
  switch (kind) {
    case ContainerKind::List: {
      const auto size = reader.field<std::uint64_t>(object, Field::ListObSize);
      const auto items = reader.field<std::uint64_t>(object, Field::ListObItem);
      if (!size) return fail(size.error());
      if (!items) return fail(items.error());
      return read_pointers(reader, RemoteAddr{*items}, *size, most);
    }
    case ContainerKind::Tuple: {
      const auto size = reader.field<std::uint64_t>(object, Field::TupleObSize);
      if (!size) return fail(size.error());
      return read_pointers(reader, object + reader.offsets()[Field::TupleObItem], *size, most);
    }
    case ContainerKind::Set:
      return read_set(reader, object, most);
    case ContainerKind::Deque:
      return read_deque(reader, object, most);
    default:
      return fail(ErrorKind::Malformed, "no sequence");
  }
}

Result<DictPrefix> read_entries(const Reader& reader, RemoteAddr object, ContainerKind kind,
                                std::uint64_t most) {
  return kind == ContainerKind::OrderedDict ? read_in_own_order(reader, object, most)
                                            : read_dict_prefix(reader, object, most);
}

Result<RemoteAddr> read_item(const Reader& reader, RemoteAddr object, ContainerKind kind,
                             std::uint64_t index) {
  if (kind == ContainerKind::Tuple) {
    return reader.pointer(object, reader.offsets()[Field::TupleObItem] + kPointerSize * index);
  }
  if (kind == ContainerKind::List) {
    const auto items = reader.pointer(object, Field::ListObItem);
    if (!items) return fail(items.error());
    return reader.pointer(*items, kPointerSize * index);
  }
  if (kind != ContainerKind::Deque) return fail(ErrorKind::Malformed, "no sequence");
  auto first = first_of_deque(reader, object);
  if (!first) return fail(first.error());
  constexpr std::uint64_t kMostBlocks = 1U << 16U;
  const std::uint64_t blocks = (first->index + index) / block_length(reader);
  if (blocks > kMostBlocks) {
    return fail(ErrorKind::Usage, "that far into a deque isn't read");
  }
  RemoteAddr block = first->block;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto next = reader.pointer(block, Field::DequeBlockRightlink);
    if (!next) return fail(next.error());
    block = *next;
  }
  return item_at(reader, {block, (first->index + index) % block_length(reader)});
}

Result<ByteRange> find_bytes(const Reader& reader, RemoteAddr object) {
  const auto size = reader.field<std::uint64_t>(object, Field::BytesObSize);
  if (!size) return fail(size.error());
  return ByteRange{object + reader.offsets()[Field::BytesObSval], *size};
}

Result<ByteRange> find_byte_array(const Reader& reader, RemoteAddr object) {
  const auto size = reader.field<std::uint64_t>(object, Field::VarObjectObSize);
  const auto start = reader.field<std::uint64_t>(object, Field::ByteArrayObStart);
  if (!size) return fail(size.error());
  if (!start) return fail(start.error());
  return ByteRange{RemoteAddr{*start}, *size};
}

std::optional<std::uint64_t> length_of(const Reader& reader, RemoteAddr object,
                                       const ObjectType& type) {
  const auto field = length_field(type);
  if (!field) return std::nullopt;
  const auto length = reader.field<std::uint64_t>(object, *field);
  return length ? std::optional(*length) : std::nullopt;
}

}  // namespace pyscope
