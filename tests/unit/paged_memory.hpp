// Memory that a test fills, takes away and changes, even while it is being read.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "memory/budgeted_memory.hpp"
#include "pyscope/memory.hpp"

namespace pyscope::test {

/// A budget that goes with the memory of a test, wherever the memory is moved.
struct OwnBudget {
  std::shared_ptr<Budget> own = std::make_shared<Budget>();
};

class PagedMemory final : private OwnBudget, public BudgetedMemory {
 public:
  PagedMemory() : BudgetedMemory(*own) {}

  static constexpr std::uint64_t kPageSize = 4096;
  using Page = std::array<std::byte, kPageSize>;

  /// Makes the pages of this range readable; new ones hold zeros.
  void map(RemoteAddr start, std::uint64_t size) {
    for (std::uint64_t page = start.raw() / kPageSize; page * kPageSize < start.raw() + size;
         ++page)
      pages.try_emplace(page);
  }
  /// Takes away the page that this address is in.
  void unmap(RemoteAddr at) { pages.erase(at.raw() / kPageSize); }

  /// Maps what it writes to.
  void write(RemoteAddr at, std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::uint64_t address = at.raw() + i;
      pages[address / kPageSize].at(address % kPageSize) = bytes[i];
    }
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(RemoteAddr at, const T& value) { write(at, std::as_bytes(std::span{&value, 1})); }

  void read_many(std::span<ReadRequest> requests) const override {
    ++calls;
    for (ReadRequest& request : requests) {
      reads.push_back({request.at, request.out.size()});
      if (before_read) before_read(request.at);
      request.status = answer != ReadStatus::Pending ? answer : copy(request.at, request.out);
    }
  }

  std::map<std::uint64_t, Page> pages;  // by page number
  /// Called before each range is copied.
  std::function<void(RemoteAddr)> before_read;
  /// What every read ends in, other than Pending.
  ReadStatus answer = ReadStatus::Pending;
  /// How it was read so far: the number of calls, and all ranges.
  mutable std::size_t calls = 0;
  mutable std::vector<RemoteRange> reads;

 private:
  ReadStatus copy(RemoteAddr at, std::span<std::byte> out) const {
    std::uint64_t address = at.raw();
    while (!out.empty()) {
      const auto page = pages.find(address / kPageSize);
      if (page == pages.end()) return ReadStatus::Fault;
      const std::uint64_t offset = address % kPageSize;
      const std::size_t n = std::min<std::size_t>(out.size(), kPageSize - offset);
      std::memcpy(out.data(), page->second.data() + offset, n);
      out = out.subspan(n);
      address += n;
    }
    return ReadStatus::Ok;
  }
};

}  // namespace pyscope::test
