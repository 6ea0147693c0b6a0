#include "memory/page_cache.hpp"

#include <algorithm>
#include <cstring>

namespace pyscope {

ReadStatus PageCache::try_read(RemoteAddr at, std::span<std::byte> out) const {
  if (!at.plus(out.size())) return ReadStatus::Fault;
  std::uint64_t address = at.raw();
  while (!out.empty()) {
    const auto found = pages_.find(address / kPageSize);
    if (found == pages_.end()) return ReadStatus::Pending;
    const Page& page = *found->second;
    if (page.status != ReadStatus::Ok) return page.status;
    const std::uint64_t offset = address % kPageSize;
    const std::size_t n = std::min<std::size_t>(out.size(), kPageSize - offset);
    std::memcpy(out.data(), page.bytes.data() + offset, n);
    out = out.subspan(n);
    address += n;
  }
  return ReadStatus::Ok;
}

void PageCache::fetch(std::span<const RemoteRange> ranges) const {
  std::vector<std::uint64_t> missing;
  for (const RemoteRange& range : ranges) {
    if (range.size == 0 || !range.start.plus(range.size)) continue;
    const std::uint64_t last = (range.start.raw() + range.size - 1) / kPageSize;
    for (std::uint64_t page = range.start.raw() / kPageSize; page <= last; ++page) {
      if (missing.size() + pages_.size() >= budget_pages_) break;
      if (!pages_.contains(page)) missing.push_back(page);
    }
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  if (missing.empty()) return;

  std::vector<ReadRequest> requests;
  requests.reserve(missing.size());
  for (const std::uint64_t number : missing) {
    auto& page = pages_[number];
    // The bytes are filled or never looked at: clearing them first would cost as much as reading
    // them.
    page = std::make_unique_for_overwrite<Page>();
    page->status = ReadStatus::Pending;
    requests.push_back({RemoteAddr{number * kPageSize}, page->bytes});
  }
  source_.read_many(requests);
  for (std::size_t i = 0; i < missing.size(); ++i)
    pages_[missing[i]]->status = requests[i].status;
}

void PageCache::read_many(std::span<ReadRequest> requests) const {
  std::vector<RemoteRange> missing;
  for (ReadRequest& request : requests) {
    request.status = try_read(request.at, request.out);
    if (request.status == ReadStatus::Pending) missing.push_back({request.at, request.out.size()});
  }
  if (missing.empty()) return;
  fetch(missing);
  for (ReadRequest& request : requests) {
    if (request.status != ReadStatus::Pending) continue;
    request.status = try_read(request.at, request.out);
    // Still not there after a fetch: fetch() stops at the budget.
    if (request.status == ReadStatus::Pending) request.status = ReadStatus::OverBudget;
  }
}

}  // namespace pyscope
