#include "values/contents.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <span>
#include <unordered_map>

namespace pyscope {
namespace {

constexpr std::uint64_t kObjectSize = 16;  // PyVarObject.ob_size; PyDictObject.ma_used

// PySetObject: 3.13 doesn't publish these yet.
constexpr std::uint64_t kSetUsed = 24;
constexpr std::uint64_t kSetMask = 32;
constexpr std::uint64_t kSetTable = 40;

// dequeobject: blocks (left link, 64 items, right link); the first item is at leftindex of the
// leftmost block.
constexpr std::uint64_t kDequeLeftBlock = 24;
constexpr std::uint64_t kDequeLeftIndex = 40;
constexpr std::uint64_t kBlockItems = 64;
constexpr std::uint64_t kBlockFirstItem = 8;
constexpr std::uint64_t kBlockRightLink = kBlockFirstItem + kBlockItems * 8;

Result<SequencePrefix> read_set(const Reader& reader, RemoteAddr object, std::uint64_t most) {
  const auto used = reader.value<std::uint64_t>(object, kSetUsed);
  const auto mask = reader.value<std::uint64_t>(object, kSetMask);
  const auto table = reader.pointer(object, kSetTable);
  if (!used) return fail(used.error());
  if (!mask) return fail(mask.error());
  if (!table) return fail(table.error());
  constexpr std::uint64_t kMostSlots = std::uint64_t{1} << 32U;
  if (*mask >= kMostSlots || !std::has_single_bit(*mask + 1) || *used > *mask) {
    return fail(ErrorKind::Malformed, "a set with a bad table");
  }
  // Entries are (key, hash); a removed one has the hash -1.
  constexpr std::uint64_t kBatch = 256;
  constexpr std::uint64_t kMostLookedAt = 1U << 20U;
  SequencePrefix set;
  set.count = *used;
  std::vector<std::uint64_t> entries;
  const std::uint64_t wanted = std::min(*used, most);
  for (std::uint64_t first = 0;
       first <= std::min(*mask, kMostLookedAt) && set.items.size() < wanted; first += kBatch) {
    entries.resize(2 * std::min(kBatch, *mask + 1 - first));
    if (auto ok =
            reader.memory().read(*table + first * 16, std::as_writable_bytes(std::span{entries}));
        !ok) {
      return fail(ok.error());
    }
    for (std::size_t i = 0; i < entries.size() && set.items.size() < wanted; i += 2) {
      if (entries[i] != 0 && entries[i + 1] != ~std::uint64_t{0})
        set.items.emplace_back(entries[i]);
    }
  }
  return set;
}

/// Where an item of a deque may lie: a block, and the index in it.
struct DequePosition {
  RemoteAddr block;
  std::uint64_t index = 0;
};

Result<DequePosition> first_of_deque(const Reader& reader, RemoteAddr object) {
  const auto block = reader.pointer(object, kDequeLeftBlock);
  const auto index = reader.value<std::uint64_t>(object, kDequeLeftIndex);
  if (!block) return fail(block.error());
  if (!index) return fail(index.error());
  if (*index >= kBlockItems) return fail(ErrorKind::Malformed, "a deque with a bad index");
  return DequePosition{*block, *index};
}

Result<SequencePrefix> read_deque(const Reader& reader, RemoteAddr object, std::uint64_t most) {
  const auto size = reader.value<std::uint64_t>(object, kObjectSize);
  if (!size) return fail(size.error());
  auto at = first_of_deque(reader, object);
  if (!at) return fail(at.error());
  SequencePrefix deque;
  deque.count = *size;
  while (deque.items.size() < std::min(*size, most)) {
    const auto item = reader.pointer(at->block, kBlockFirstItem + at->index * 8);
    if (!item) return fail(item.error());
    deque.items.push_back(*item);
    if (++at->index < kBlockItems) continue;
    const auto next = reader.pointer(at->block, kBlockRightLink);
    if (!next) return fail(next.error());
    at = DequePosition{*next, 0};
  }
  return deque;
}

/// An OrderedDict's own order is a list of nodes (key, hash, next, previous).
Result<DictPrefix> read_in_own_order(const Reader& reader, RemoteAddr object, std::uint64_t most) {
  constexpr std::uint64_t kFirst = 48;
  constexpr std::uint64_t kNext = 16;
  constexpr std::uint64_t kMost = 1U << 16U;
  const auto all = read_dict_prefix(reader, object, kMost);
  if (!all) return fail(all.error());
  DictPrefix ordered;
  ordered.count = all->count;
  if (all->count == 0) return ordered;
  std::unordered_map<std::uint64_t, RemoteAddr> values;
  for (const auto& [key, value] : all->items)
    values.emplace(key.raw(), value);
  auto node = reader.pointer(object, kFirst);
  while (node && *node && ordered.items.size() < std::min(most, all->count)) {
    const auto key = reader.pointer(*node, 0);
    if (!key) return fail(key.error());
    const auto value = values.find(key->raw());
    if (value == values.end()) {
      if (all->items.size() < all->count) break;  // it is among those that weren't read
      return fail(ErrorKind::Malformed, "a node without its item");
    }
    ordered.items.emplace_back(*key, value->second);
    node = reader.pointer(*node, kNext);
  }
  if (!node) return fail(node.error());
  return ordered;
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
  // The count is the target's: memory is taken as it is read.
  constexpr std::uint64_t kBatch = 4096;
  std::array<std::uint64_t, kBatch> batch;
  while (prefix.items.size() < shown) {
    const std::uint64_t n = std::min<std::uint64_t>(kBatch, shown - prefix.items.size());
    if (auto ok = reader.memory().read(items + prefix.items.size() * 8,
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
    return reader.pointer(object, reader.offsets()[Field::TupleObItem] + 8 * index);
  }
  if (kind == ContainerKind::List) {
    const auto items = reader.pointer(object, Field::ListObItem);
    if (!items) return fail(items.error());
    return reader.pointer(*items, 8 * index);
  }
  if (kind != ContainerKind::Deque) return fail(ErrorKind::Malformed, "no sequence");
  auto first = first_of_deque(reader, object);
  if (!first) return fail(first.error());
  constexpr std::uint64_t kMostBlocks = 1U << 16U;
  const std::uint64_t blocks = (first->index + index) / kBlockItems;
  if (blocks > kMostBlocks) {
    return fail(ErrorKind::Usage, "that far into a deque isn't read");
  }
  RemoteAddr block = first->block;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto next = reader.pointer(block, kBlockRightLink);
    if (!next) return fail(next.error());
    block = *next;
  }
  return reader.pointer(block, kBlockFirstItem + (first->index + index) % kBlockItems * 8);
}

Result<ByteRange> find_bytes(const Reader& reader, RemoteAddr object) {
  const auto size = reader.field<std::uint64_t>(object, Field::BytesObSize);
  if (!size) return fail(size.error());
  return ByteRange{object + reader.offsets()[Field::BytesObSval], *size};
}

Result<ByteRange> find_byte_array(const Reader& reader, RemoteAddr object) {
  // PyByteArrayObject: ob_start is where the content begins, and ob_bytes where its memory does.
  constexpr std::uint64_t kStart = 40;
  const auto size = reader.value<std::uint64_t>(object, kObjectSize);
  const auto start = reader.value<std::uint64_t>(object, kStart);
  if (!size) return fail(size.error());
  if (!start) return fail(start.error());
  return ByteRange{RemoteAddr{*start}, *size};
}

std::optional<std::uint64_t> length_of(const Reader& reader, RemoteAddr object,
                                       const ObjectType& type) {
  const auto known = [](const Result<std::uint64_t>& length) {
    return length ? std::optional(*length) : std::nullopt;
  };
  const std::string& builtin = type.builtin;
  if (builtin == "str") return known(reader.field<std::uint64_t>(object, Field::UnicodeLength));
  const ContainerKind kind = container_kind(type);
  if (kind == ContainerKind::Set) return known(reader.value<std::uint64_t>(object, kSetUsed));
  if (kind == ContainerKind::None && builtin != "bytes" && builtin != "bytearray" &&
      builtin != "array.array") {
    return std::nullopt;
  }
  return known(reader.value<std::uint64_t>(object, kObjectSize));
}

}  // namespace pyscope
