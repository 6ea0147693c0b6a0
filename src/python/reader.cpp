#include "python/reader.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "python/integers.hpp"

namespace pyscope {
namespace {

struct StrState {
  unsigned kind;
  bool compact;
  bool ascii;

  static StrState decode(const StrStateBits& bits, std::uint32_t word) {
    return {(word >> bits.kind) & 7U, ((word >> bits.compact) & 1U) != 0,
            ((word >> bits.ascii) & 1U) != 0};
  }
};

/// The entries of a dict, and where the parts of an entry lie.
struct DictKeys {
  RemoteAddr entries;
  std::uint8_t kind = 0;  // 0: any keys, 1: str keys, 2: keys shared by the instances of a class
  std::uint64_t count = 0;
  std::uint64_t entry_size = 0;
  std::uint64_t key_offset = 0;
  std::uint64_t value_offset = 0;
};

Result<DictKeys> read_dict_keys(const Reader& reader, RemoteAddr at) {
  const DebugOffsets& offsets = reader.offsets();
  std::array<std::byte, 64> buffer{};
  const auto header =
      std::span{buffer}.first(std::min<std::uint64_t>(offsets[Field::DictKeysSize], buffer.size()));
  if (auto ok = reader.memory().read(at, header); !ok) return fail("dict keys", ok.error());
  const unsigned log2_size = value_in<std::uint8_t>(header, offsets[Field::DictKeysLog2Size]);
  const unsigned log2_index_bytes =
      value_in<std::uint8_t>(header, offsets[Field::DictKeysLog2IndexBytes]);
  DictKeys keys;
  keys.kind = value_in<std::uint8_t>(header, offsets[Field::DictKeysKind]);
  keys.count = value_in<std::uint64_t>(header, offsets[Field::DictKeysNentries]);
  constexpr unsigned kMaxLog2 = 40;
  if (log2_size > kMaxLog2 || log2_index_bytes > kMaxLog2 + 3 || keys.kind > 2 ||
      keys.count > (std::uint64_t{1} << log2_size)) {
    return fail(ErrorKind::Malformed,
                fmt::format("dict keys at {:#x} of kind {} with {} entries in 2^{} slots", at.raw(),
                            keys.kind, keys.count, log2_size));
  }
  const bool any = keys.kind == 0;
  keys.entry_size = offsets[any ? Field::DictEntrySize : Field::DictStrEntrySize];
  keys.key_offset = offsets[any ? Field::DictEntryKey : Field::DictStrEntryKey];
  keys.value_offset = offsets[any ? Field::DictEntryValue : Field::DictStrEntryValue];
  keys.entries = at + header.size() + (std::uint64_t{1} << log2_index_bytes);
  return keys;
}

/// The values of a split dict, or of an instance.
struct DictValues {
  RemoteAddr first;
  std::uint64_t capacity = 0;  // there are no more
  std::uint64_t used = 0;
  RemoteAddr order;  // the indices of those that are set, in the order in which they were set:
  bool order_ascends = true;  // from here upwards, or the last one is here and the first above
};

Result<DictValues> read_dict_values(const Reader& reader, RemoteAddr at) {
  DictValues values;
  if (reader.layout().instance_values == InstanceValues::Inside) {
    const auto capacity = reader.field<std::uint8_t>(at, Field::DictValuesCapacity);
    const auto used = reader.field<std::uint8_t>(at, Field::DictValuesUsed);
    if (!capacity) return fail("dict values", capacity.error());
    if (!used) return fail("dict values", used.error());
    values.first = at + reader.offsets()[Field::DictValuesValues];
    values.capacity = *capacity;
    values.used = *used;
    values.order = values.first + values.capacity * sizeof(std::uint64_t);
  } else {
    // Before the values lie the size of what lies before, the number of those that are set, and
    // their indices, each below the one before (Include/internal/pycore_dict.h).
    constexpr std::uint64_t kSizes = 2;
    std::array<std::uint8_t, kSizes> sizes{};
    if (at.raw() < 1U << 8U) return fail(ErrorKind::Malformed, "dict values near null");
    if (auto ok = reader.memory().read(RemoteAddr{at.raw() - kSizes},
                                       std::as_writable_bytes(std::span{sizes}));
        !ok) {
      return fail("dict values", ok.error());
    }
    values.first = at;
    values.used = sizes[0];
    values.capacity = std::max<std::uint64_t>(sizes[1], kSizes) - kSizes;
    values.order = RemoteAddr{at.raw() - kSizes - values.used};
    values.order_ascends = false;
  }
  if (values.used > values.capacity) {
    return fail(ErrorKind::Malformed,
                fmt::format("values at {:#x}: {} of {}", at.raw(), values.used, values.capacity));
  }
  return values;
}

/// Bytes of a length that the target gives: what isn't there is noticed before it is allocated.
Result<std::vector<std::byte>> read_block(const Reader& reader, RemoteAddr at, std::uint64_t size) {
  constexpr std::uint64_t kPiece = std::uint64_t{1} << 20U;
  std::vector<std::byte> block;
  for (std::uint64_t done = 0; done < size; done = block.size()) {
    block.resize(done + std::min(kPiece, size - done));
    if (auto ok = reader.memory().read(at + done, std::span{block}.subspan(done)); !ok) {
      return fail(std::move(ok).error());
    }
  }
  return block;
}

RemoteAddr pointer_in(const std::vector<std::byte>& block, std::uint64_t offset) {
  std::uint64_t raw = 0;
  std::memcpy(&raw, block.data() + offset, sizeof raw);
  return RemoteAddr{raw};
}

/// Calls `visit(index, key, value)` for each of the first `count` entries until it returns false.
/// Reads them in batches, which grow: their number is what the target says.
template <class Visit>
Result<void> for_each_entry(const Reader& reader, const DictKeys& keys, std::uint64_t count,
                            const Visit& visit) {
  constexpr std::uint64_t kFirstBatch = 256;
  constexpr std::uint64_t kLargestBatch = 16'384;
  std::uint64_t batch = kFirstBatch;
  std::uint64_t n = 0;
  for (std::uint64_t first = 0; first < count; first += n) {
    n = std::min(batch, count - first);
    batch = std::min(2 * batch, kLargestBatch);
    const auto entries =
        read_block(reader, keys.entries + first * keys.entry_size, n * keys.entry_size);
    if (!entries) return fail("dict entries", entries.error());
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t entry = i * keys.entry_size;
      if (!visit(first + i, pointer_in(*entries, entry + keys.key_offset),
                 pointer_in(*entries, entry + keys.value_offset))) {
        return {};
      }
    }
  }
  return {};
}

bool is_str(const Reader& reader, RemoteAddr object) {
  const auto type = reader.type_of(object);
  if (!type || !*type) return false;
  const auto flags = reader.type_flags(*type);
  return flags && (*flags & kTypeUnicodeSubclass) != 0;
}

// What read_str needs of most names in one fetch: the header and the first characters.
constexpr std::uint64_t kStrPrefetch = 96;

/// The index of the entry whose key is this str. The keys are looked at in batches, since they lie
/// anywhere in memory and the one that is wanted is often an early one.
Result<std::optional<std::uint64_t>> find_key(const Reader& reader, const DictKeys& keys,
                                              std::string_view name, std::size_t limit) {
  constexpr std::uint64_t kBatch = 64;
  std::vector<RemoteAddr> batch;
  const std::uint64_t count = std::min<std::uint64_t>(keys.count, limit);
  const auto characters = static_cast<std::uint64_t>(
      std::count_if(name.begin(), name.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  for (std::uint64_t first = 0; first < count; first += kBatch) {
    const std::uint64_t n = std::min(kBatch, count - first);
    const auto entries =
        read_block(reader, keys.entries + first * keys.entry_size, n * keys.entry_size);
    if (!entries) return fail("dict entries", entries.error());
    batch.clear();
    for (std::uint64_t i = 0; i < n; ++i) {
      batch.push_back(pointer_in(*entries, i * keys.entry_size + keys.key_offset));
    }
    reader.prefetch(batch, kStrPrefetch);
    for (std::uint64_t i = 0; i < n; ++i) {
      if (!batch[i].is_plausible_pointer()) continue;
      // The length rules out nearly all keys without reading their characters.
      const auto length = reader.field<std::uint64_t>(batch[i], Field::UnicodeLength);
      if (!length || *length != characters || !is_str(reader, batch[i])) continue;
      const auto text = read_str(reader, batch[i], characters);
      if (text && *text == name) return first + i;
    }
  }
  return std::nullopt;
}

}  // namespace

void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0U | (c >> 6U));
    put(0x80U | (c & 0x3FU));
  } else if (c < 0x10000) {
    put(0xE0U | (c >> 12U));
    put(0x80U | ((c >> 6U) & 0x3FU));
    put(0x80U | (c & 0x3FU));
  } else {
    put(0xF0U | (c >> 18U));
    put(0x80U | ((c >> 12U) & 0x3FU));
    put(0x80U | ((c >> 6U) & 0x3FU));
    put(0x80U | (c & 0x3FU));
  }
}

