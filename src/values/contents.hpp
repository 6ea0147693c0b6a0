// The contents of the builtin containers. No other file knows where their items lie.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "python/objects.hpp"

namespace pyscope {

/// The first items of a container, and how many it has.
struct SequencePrefix {
  std::vector<RemoteAddr> items;
  std::uint64_t count = 0;
};

/// The kinds of containers. A class that is derived from a builtin is of the builtin's kind.
enum class ContainerKind : std::uint8_t { None, List, Tuple, Set, Deque, Dict, OrderedDict };
[[nodiscard]] ContainerKind container_kind(const ObjectType& type);

/// The first items of a list, tuple, set or deque, at most `most`.
[[nodiscard]] Result<SequencePrefix> read_sequence_prefix(const Reader& reader, RemoteAddr object,
                                                          ContainerKind kind, std::uint64_t most);
/// The first of `count` items, the pointers to which lie at `items`.
[[nodiscard]] Result<SequencePrefix> read_pointers(const Reader& reader, RemoteAddr items,
                                                   std::uint64_t count, std::uint64_t most);
/// The first entries of a dict, in the order in which it is iterated.
[[nodiscard]] Result<DictPrefix> read_entries(const Reader& reader, RemoteAddr object,
                                              ContainerKind kind, std::uint64_t most);
/// One item of a list, tuple or deque; the index must be less than its length.
[[nodiscard]] Result<RemoteAddr> read_item(const Reader& reader, RemoteAddr object,
                                           ContainerKind kind, std::uint64_t index);

/// Where the content of a bytes or bytearray object lies.
struct ByteRange {
  RemoteAddr start;
  std::uint64_t size = 0;
};
[[nodiscard]] Result<ByteRange> find_bytes(const Reader& reader, RemoteAddr object);
[[nodiscard]] Result<ByteRange> find_byte_array(const Reader& reader, RemoteAddr object);

/// len() of a builtin container or string, or of one derived from it.
[[nodiscard]] std::optional<std::uint64_t> length_of(const Reader& reader, RemoteAddr object,
                                                     const ObjectType& type);

}  // namespace pyscope
