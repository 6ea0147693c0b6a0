#include "memory/image_memory.hpp"

#include <algorithm>
#include <vector>

namespace pyscope {

void ImageMemory::put(RemoteAddr at, std::span<const std::byte> bytes) {
  if (!at.plus(bytes.size())) return;
  for (std::uint64_t address = at.raw(); !bytes.empty();) {
    Block& block = blocks_[address / kBlockSize];
    const std::uint64_t begin = address % kBlockSize;
    const std::size_t size = std::min<std::uint64_t>(bytes.size(), kBlockSize - begin);
    std::copy_n(bytes.begin(), size, block.bytes.begin() + static_cast<std::ptrdiff_t>(begin));
    for (std::size_t i = 0; i < size; ++i)
      block.present.set(begin + i);
    bytes = bytes.subspan(size);
    address += size;
  }
}

void ImageMemory::read_many(std::span<ReadRequest> requests) const {
  for (ReadRequest& request : requests) {
    request.status = request.at.plus(request.out.size()) ? ReadStatus::Ok : ReadStatus::Fault;
    std::span<std::byte> rest = request.out;
    for (std::uint64_t address = request.at.raw();
         !rest.empty() && request.status == ReadStatus::Ok;) {
      const std::uint64_t begin = address % kBlockSize;
      const std::size_t size = std::min<std::uint64_t>(rest.size(), kBlockSize - begin);
      const auto block = blocks_.find(address / kBlockSize);
      if (block == blocks_.end() || !block->second.holds(begin, size)) {
        request.status = ReadStatus::Fault;
      } else {
        std::copy_n(block->second.bytes.begin() + static_cast<std::ptrdiff_t>(begin), size,
                    rest.begin());
      }
      rest = rest.subspan(size);
      address += size;
    }
  }
}

bool ImageMemory::Block::holds(std::uint64_t begin, std::size_t size) const {
  if (present.all()) return true;
  for (std::size_t i = 0; i < size; ++i) {
    if (!present.test(begin + i)) return false;
  }
  return true;
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