Result<RemoteAddr> Reader::pointer(RemoteAddr base, std::uint64_t offset) const {
  const auto raw = value<std::uint64_t>(base, offset);
  if (!raw) return fail(raw.error());
  const RemoteAddr at{*raw};
  if (at && !at.is_plausible_pointer()) {
    return fail(ErrorKind::Malformed,
                fmt::format("{:#x} at {:#x} is not a pointer", at.raw(), base.raw() + offset));
  }
  return at;
}

Result<void> Reader::spend(std::uint64_t size) const {
  if (size > budget_->left) {
    return fail(ErrorKind::Malformed, "the names and tables are larger in all than what is read");
  }
  budget_->left -= size;
  return {};
}

void Reader::prefetch(const std::vector<RemoteAddr>& addresses, std::uint64_t size) const {
  std::vector<RemoteRange> ranges;
  ranges.reserve(addresses.size());
  for (const RemoteAddr at : addresses) {
    if (at.is_plausible_pointer()) ranges.push_back({at, size});
  }
  memory_.fetch(ranges);
}

Result<std::string> Reader::c_string(RemoteAddr start) const {
  // Its end isn't known before it is read, and a page that follows may be missing.
  constexpr std::size_t kMost = 256;
  std::string text;
  for (std::uint64_t at = start.raw(); text.size() < kMost;) {
    std::array<char, 32> piece{};
    const std::uint64_t in_page = PageCache::kPageSize - at % PageCache::kPageSize;
    const auto n = std::min<std::uint64_t>(piece.size(), in_page);
    if (auto ok = memory_.read(RemoteAddr{at}, std::as_writable_bytes(std::span{piece}).first(n));
        !ok) {
      return fail("C string", ok.error());
    }
    const std::string_view part{piece.data(), n};
    const std::size_t end = part.find('\0');
    text += part.substr(0, end);
    if (end != std::string_view::npos) break;
    at += n;
  }
  return text;
}

