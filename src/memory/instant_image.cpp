#include "memory/instant_image.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace pyscope {

void InstantImage::note() {
  mode_ = Mode::Note;
  places_.clear();
  pages_.clear();
  too_many_ = false;
  statuses_.clear();
  requests_.clear();
  for (const std::uint64_t page : missed_pages_)
    note_range(RemoteAddr{page * kPageSize}, kPageSize);
}

void InstantImage::pass() {
  mode_ = Mode::Pass;
}

void InstantImage::note_range(RemoteAddr at, std::size_t size) const {
  if (size == 0 || !at.plus(size)) return;
  const std::uint64_t last = (at.raw() + size - 1) / kPageSize;
  for (std::uint64_t page = at.raw() / kPageSize; page <= last; ++page) {
    if (pages_.size() == kMostPages && !places_.contains(page)) {
      too_many_ = true;
      return;
    }
    if (!places_.emplace(page, pages_.size()).second) continue;
    pages_.push_back(page);
    constexpr std::size_t kMostMissed = kMostPages / 4;
    if (mode_ != Mode::Serve) continue;
    if (missed_pages_.size() == kMostMissed) missed_pages_.clear();
    missed_pages_.push_back(page);
  }
}

bool InstantImage::prepare() {
  if (too_many_) return false;
  // The bytes are touched here, so that no page fault of pyscope lengthens the copying.
  bytes_.assign(pages_.size() * kPageSize, std::byte{});
  std::vector<std::size_t> order(pages_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // Neighbours are copied as one range.
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return pages_[a] < pages_[b]; });
  requests_.clear();
  for (const std::size_t place : order) {
    requests_.push_back({RemoteAddr{pages_[place] * kPageSize},
                         std::span(bytes_).subspan(place * kPageSize, kPageSize)});
  }
  statuses_.assign(pages_.size(), ReadStatus::Pending);
  return true;
}

void InstantImage::copy() {
  for (ReadRequest& request : requests_)
    request.status = ReadStatus::Pending;
  source_.read_many(requests_);
}

void InstantImage::serve() {
  mode_ = Mode::Serve;
  missed_ = 0;
  for (const ReadRequest& request : requests_)
    statuses_[places_.at(request.at.raw() / kPageSize)] = request.status;
}

ReadStatus InstantImage::read_copies(RemoteAddr at, std::span<std::byte> out) const {
  if (!at.plus(out.size())) return ReadStatus::Fault;
  std::uint64_t address = at.raw();
  while (!out.empty()) {
    const auto found = places_.find(address / kPageSize);
    if (found == places_.end() || found->second >= statuses_.size()) return ReadStatus::Pending;
    const ReadStatus status = statuses_[found->second];
    if (status != ReadStatus::Ok) return status;
    const std::uint64_t offset = address % kPageSize;
    const std::size_t n = std::min<std::size_t>(out.size(), kPageSize - offset);
    std::memcpy(out.data(), bytes_.data() + found->second * kPageSize + offset, n);
    out = out.subspan(n);
    address += n;
  }
  return ReadStatus::Ok;
}

void InstantImage::read_many(std::span<ReadRequest> requests) const {
  if (mode_ == Mode::Note) {
    for (const ReadRequest& request : requests)
      note_range(request.at, request.out.size());
  }
  if (mode_ != Mode::Serve) {
    source_.read_many(requests);
    return;
  }
  std::vector<ReadRequest> missing;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    ReadRequest& request = requests[i];
    request.status = read_copies(request.at, request.out);
    if (request.status != ReadStatus::Pending) continue;
    ++missed_;
    note_range(request.at, request.out.size());
    missing.push_back({request.at, request.out});
    places.push_back(i);
  }
  if (missing.empty()) return;
  source_.read_many(missing);
  for (std::size_t i = 0; i < missing.size(); ++i)
    requests[places[i]].status = missing[i].status;
}

}  // namespace pyscope
