// Decompression with a bound on the size of the result, whatever the compressed bytes promise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pyscope {

/// Decompresses zlib's format. The result is empty if it isn't exactly `size` bytes.
[[nodiscard]] std::vector<std::byte> inflate(std::span<const std::byte> compressed,
                                             std::uint64_t size);

/// Decompresses zstd's format. The result is empty if it isn't exactly `size` bytes.
[[nodiscard]] std::vector<std::byte> decode_zstd(std::span<const std::byte> compressed,
                                                 std::uint64_t size);

/// Decompresses one or more streams of xz. The result is empty for another format, and if it would
/// be more than `limit` bytes.
[[nodiscard]] std::vector<std::byte> decode_xz(std::span<const std::byte> compressed,
                                               std::uint64_t limit);

}  // namespace pyscope