Result<std::string> Reader::type_name(RemoteAddr type) const {
  if (const auto known = type_names_.find(type.raw()); known != type_names_.end()) {
    return known->second;
  }
  const auto name_at = field<std::uint64_t>(type, Field::TypeTpName);
  if (!name_at) return fail("type name", name_at.error());
  const auto name = c_string(RemoteAddr{*name_at});
  if (!name) return fail("type name", name.error());
  type_names_.emplace(type.raw(), *name);
  return *name;
}

Result<StrPrefix> read_str_prefix(const Reader& reader, RemoteAddr object, std::size_t limit) {
  const DebugOffsets& offsets = reader.offsets();
  if (!object.is_plausible_pointer()) {
    return fail(ErrorKind::Malformed, fmt::format("{:#x} is not a str", object.raw()));
  }
  if (!is_str(reader, object)) {
    return fail(ErrorKind::Malformed,
                fmt::format("the object at {:#x} is not a str", object.raw()));
  }
  const auto length = reader.field<std::uint64_t>(object, Field::UnicodeLength);
  const auto word = reader.field<std::uint32_t>(object, Field::UnicodeState);
  if (!length) return fail("str", length.error());
  if (!word) return fail("str", word.error());
  const StrState state = StrState::decode(reader.layout().str_state, *word);
  if ((state.kind != 1 && state.kind != 2 && state.kind != 4) || (state.ascii && state.kind != 1)) {
    return fail(ErrorKind::Malformed,
                fmt::format("the str at {:#x} has the state {:#x}", object.raw(), *word));
  }
  // Compact strings are followed by their characters. The others have a pointer to them there, and
  // the compact header that isn't ASCII is two words longer (utf8_length and utf8).
  const std::uint64_t ascii_data = offsets[Field::UnicodeAsciiobjectSize];
  const std::uint64_t other_data = offsets[Field::UnicodeCompactunicodeobjectSize];
  RemoteAddr data = object + (state.ascii && state.compact ? ascii_data : other_data);
  if (!state.compact) {
    const auto pointer = reader.value<std::uint64_t>(object, other_data);
    if (!pointer) return fail("str", pointer.error());
    data = RemoteAddr{*pointer};
  }
  StrPrefix prefix;
  prefix.length = *length;
  const std::uint64_t count = std::min<std::uint64_t>(*length, limit);
  if (auto ok = reader.spend(count * state.kind); !ok) return fail("str", ok.error());
  const auto bytes = read_block(reader, data, count * state.kind);
  if (!bytes) return fail("str", bytes.error());
  prefix.characters.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t c = 0;
    std::memcpy(&c, bytes->data() + i * state.kind, state.kind);
    if (c > 0x10FFFF || (state.ascii && c >= 0x80)) {
      return fail(ErrorKind::Malformed,
                  fmt::format("the str at {:#x} holds the character {:#x}", object.raw(), c));
    }
    prefix.characters += static_cast<char32_t>(c);
  }
  return prefix;
}

