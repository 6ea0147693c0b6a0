// The pieces of debug information (DWARF, versions 2 to 5), as they stand in the file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elf/elf_file.hpp"

namespace pyscope {

/// The work that may still be done for debug information. All files share it, so that many files
/// cost no more than one.
struct DebugBudget {
  // Bound (bytes): compressed debug sections of a process
  std::uint64_t inflated = std::uint64_t{512} << 20U;  // bytes of sections that are compressed
  // Bound: units of debug information
  std::uint64_t units = std::uint64_t{1} << 20U;
  // Bound (bytes): abbreviations of debug information
  std::uint64_t abbreviations = std::uint64_t{256} << 20U;  // bytes of them
  // Bound: ranges of addresses of its units
  std::uint64_t ranges = std::uint64_t{1} << 21U;  // of addresses of units
  // Bound (bytes): line tables
  std::uint64_t line_tables = std::uint64_t{256} << 20U;  // bytes of them
  // Bound: rows of line tables
  std::uint64_t rows = std::uint64_t{1} << 24U;  // of line tables
};

namespace dwarf {

// From the standard (DWARF 5, section 7), by its names (DW_FORM_addr: FormAddr).
enum : std::uint64_t {
  TagCompileUnit = 0x11,
  TagSkeletonUnit = 0x4a,
};
enum : std::uint8_t {
  UnitCompile = 0x01,
  UnitType = 0x02,
  UnitSkeleton = 0x04,
  UnitSplitCompile = 0x05,
  UnitSplitType = 0x06,
};
enum : std::uint64_t {
  AtStmtList = 0x10,
  AtLowPc = 0x11,
  AtHighPc = 0x12,
  AtCompDir = 0x1b,
  AtRanges = 0x55,
  AtStrOffsetsBase = 0x72,
  AtAddrBase = 0x73,
  AtRnglistsBase = 0x74,
  AtGnuAddrBase = 0x2133,
};
enum : std::uint64_t {
  FormAddr = 0x01,
  FormBlock2 = 0x03,
  FormBlock4 = 0x04,
  FormData2 = 0x05,
  FormData4 = 0x06,
  FormData8 = 0x07,
  FormString = 0x08,
  FormBlock = 0x09,
  FormBlock1 = 0x0a,
  FormData1 = 0x0b,
  FormFlag = 0x0c,
  FormSdata = 0x0d,
  FormStrp = 0x0e,
  FormUdata = 0x0f,
  FormRefAddr = 0x10,
  FormRef1 = 0x11,
  FormRef2 = 0x12,
  FormRef4 = 0x13,
  FormRef8 = 0x14,
  FormRefUdata = 0x15,
  FormSecOffset = 0x17,
  FormExprloc = 0x18,
  FormFlagPresent = 0x19,
  FormStrx = 0x1a,
  FormAddrx = 0x1b,
  FormRefSup4 = 0x1c,
  FormStrpSup = 0x1d,
  FormData16 = 0x1e,
  FormLineStrp = 0x1f,
  FormRefSig8 = 0x20,
  FormImplicitConst = 0x21,
  FormLoclistx = 0x22,
  FormRnglistx = 0x23,
  FormRefSup8 = 0x24,
  FormStrx1 = 0x25,
  FormStrx2 = 0x26,
  FormStrx3 = 0x27,
  FormStrx4 = 0x28,
  FormAddrx1 = 0x29,
  FormAddrx2 = 0x2a,
  FormAddrx3 = 0x2b,
  FormAddrx4 = 0x2c,
  FormGnuAddrIndex = 0x1f01,
  FormGnuStrIndex = 0x1f02,
  FormGnuRefAlt = 0x1f20,
  FormGnuStrpAlt = 0x1f21,
};
enum : std::uint8_t {
  RangeEndOfList = 0,
  RangeBaseAddressx = 1,
  RangeStartxEndx = 2,
  RangeStartxLength = 3,
  RangeOffsetPair = 4,
  RangeBaseAddress = 5,
  RangeStartEnd = 6,
  RangeStartLength = 7,
};
enum : std::uint8_t {
  LineExtended = 0,
  LineCopy = 1,
  LineAdvancePc = 2,
  LineAdvanceLine = 3,
  LineSetFile = 4,
  LineConstAddPc = 8,
  LineFixedAdvancePc = 9,
};
enum : std::uint8_t { LineExtendedEndSequence = 1, LineExtendedSetAddress = 2 };
enum : std::uint64_t { LineContentPath = 1, LineContentDirectoryIndex = 2 };

}  // namespace dwarf

/// One section of debug information, read where it is looked at.
class DebugSection {
 public:
  DebugSection() = default;
  /// Empty if the file has no such section, or if the section can't be decompressed within bounds.
  DebugSection(const ElfFile& file, std::string_view name, DebugBudget& budget);

  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// How much of it there is from here on, at most as much as fits; 0 also if it can't be read.
  [[nodiscard]] std::size_t read(std::uint64_t at, std::span<std::byte> out) const;

