#pragma once

#include <tsl/robin_map.h>

#include <array>
#include <memory>
#include <vector>

#include "memory/budgeted_memory.hpp"
#include "pyscope/memory.hpp"

namespace pyscope {

/// One copy of the parts of the target that a capture looks at. Each page is read once, so that all
/// of the capture sees the same bytes of it, and many pages are fetched in one go: the code above
/// reads field by field, which costs a lookup here and no system call.
///
/// Pages are 4 KiB blocks whatever the target's page size is.
class PageCache final : public BudgetedMemory {
 public:
  static constexpr std::uint64_t kPageSize = 4096;
  /// The part of the budget that one cache may take at the most; reads beyond it, or beyond the
  /// budget, end in OverBudget.
  // Bound (bytes): of a process's memory: one copy
  static constexpr std::size_t kMostBytes = std::size_t{256} << 20U;
  // Bound: looks at one copy
  static constexpr std::uint64_t kMostWork = std::uint64_t{3} << 24U;
  /// Of a read, so many bytes are one look more (Budget::kMostWork).
  static constexpr std::uint64_t kUnitBytes = 64;

  /// `source` and its budget must outlive this.
  explicit PageCache(const BudgetedMemory& source, std::size_t most_bytes = kMostBytes,
                     std::uint64_t most_work = kMostWork)
      : BudgetedMemory(source.budget()),
        source_(source),
        most_pages_(most_bytes / kPageSize),
        work_left_(most_work) {}
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;
  ~PageCache() override;

  /// Reads through the cache; what is missing is fetched in one batch.
  void read_many(std::span<ReadRequest> requests) const override;

  /// Fetches what is missing of these ranges in one batch. Unreadable pages are remembered as such.
  void fetch(std::span<const RemoteRange> ranges) const;

  /// Pending if some page of the range was not fetched yet, and then nothing is read.
  [[nodiscard]] ReadStatus try_read(RemoteAddr at, std::span<std::byte> out) const;

  /// How many reads have failed so far. Code that searches many places goes on when one of them
  /// can't be read; its caller learns here that "not found" may be wrong.
  [[nodiscard]] std::size_t failures() const { return failures_; }

 private:
  struct Page {
    ReadStatus status = ReadStatus::Pending;
    std::array<std::byte, kPageSize> bytes;
  };
  [[nodiscard]] Page* make_page() const;
  /// False once the work is used up.
  [[nodiscard]] bool spend(std::size_t size) const {
    const std::uint64_t cost = 1 + size / kUnitBytes;
    if (cost > work_drawn_) return draw(cost);
    work_drawn_ -= cost;
    return true;
  }
  [[nodiscard]] bool draw(std::uint64_t cost) const;
  [[nodiscard]] const Page* find(std::uint64_t number) const;

  const Memory& source_;
  std::size_t most_pages_;
  mutable std::uint64_t work_left_;                     // of its own part
  mutable std::uint64_t work_drawn_ = 0;                // from the budget, for the next looks
  mutable tsl::robin_map<std::uint64_t, Page*> pages_;  // by page number
  // The pages lie in a few large pieces, each larger than the one before.
  struct Piece {
    std::unique_ptr<Page[], void (*)(Page*)> pages;
    std::size_t size = 0;
  };
  mutable std::vector<Piece> pieces_;
  mutable std::size_t used_ = 0;  // of the last piece
  // The page that was read last. The next read mostly lies in the same page.
  mutable std::uint64_t last_number_ = 0;
  mutable const Page* last_ = nullptr;
  mutable std::size_t failures_ = 0;
};

}  // namespace pyscope