std::string StrPrefix::text() const {
  std::string text;
  text.reserve(characters.size());
  for (const char32_t c : characters)
    append_utf8(text, c);
  return text;
}

Result<std::string> read_str(const Reader& reader, RemoteAddr object, std::size_t limit) {
  // A longer one is refused before its characters are read.
  const auto length = object.is_plausible_pointer()
                          ? reader.field<std::uint64_t>(object, Field::UnicodeLength)
                          : Result<std::uint64_t>(0U);
  if (length && *length > limit && is_str(reader, object)) {
    return fail(ErrorKind::Malformed,
                fmt::format("the str at {:#x} has {} characters, more than {}", object.raw(),
                            *length, limit));
  }
  const auto prefix = read_str_prefix(reader, object, limit);
  if (!prefix) return fail(prefix.error());
  return prefix->text();
}

Result<std::vector<std::byte>> read_bytes(const Reader& reader, RemoteAddr object,
                                          std::size_t limit) {
  const auto type = reader.type_of(object);
  if (!type) return fail("bytes", type.error());
  const auto flags = reader.type_flags(*type);
  if (!flags) return fail("bytes", flags.error());
  const auto size = reader.field<std::uint64_t>(object, Field::BytesObSize);
  if (!size) return fail("bytes", size.error());
  if ((*flags & kTypeBytesSubclass) == 0 || *size > limit) {
    return fail(
        ErrorKind::Malformed,
        fmt::format("the object at {:#x} is not bytes of at most {} bytes", object.raw(), limit));
  }
  if (auto ok = reader.spend(*size); !ok) return fail("bytes", ok.error());
  return read_block(reader, object + reader.offsets()[Field::BytesObSval], *size);
}

Result<std::uint64_t> read_unsigned(const Reader& reader, RemoteAddr object) {
  constexpr std::uint64_t kMostDigits = 3;  // 64 bits
  const auto integer = read_integer(reader, object, kMostDigits);
  if (!integer) return fail(integer.error());
  const auto& digits = integer->digits;
  const bool fits = integer->digit_count < kMostDigits ||
                    (integer->digit_count == kMostDigits && digits.back() >> 4U == 0);
  if (integer->negative || !fits) {
    return fail(ErrorKind::Malformed,
                fmt::format("the int at {:#x} is not an unsigned 64-bit number", object.raw()));
  }
  std::uint64_t result = 0;
  for (std::size_t i = digits.size(); i-- > 0;)
    result = result << kBitsPerDigit | digits[i];
  return result;
}

Result<std::vector<std::pair<RemoteAddr, RemoteAddr>>> read_dict(const Reader& reader,
                                                                 RemoteAddr object,
                                                                 std::size_t limit) {
  const auto keys_at = reader.pointer(object, Field::DictMaKeys);
  if (!keys_at) return fail("dict", keys_at.error());
  const auto values_at = reader.pointer(object, Field::DictMaValues);
  if (!values_at) return fail("dict", values_at.error());
  const auto keys = read_dict_keys(reader, *keys_at);
  if (!keys) return fail("dict", keys.error());
  if (keys->count > limit) {
    return fail(ErrorKind::Malformed,
                fmt::format("the dict at {:#x} has {} entries", object.raw(), keys->count));
  }
  std::vector<std::byte> values;
  if (*values_at) {
    const auto found = read_dict_values(reader, *values_at);
    if (!found) return fail(found.error());
    if (found->capacity < keys->count) {
      return fail(ErrorKind::Malformed, fmt::format("the dict at {:#x} has {} keys and {} values",
                                                    object.raw(), keys->count, found->capacity));
    }
    auto block = read_block(reader, found->first, keys->count * 8);
    if (!block) return fail("dict values", block.error());
    values = *std::move(block);
  }
  std::vector<std::pair<RemoteAddr, RemoteAddr>> items;
  const auto add = [&](std::uint64_t i, RemoteAddr key, RemoteAddr in_entry) {
    const RemoteAddr value = *values_at ? pointer_in(values, i * 8) : in_entry;
    if (value) items.emplace_back(key, value);
    return true;
  };
  if (auto ok = for_each_entry(reader, *keys, keys->count, add); !ok) {
    return fail(std::move(ok).error());
  }
  return items;
}

