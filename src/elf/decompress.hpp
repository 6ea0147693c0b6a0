// Decompression with a bound on what comes out, whatever the compressed bytes promise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pyscope {

/// zlib's format, of which exactly `size` bytes must come out; else empty.
[[nodiscard]] std::vector<std::byte> inflate(std::span<const std::byte> compressed,
                                             std::uint64_t size);

/// zstd's format, of which exactly `size` bytes must come out; else empty.
[[nodiscard]] std::vector<std::byte> decode_zstd(std::span<const std::byte> compressed,
                                                 std::uint64_t size);

/// One or more streams of xz. Empty if it isn't that, or if more than `limit` bytes come out.
[[nodiscard]] std::vector<std::byte> decode_xz(std::span<const std::byte> compressed,
                                               std::uint64_t limit);

}  // namespace pyscope
