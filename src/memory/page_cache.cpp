#include "memory/page_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace pyscope {

PageCache::Page* PageCache::make_page() const {
  if (pieces_.empty() || used_ == pieces_.back().size) {
    constexpr std::size_t kFirst = 32;
    constexpr std::size_t kMost = 4096;  // 16 MiB
    const std::size_t size = pieces_.empty() ? kFirst : std::min(pieces_.back().size * 4, kMost);
    const std::size_t bytes = size * sizeof(Page);
    constexpr std::size_t kHugePage = std::size_t{2} << 20U;
    const bool huge = bytes >= 2 * kHugePage;
    // The bytes are filled or never looked at: clearing them first would cost as much as reading
    // them.
    void* memory = ::operator new (bytes, std::align_val_t{huge ? kHugePage : alignof(Page)});
    // A fault for each page of it would cost as much, too.
    if (huge) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
    pieces_.push_back(
        {{static_cast<Page*>(memory),
          huge ? [](Page* p) { ::operator delete (p, std::align_val_t{kHugePage}); }
               : [](Page* p) { ::operator delete (p, std::align_val_t{alignof(Page)}); }},
         size});
    used_ = 0;
  }
  return ::new (&pieces_.back().pages.get()[used_++]) Page;
}

const PageCache::Page* PageCache::find(std::uint64_t number) const {
  if (last_ != nullptr && last_number_ == number) return last_;
  const auto found = pages_.find(number);
  if (found == pages_.end()) return nullptr;
  last_number_ = number;
  last_ = found->second;
  return last_;
}

PageCache::~PageCache() {
  budget().return_work(work_drawn_);
  budget().drop(pages_.size() * kPageSize);
}

bool PageCache::draw(std::uint64_t cost) const {
  constexpr std::uint64_t kAtOnce = 65'536;
  // What is copied already can be looked at for long, too.
  if (!budget().has_time()) {
    budget().set_spent();
    return false;
  }
  const std::uint64_t needed = cost - work_drawn_;
  std::uint64_t drawn = std::min(std::max(needed, kAtOnce), work_left_);
  bool enough = drawn >= needed && budget().work(drawn);
  if (!enough && needed <= work_left_) {
    drawn = needed;
    enough = budget().work(drawn);
  }
  if (!enough) {
    work_left_ = 0;
    budget().set_spent();
    return false;
  }
  work_left_ -= drawn;
  work_drawn_ += drawn - cost;
  return true;
}

ReadStatus PageCache::try_read(RemoteAddr at, std::span<std::byte> out) const {
  if (!at.plus(out.size())) return ReadStatus::Fault;
  std::uint64_t address = at.raw();
  while (!out.empty()) {
    const Page* page = find(address / kPageSize);
    if (page == nullptr) return ReadStatus::Pending;
    if (page->status != ReadStatus::Ok) return page->status;
    const std::uint64_t offset = address % kPageSize;
    const std::size_t n = std::min<std::size_t>(out.size(), kPageSize - offset);
    std::memcpy(out.data(), page->bytes.data() + offset, n);
    out = out.subspan(n);
    address += n;
  }
  return ReadStatus::Ok;
}

void PageCache::fetch(std::span<const RemoteRange> ranges) const {
  // A page is in pages_ from the moment when it is wanted, so that a page that is named many times
  // counts once against the budget.
  std::vector<std::uint64_t> missing;
  for (const RemoteRange& range : ranges) {
    if (range.size == 0 || !range.start.plus(range.size)) continue;
    const std::uint64_t last = (range.start.raw() + range.size - 1) / kPageSize;
    for (std::uint64_t number = range.start.raw() / kPageSize; number <= last; ++number) {
      if (pages_.contains(number)) continue;
      if (pages_.size() >= most_pages_ || !budget().copy(kPageSize) || !budget().keep(kPageSize)) {
        budget().set_spent();
        break;
      }
      Page* page = make_page();
      page->status = ReadStatus::Pending;
      pages_[number] = page;
      missing.push_back(number);
    }
  }
  std::sort(missing.begin(), missing.end());

  std::vector<ReadRequest> requests;
  requests.reserve(missing.size());
  for (const std::uint64_t number : missing)
    requests.push_back({RemoteAddr{number * kPageSize}, pages_[number]->bytes});
  if (requests.empty()) return;
  source_.read_many(requests);
  for (std::size_t i = 0; i < missing.size(); ++i)
    pages_[missing[i]]->status = requests[i].status;
}

void PageCache::read_many(std::span<ReadRequest> requests) const {
  std::vector<RemoteRange> missing;
  for (ReadRequest& request : requests) {
    request.status = spend(request.out.size()) ? try_read(request.at, request.out)
                     : budget().has_time()     ? ReadStatus::OverBudget
                                               : ReadStatus::TimedOut;
    if (request.status == ReadStatus::Pending) {
      missing.push_back({request.at, request.out.size()});
    } else if (request.status != ReadStatus::Ok) {
      ++failures_;
    }
  }
  if (missing.empty()) return;
  fetch(missing);
  for (ReadRequest& request : requests) {
    if (request.status != ReadStatus::Pending) continue;
    request.status = try_read(request.at, request.out);
    // Still not there after a fetch: fetch() stops at the budget.
    if (request.status == ReadStatus::Pending) request.status = ReadStatus::OverBudget;
    if (request.status != ReadStatus::Ok) ++failures_;
  }
}

}  // namespace pyscope