Result<DictPrefix> read_inline_values(const Reader& reader, RemoteAddr values, RemoteAddr keys_at,
                                      std::size_t limit) {
  const auto keys = read_dict_keys(reader, keys_at);
  if (!keys) return fail(keys.error());
  const auto found = read_dict_values(reader, values);
  if (!found) return fail(found.error());
  if (keys->kind != 2) {
    return fail(ErrorKind::Malformed,
                fmt::format("values at {:#x} of keys that no class shares", values.raw()));
  }
  // No more of the keys than there can be values, however many the target says there are.
  const std::uint64_t most = std::min(keys->count, found->capacity);
  const auto order = read_block(reader, found->order, found->used);
  if (!order) return fail("values", order.error());
  const auto block = read_block(reader, found->first, most * 8);
  if (!block) return fail("values", block.error());
  const auto entries = read_block(reader, keys->entries, most * keys->entry_size);
  if (!entries) return fail("keys", entries.error());
  DictPrefix prefix;
  for (std::uint64_t i = 0; i < found->used; ++i) {
    const auto index =
        static_cast<std::uint64_t>((*order)[found->order_ascends ? i : found->used - 1 - i]);
    if (index >= most) {
      return fail(ErrorKind::Malformed,
                  fmt::format("values at {:#x}: index {}", values.raw(), index));
    }
    const RemoteAddr value = pointer_in(*block, index * 8);
    if (!value) continue;
    ++prefix.count;
    if (prefix.items.size() < limit) {
      prefix.items.emplace_back(pointer_in(*entries, index * keys->entry_size + keys->key_offset),
                                value);
    }
  }
  return prefix;
}

Result<DictPrefix> read_dict_prefix(const Reader& reader, RemoteAddr object, std::size_t limit) {
  const auto keys_at = reader.pointer(object, Field::DictMaKeys);
  if (!keys_at) return fail("dict", keys_at.error());
  const auto values_at = reader.pointer(object, Field::DictMaValues);
  if (!values_at) return fail("dict", values_at.error());
  if (*values_at) return read_inline_values(reader, *values_at, *keys_at, limit);
  const auto keys = read_dict_keys(reader, *keys_at);
  if (!keys) return fail("dict", keys.error());
  const auto used = reader.field<std::uint64_t>(object, Field::DictMaUsed);
  if (!used) return fail("dict", used.error());
  if (*used > keys->count) {
    return fail(ErrorKind::Malformed, fmt::format("the dict at {:#x} has {} items in {} entries",
                                                  object.raw(), *used, keys->count));
  }
  DictPrefix prefix;
  prefix.count = *used;
  // Deleted entries stay where they were: what is wanted may lie behind any number of them.
  constexpr std::uint64_t kMostEntries = 1U << 22U;
  const std::uint64_t wanted = std::min<std::uint64_t>(limit, *used);
  if (wanted == 0) return prefix;
  const auto add = [&](std::uint64_t, RemoteAddr key, RemoteAddr value) {
    if (value) prefix.items.emplace_back(key, value);
    return prefix.items.size() < wanted;
  };
  if (auto ok = for_each_entry(reader, *keys, std::min(keys->count, kMostEntries), add); !ok) {
    return fail(std::move(ok).error());
  }
  return prefix;
}

Result<RemoteAddr> dict_item(const Reader& reader, RemoteAddr dict, std::string_view key) {
  const auto keys_at = reader.pointer(dict, Field::DictMaKeys);
  if (!keys_at) return fail("dict", keys_at.error());
  const auto values_at = reader.pointer(dict, Field::DictMaValues);
  if (!values_at) return fail("dict", values_at.error());
  const auto keys = read_dict_keys(reader, *keys_at);
  if (!keys) return fail("dict", keys.error());
  // Bound: keys that are looked through in a dict
  constexpr std::size_t kMaxKeys = 1U << 15U;
  const auto index = find_key(reader, *keys, key, kMaxKeys);
  if (!index) return fail("dict", index.error());
  if (!index->has_value()) return RemoteAddr{};
  if (*values_at) {
    const auto values = read_dict_values(reader, *values_at);
    if (!values) return fail(values.error());
    if (**index >= values->capacity) return RemoteAddr{};
    return reader.pointer(values->first, **index * 8);
  }
  return reader.pointer(keys->entries, **index * keys->entry_size + keys->value_offset);
}