 private:
  const ElfFile* file_ = nullptr;  // none: what was inflated, or nothing
  std::uint64_t offset_ = 0;
  std::uint64_t size_ = 0;
  std::vector<std::byte> inflated_;
};

/// Goes through a section from an offset on. A value that can't be read is 0, and from then on the
/// cursor has failed.
class DebugCursor {
 public:
  DebugCursor(const DebugSection& section, std::uint64_t at,
              std::uint64_t end = std::numeric_limits<std::uint64_t>::max())
      : section_(&section), buffer_at_(at), end_(std::min(end, section.size())) {
    if (at > end_) fail();
  }

  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::uint64_t at() const { return buffer_at_ + used_; }
  [[nodiscard]] bool at_end() const { return failed_ || at() >= end_; }
  void fail() { failed_ = true; }

  /// From here on nothing beyond it is read.
  void end_at(std::uint64_t end) {
    if (end > end_ || end < at()) fail();
    end_ = std::min(end, end_);
  }
  void skip(std::uint64_t bytes) {
    if (failed_ || bytes > end_ - at()) return fail();
    move_to(at() + bytes);
  }
  void move_to(std::uint64_t to) {
    if (to > end_) return fail();
    if (to >= buffer_at_ && to - buffer_at_ <= filled_) {
      used_ = static_cast<std::size_t>(to - buffer_at_);
    } else {
      buffer_at_ = to;
      used_ = filled_ = 0;
    }
  }

  template <class T>
  T fixed() {
    T value{};
    if (!have(sizeof value)) return {};
    std::memcpy(&value, buffer_.data() + used_, sizeof value);
    used_ += sizeof value;
    return value;
  }
  std::uint8_t u8() { return fixed<std::uint8_t>(); }
  std::uint16_t u16() { return fixed<std::uint16_t>(); }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::uint64_t u64() { return fixed<std::uint64_t>(); }
  /// 4 or 8 bytes.
  std::uint64_t offset(std::uint8_t size) { return size == 8 ? u64() : u32(); }
  std::uint64_t sized(std::uint64_t size);
  std::uint64_t uleb();
  std::int64_t sleb();
  /// Up to its zero; fails if that doesn't come soon.
  std::string string();

 private:
  bool have(std::size_t bytes) {
    if (failed_ || bytes > end_ - at()) {
      fail();
      return false;
    }
    if (bytes <= filled_ - used_) return true;
    buffer_at_ += used_;
    used_ = 0;
    filled_ = section_->read(buffer_at_, buffer_);
    if (filled_ < bytes) fail();
    return !failed_;
  }

  const DebugSection* section_;
  std::array<std::byte, 2048> buffer_;
  std::uint64_t buffer_at_;  // in the section
  std::size_t used_ = 0;
  std::size_t filled_ = 0;
  std::uint64_t end_;
  bool failed_ = false;
};

/// How the values of a unit are written.
struct DebugEncoding {
  std::uint16_t version = 0;
  std::uint8_t offset_size = 4;
  std::uint8_t address_size = 8;
};

/// The value of an attribute as it is written; what it means takes other sections.
struct DebugValue {
  std::uint64_t form = 0;  // 0: there is none
  std::uint64_t number = 0;
  std::string text;  // FormString
};

/// An attribute's value. Fails the cursor for a form whose length isn't known. `implicit` is what
/// the abbreviation holds for DW_FORM_implicit_const.
[[nodiscard]] DebugValue read_value(DebugCursor& at, std::uint64_t form,
                                    const DebugEncoding& encoding, std::int64_t implicit = 0);

/// The length that a unit of any kind begins with, after which it ends.
[[nodiscard]] std::uint64_t read_unit_length(DebugCursor& at, DebugEncoding& encoding);

}  // namespace pyscope
