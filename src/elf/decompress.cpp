#include "elf/decompress.hpp"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

namespace pyscope {
namespace {

constexpr std::uint64_t kDictionaryBytes = std::uint64_t{128} << 20U;  // xz -9 takes half of it

}  // namespace

std::vector<std::byte> inflate(std::span<const std::byte> compressed, std::uint64_t size) {
  // Deflate makes at most 1,032 bytes of one byte. So a larger size is wrong, and nothing is
  // allocated for it.
  constexpr std::uint64_t kMostOfOne = 1032;
  if (size / kMostOfOne > compressed.size()) return {};
  std::vector<std::byte> out(size);
  auto written = static_cast<uLongf>(size);
  const int result = ::uncompress(reinterpret_cast<Bytef*>(out.data()), &written,
                                  reinterpret_cast<const Bytef*>(compressed.data()),
                                  static_cast<uLong>(compressed.size()));
  if (result != Z_OK || written != size) return {};
  return out;
}

std::vector<std::byte> decode_zstd(std::span<const std::byte> compressed, std::uint64_t size) {
  // A block has at least four bytes and becomes at most 128 KiB. So a larger size is wrong.
  constexpr std::uint64_t kMostOfOne = std::uint64_t{32} << 10U;
  if (size / kMostOfOne > compressed.size()) return {};
  std::vector<std::byte> out(size);
  const std::size_t written =
      ::ZSTD_decompress(out.data(), out.size(), compressed.data(), compressed.size());
  if (::ZSTD_isError(written) != 0 || written != size) return {};
  return out;
}

std::vector<std::byte> decode_xz(std::span<const std::byte> compressed, std::uint64_t limit) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (::lzma_stream_decoder(&stream, kDictionaryBytes, LZMA_CONCATENATED) != LZMA_OK) return {};
  constexpr std::size_t kFirst = std::size_t{1} << 16U;
  std::vector<std::byte> out;
  stream.next_in = reinterpret_cast<const std::uint8_t*>(compressed.data());
  stream.avail_in = compressed.size();
  lzma_ret result = LZMA_OK;
  while (result == LZMA_OK) {
    const std::size_t done = stream.total_out;
    if (done >= limit) break;
    out.resize(std::min<std::uint64_t>(std::max(kFirst, 2 * done), limit));
    stream.next_out = reinterpret_cast<std::uint8_t*>(out.data()) + done;
    stream.avail_out = out.size() - done;
    result = ::lzma_code(&stream, LZMA_FINISH);
  }
  out.resize(stream.total_out);
  ::lzma_end(&stream);
  if (result != LZMA_STREAM_END) out.clear();
  return out;
}

}  // namespace pyscope
