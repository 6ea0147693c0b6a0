#include "memory/image_memory.hpp"

#include <algorithm>
#include <vector>

namespace pyscope {

void ImageMemory::put(RemoteAddr at, std::span<const std::byte> bytes) {
  if (!at.plus(bytes.size())) return;
  std::uint64_t address = at.raw();
  for (const std::byte byte : bytes) {
    Block& block = blocks_[address / kBlockSize];
    block.bytes[address % kBlockSize] = byte;
    block.present.set(address % kBlockSize);
    ++address;
  }
}

void ImageMemory::read_many(std::span<ReadRequest> requests) const {
  for (ReadRequest& request : requests) {
    request.status = request.at.plus(request.out.size()) ? ReadStatus::Ok : ReadStatus::Fault;
    std::uint64_t address = request.at.raw();
    for (std::size_t i = 0; i < request.out.size() && request.status == ReadStatus::Ok; ++i) {
      const auto block = blocks_.find(address / kBlockSize);
      if (block == blocks_.end() || !block->second.present.test(address % kBlockSize)) {
        request.status = ReadStatus::Fault;
      } else {
        request.out[i] = block->second.bytes[address % kBlockSize];
      }
      ++address;
    }
  }
}

void ImageMemory::for_each_range(
    const std::function<void(RemoteAddr, std::span<const std::byte>)>& visit) const {
  std::vector<std::byte> run;
  std::uint64_t run_end = 0;
  const auto flush = [&] {
    if (!run.empty()) visit(RemoteAddr{run_end - run.size()}, run);
    run.clear();
  };
  for (const auto& [number, block] : blocks_) {
    for (std::uint64_t i = 0; i < kBlockSize; ++i) {
      if (!block.present.test(i)) continue;
      const std::uint64_t address = number * kBlockSize + i;
      if (address != run_end) flush();
      run.push_back(block.bytes[i]);
      run_end = address + 1;
    }
  }
  flush();
}

void RecordingMemory::read_many(std::span<ReadRequest> requests) const {
  source_.read_many(requests);
  for (const ReadRequest& request : requests) {
    if (request.status == ReadStatus::Ok) image_.put(request.at, request.out);
  }
}

}  // namespace pyscope
