#pragma once

#include <array>
#include <bitset>
#include <functional>
#include <map>

#include "pyscope/memory.hpp"

namespace pyscope {

/// Memory as recorded or hand-built: ranges of bytes at addresses, nothing in between.
class ImageMemory final : public Memory {
 public:
  /// Later bytes replace earlier ones at the same address.
  void put(RemoteAddr at, std::span<const std::byte> bytes);

  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put_value(RemoteAddr at, const T& value) { put(at, std::as_bytes(std::span{&value, 1})); }

  void read_many(std::span<ReadRequest> requests) const override;

  /// Hands out each longest run of bytes that are there, in the order of addresses.
  void for_each_range(
      const std::function<void(RemoteAddr, std::span<const std::byte>)>& visit) const;

 private:
  static constexpr std::uint64_t kBlockSize = 4096;
  struct Block {
    std::array<std::byte, kBlockSize> bytes{};
    std::bitset<kBlockSize> present;
    [[nodiscard]] bool holds(std::uint64_t begin, std::size_t size) const;
  };
  std::map<std::uint64_t, Block> blocks_;  // by block number
};

/// Passes reads on and keeps a copy of what came back.
class RecordingMemory final : public Memory {
 public:
  explicit RecordingMemory(const Memory& source) : source_(source) {}
  void read_many(std::span<ReadRequest> requests) const override;
  [[nodiscard]] const ImageMemory& image() const { return image_; }

 private:
  const Memory& source_;
  mutable ImageMemory image_;  // noting down what was read changes nothing for the caller
};

}  // namespace pyscope
