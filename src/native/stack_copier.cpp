#include "native/stack_copier.hpp"

#include <algorithm>
#include <utility>

namespace pyscope {
namespace {

constexpr std::uint64_t kPage = 4096;

/// Where the mapping of an address ends; for a thread that is newer than the maps, not far beyond.
std::uint64_t end_of_mapping(std::span<const Mapping> maps, RemoteAddr at, std::uint64_t beyond) {
  if (const Mapping* mapping = find_mapping(maps, at)) {
    return mapping->range.start.raw() + mapping->range.size;
  }
  const auto end = at.plus(beyond);
  return end ? end->raw() / kPage * kPage : at.raw();
}

/// Keeps the bytes before the first page that can't be read.
void keep_readable(const Memory& memory, StackPiece& piece) {
  std::vector<ReadRequest> parts;
  const std::span<std::byte> bytes(piece.bytes);
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t to_page_end = kPage - (piece.at.raw() + at) % kPage;
    const std::size_t size = std::min(to_page_end, bytes.size() - at);
    parts.push_back({piece.at + at, bytes.subspan(at, size)});
    at += size;
  }
  memory.read_many(parts);
  std::size_t good = 0;
  for (const ReadRequest& part : parts) {
    if (part.status != ReadStatus::Ok) break;
    good += part.out.size();
  }
  piece.bytes.resize(good);
}

}  // namespace

void StackCopier::add(NativeState& state, std::span<const RemoteAddr> entries) {
  const RemoteAddr sp = state.registers.sp();
  if (sp.raw() < Registers::kRedZone) return;
  const RemoteAddr begin{sp.raw() - Registers::kRedZone};
  const std::uint64_t end = end_of_mapping(maps_, sp, kBeyond);
  RemoteAddr last = sp;
  // An address elsewhere belongs to another stack, if it belongs to one.
  RemoteAddr other_first;
  RemoteAddr other_last;
  for (const RemoteAddr entry : entries) {
    if (entry >= begin && entry.raw() < end) {
      last = std::max(last, entry);
    } else if (!other_first) {
      other_first = entry;
      other_last = entry;
    } else if (entry > other_last && entry.raw() - other_first.raw() < kMaxPiece) {
      other_last = entry;
    }
  }
  want(state, begin, last);
  if (other_first.raw() > kBeyond) want(state, RemoteAddr{other_first.raw() - kBeyond}, other_last);
}

void StackCopier::want(NativeState& state, RemoteAddr begin, RemoteAddr last) {
  const std::uint64_t mapped = end_of_mapping(maps_, last, kBeyond);
  const auto beyond = last.plus(kBeyond);
  const std::uint64_t end = std::min(beyond ? beyond->raw() : mapped, mapped);
  if (end <= begin.raw()) return;
  // A thread may be asked for more than once: with sub-interpreters it has several Python stacks.
  for (auto& [wanted_for, range] : wanted_) {
    if (wanted_for != &state || range.start != begin) continue;
    const std::uint64_t larger = std::min(end - begin.raw(), kMaxPiece);
    if (larger > range.size) {
      const std::uint64_t more = std::min(larger - range.size, budget_);
      budget_ -= more;
      range.size += more;
    }
    return;
  }
  const std::uint64_t size = std::min({end - begin.raw(), kMaxPiece, budget_});
  if (size == 0) return;
  budget_ -= size;
  wanted_.push_back({&state, {begin, size}});
}

void StackCopier::copy(const Memory& memory) {
  std::vector<StackPiece> pieces;
  pieces.reserve(wanted_.size());
  std::vector<ReadRequest> requests;
  requests.reserve(wanted_.size());
  for (const auto& [state, range] : wanted_) {
    pieces.push_back({range.start, std::vector<std::byte>(range.size)});
    requests.push_back({range.start, pieces.back().bytes});
  }
  memory.read_many(requests);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (requests[i].status != ReadStatus::Ok) keep_readable(memory, pieces[i]);
    wanted_[i].state->stack.push_back(std::move(pieces[i]));
  }
}

}  // namespace pyscope