Result<InstanceStorage> instance_storage(const Reader& reader, RemoteAddr object, RemoteAddr type,
                                         std::uint64_t flags) {
  const DebugOffsets& offsets = reader.offsets();
  InstanceStorage storage;
  if (object.raw() <= offsets[Field::PreHeaderSize]) return storage;
  const RemoteAddr word{object.raw() - offsets[Field::PreHeaderDict]};
  switch (reader.layout().instance_values) {
    case InstanceValues::BehindTaggedPointer: {
      const auto tagged = reader.value<std::uint64_t>(word, 0);
      if (!tagged) return fail(tagged.error());
      if ((*tagged & 1U) != 0) {
        storage.values = RemoteAddr{*tagged + 1};
        if (!storage.values.is_plausible_pointer()) storage.values = {};
        return storage;
      }
      break;
    }
    case InstanceValues::BehindPointer: {
      const auto values =
          reader.pointer(RemoteAddr{object.raw() - offsets[Field::PreHeaderValues]}, 0);
      if (!values) return fail(values.error());
      storage.values = *values;
      if (storage.values) return storage;
      break;
    }
    case InstanceValues::Inside:
      break;
  }
  const auto dict = reader.pointer(word, 0);
  if (!dict) return fail(dict.error());
  storage.dict = *dict;
  if (storage.dict || (flags & kTypeInlineValues) == 0 ||
      reader.layout().instance_values != InstanceValues::Inside) {
    return storage;
  }
  constexpr std::uint64_t kMaxBasicSize = 1U << 20U;
  const auto size = reader.field<std::uint64_t>(type, Field::TypeTpBasicsize);
  if (!size) return fail(size.error());
  if (*size < kMaxBasicSize &&
      reader.field<std::uint8_t>(object + *size, Field::DictValuesValid).value_or(0) == 1) {
    storage.values = object + *size;
  }
  return storage;
}

std::vector<RemoteAddr> instance_attributes(const Reader& reader,
                                            const std::vector<RemoteAddr>& objects,
                                            std::string_view name) {
  const std::uint64_t before = reader.offsets()[Field::PreHeaderSize];
  std::vector<RemoteAddr> words_before;
  for (const RemoteAddr object : objects) {
    if (object.raw() > before) words_before.emplace_back(object.raw() - before);
  }
  constexpr std::uint64_t kTypicalInstance = 256;
  reader.prefetch(words_before, kTypicalInstance);

  // Instances of one class share their keys: each set of keys is searched once.
  std::unordered_map<std::uint64_t, std::optional<std::uint64_t>> index_by_keys;
  const auto index_in = [&](RemoteAddr keys_at) -> std::optional<std::uint64_t> {
    const auto [known, fresh] = index_by_keys.try_emplace(keys_at.raw());
    if (fresh) {
      if (const auto keys = read_dict_keys(reader, keys_at)) {
        constexpr std::size_t kMaxSharedKeys = 256;
        const auto index = find_key(reader, *keys, name, kMaxSharedKeys);
        if (index) known->second = *index;
      }
    }
    return known->second;
  };
  const auto lookup = [&](RemoteAddr object) -> Result<RemoteAddr> {
    if (object.raw() <= before) return RemoteAddr{};
    const auto type = reader.type_of(object);
    if (!type) return fail(type.error());
    const auto flags = reader.type_flags(*type);
    if (!flags) return fail(flags.error());
    if ((*flags & kTypeManagedDict) == 0) return RemoteAddr{};
    const auto storage = instance_storage(reader, object, *type, *flags);
    if (!storage) return fail(storage.error());
    if (storage->dict) return dict_item(reader, storage->dict, name);
    if (!storage->values) return RemoteAddr{};
    const auto keys = reader.pointer(*type, Field::HeapTypeHtCachedKeys);
    if (!keys) return fail(keys.error());
    if (!*keys) return RemoteAddr{};
    const auto index = index_in(*keys);
    const auto values = read_dict_values(reader, storage->values);
    if (!index || !values || *index >= values->capacity) return RemoteAddr{};
    return reader.pointer(values->first, *index * 8);
  };
  std::vector<RemoteAddr> found;
  found.reserve(objects.size());
  for (const RemoteAddr object : objects)
    found.push_back(lookup(object).value_or(RemoteAddr{}));
  return found;
}

}  // namespace pyscope
