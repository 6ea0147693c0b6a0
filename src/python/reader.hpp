// Reads CPython's structures out of a copy of the target's memory by the offsets that it publishes.
// All of it is untrusted: addresses, lengths and links are checked before they are followed.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "memory/page_cache.hpp"
#include "pyscope/error.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// What all strings and bytes that are read may hold together. A target can point any number of
/// objects at the same large piece of its memory.
struct TextBudget {
  // Bound (bytes): text of all strings of a reading
  static constexpr std::uint64_t kAll = std::uint64_t{256} << 20U;
  std::uint64_t left = kAll;
};

class Reader {
 public:
  /// With a budget that it shares with other readers, or else one of its own.
  Reader(const PageCache& memory, const DebugOffsets& offsets, TextBudget* budget = nullptr)
      : memory_(memory), offsets_(offsets), budget_(budget != nullptr ? budget : &own_budget_) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[nodiscard]] const PageCache& memory() const { return memory_; }
  [[nodiscard]] const DebugOffsets& offsets() const { return offsets_; }
  [[nodiscard]] const PythonLayout& layout() const { return offsets_.layout(); }

  template <class T>
  [[nodiscard]] Result<T> value(RemoteAddr base, std::uint64_t offset) const {
    return read_as<T>(memory_, base, offset);
  }
  template <class T>
  [[nodiscard]] Result<T> field(RemoteAddr base, Field field) const {
    return read_as<T>(memory_, base, offsets_[field]);
  }
  /// A pointer to another structure: null, or plausible (aligned, in user space); else Malformed.
  [[nodiscard]] Result<RemoteAddr> pointer(RemoteAddr base, std::uint64_t offset) const;
  [[nodiscard]] Result<RemoteAddr> pointer(RemoteAddr base, Field field) const {
    return pointer(base, offsets_[field]);
  }

  /// Fetches `size` bytes at each address in one batch, so that the reads that follow find them.
  void prefetch(const std::vector<RemoteAddr>& addresses, std::uint64_t size) const;

  /// A C string of at most 256 bytes.
  [[nodiscard]] Result<std::string> c_string(RemoteAddr at) const;

  /// The type of an object.
  [[nodiscard]] Result<RemoteAddr> type_of(RemoteAddr object) const {
    return pointer(object, Field::ObjectObType);
  }
  /// A type's tp_name. Remembered by the type's address.
  [[nodiscard]] Result<std::string> type_name(RemoteAddr type) const;
  /// A type's tp_flags.
  [[nodiscard]] Result<std::uint64_t> type_flags(RemoteAddr type) const {
    return field<std::uint64_t>(type, Field::TypeTpFlags);
  }

  /// Takes `size` bytes off the budget; fails with Malformed when it is used up.
  [[nodiscard]] Result<void> spend(std::uint64_t size) const;

 private:
  const PageCache& memory_;
  const DebugOffsets& offsets_;
  TextBudget own_budget_;
  TextBudget* budget_;
  mutable std::unordered_map<std::uint64_t, std::string> type_names_;
};

/// A value in the copy of a structure; zero beyond its end.
template <class T>
[[nodiscard]] T value_in(std::span<const std::byte> bytes, std::uint64_t offset) {
  T value{};
  if (offset + sizeof value <= bytes.size()) {
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  }
  return value;
}

/// Bits of tp_flags (Include/object.h), the same in all supported versions.
inline constexpr std::uint64_t kTypeStaticBuiltin = 1U << 1U;
inline constexpr std::uint64_t kTypeInlineValues = 1U << 2U;
inline constexpr std::uint64_t kTypeManagedDict = 1U << 4U;
inline constexpr std::uint64_t kTypeImmutable = 1U << 8U;
inline constexpr std::uint64_t kTypeHeap = 1U << 9U;
inline constexpr std::uint64_t kTypeBytesSubclass = 1U << 27U;
inline constexpr std::uint64_t kTypeUnicodeSubclass = 1U << 28U;
inline constexpr std::uint64_t kTypeExceptionSubclass = 1U << 30U;
inline constexpr std::uint64_t kTypeSubclass = std::uint64_t{1} << 31U;

/// A str object as UTF-8 (lone surrogates as three bytes). Strings of more than `limit` code points
/// fail: the ones that are read here are names.
[[nodiscard]] Result<std::string> read_str(const Reader& reader, RemoteAddr object,
                                           std::size_t limit = 1U << 16U);

/// The first characters of a str object, at most `limit`, and how many it has.
struct StrPrefix {
  std::u32string characters;
  std::uint64_t length = 0;

  /// The characters as UTF-8, lone surrogates as three bytes.
  [[nodiscard]] std::string text() const;
};
[[nodiscard]] Result<StrPrefix> read_str_prefix(const Reader& reader, RemoteAddr object,
                                                std::size_t limit);

/// Appends one code point as UTF-8, a surrogate as three bytes.
void append_utf8(std::string& out, std::uint32_t c);

/// The content of a bytes object.
[[nodiscard]] Result<std::vector<std::byte>> read_bytes(const Reader& reader, RemoteAddr object,
                                                        std::size_t limit);

/// A non-negative int object that fits in 64 bits.
[[nodiscard]] Result<std::uint64_t> read_unsigned(const Reader& reader, RemoteAddr object);

/// The (key, value) pairs of a dict, combined or split, in insertion order; no more than `limit`.
[[nodiscard]] Result<std::vector<std::pair<RemoteAddr, RemoteAddr>>> read_dict(
    const Reader& reader, RemoteAddr object, std::size_t limit = 1U << 20U);

/// The first items of a dict, at most `limit`, and how many it has. In insertion order.
struct DictPrefix {
  std::vector<std::pair<RemoteAddr, RemoteAddr>> items;
  std::uint64_t count = 0;
};
[[nodiscard]] Result<DictPrefix> read_dict_prefix(const Reader& reader, RemoteAddr object,
                                                  std::size_t limit);
/// The same for the values of an instance, by the keys that its class has for them.
[[nodiscard]] Result<DictPrefix> read_inline_values(const Reader& reader, RemoteAddr values,
                                                    RemoteAddr keys, std::size_t limit);

/// The value under a str key; null if there is none.
[[nodiscard]] Result<RemoteAddr> dict_item(const Reader& reader, RemoteAddr dict,
                                           std::string_view key);

/// Where an instance keeps its attributes: in a dict, or as values for the keys that its class has
/// for them. Neither: it has no attributes.
struct InstanceStorage {
  RemoteAddr dict;
  RemoteAddr values;
};
/// Of an object whose type has the flag kTypeManagedDict.
[[nodiscard]] Result<InstanceStorage> instance_storage(const Reader& reader, RemoteAddr object,
                                                       RemoteAddr type, std::uint64_t flags);

/// Looks up one attribute in the instance dicts of many objects (in the dict itself or in the
/// values embedded in the object; no slots, no class attributes). One result for each object, null
/// where it has no such attribute or can't be read.
[[nodiscard]] std::vector<RemoteAddr> instance_attributes(const Reader& reader,
                                                          const std::vector<RemoteAddr>& objects,
                                                          std::string_view name);

}  // namespace pyscope
