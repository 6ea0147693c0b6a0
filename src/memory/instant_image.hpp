// The pages of a target as they were at one moment, for readers that take longer than the moment.
#pragma once

#include <tsl/robin_map.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pyscope/memory.hpp"

namespace pyscope {

/// Readers follow pointers, and so need many system calls, one after the other. A thread can be
/// kept from running for much less time. So a reader reads twice: first from the running target,
/// which tells the pages that it needs; then from copies of these pages, which were made all at
/// once while nothing could change them.
///
///     image.note();            // reads go to the target, and their pages are noted
///     ... read ...
///     image.prepare();
///     image.copy();            // in the moment: one system call for each 1,024 pages
///     image.serve();           // reads are answered from the copies
///     ... read ...
///     image.missed() == 0      // all that was read was of that moment
class InstantImage final : public Memory {
 public:
  static constexpr std::uint64_t kPageSize = 4096;
  /// More can't be copied before another CPU takes over the thread that is kept from running.
  // Bound: pages copied in one instant
  static constexpr std::size_t kMostPages = 2'000;

  explicit InstantImage(const Memory& source) : source_(source) {}

  void read_many(std::span<ReadRequest> requests) const override;

  /// Forgets all pages but those that were missed lately, which may be wanted again. From now on
  /// reads go to the source, and their pages are noted.
  void note();
  /// Reads go to the source, and nothing is noted.
  void pass();
  /// False if so many pages are wanted that they can't be copied at once.
  [[nodiscard]] bool prepare();
  /// Copies the pages that were noted until prepare().
  void copy();
  /// From now on reads are answered from the copies. A page that was not noted before is read from
  /// the source, and noted for the next copy.
  void serve();

  /// How many reads, since serve(), needed a page of which there is no copy.
  [[nodiscard]] std::size_t missed() const { return missed_; }
  [[nodiscard]] std::size_t pages() const { return pages_.size(); }
  /// Whether more pages were wanted than can be copied at once.
  [[nodiscard]] bool too_many() const { return too_many_; }

 private:
  enum class Mode : std::uint8_t { Pass, Note, Serve };

  void note_range(RemoteAddr at, std::size_t size) const;
  /// Pending if a page of the range has no copy.
  [[nodiscard]] ReadStatus read_copies(RemoteAddr at, std::span<std::byte> out) const;

  const Memory& source_;
  Mode mode_ = Mode::Pass;
  mutable tsl::robin_map<std::uint64_t, std::size_t> places_;  // in pages_, by page number
  mutable std::vector<std::uint64_t> pages_;                   // page numbers, as they were noted
  mutable std::vector<std::uint64_t> missed_pages_;            // the last few of all that were
  mutable bool too_many_ = false;
  mutable std::size_t missed_ = 0;
  std::vector<std::byte> bytes_;       // of the copied pages: the first of pages_
  std::vector<ReadRequest> requests_;  // one for each copied page, by address
  std::vector<ReadStatus> statuses_;   // one for each copied page
};

}  // namespace pyscope
