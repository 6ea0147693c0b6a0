#include "elf/dwarf.hpp"

#include <algorithm>
#include <cstring>

namespace pyscope {
namespace {

constexpr std::size_t kMaxStringBytes = 4096;
// Bound (bytes): one compressed debug section
constexpr std::uint64_t kMaxInflatedBytes = std::uint64_t{256} << 20U;  // of one section

}  // namespace

using namespace dwarf;

DebugSection::DebugSection(const ElfFile& file, std::string_view name, DebugBudget& budget) {
  const ElfSectionHeader* header = file.section(name);
  if (header == nullptr || header->type == SHT_NOBITS) return;
  if ((header->flags & SHF_COMPRESSED) != 0) {
    inflated_ = file.contents(*header, std::min(kMaxInflatedBytes, budget.inflated));
    budget.inflated -= inflated_.size();
    size_ = inflated_.size();
    return;
  }
  file_ = &file;
  offset_ = header->offset;
  size_ = header->size;
}

std::size_t DebugSection::read(std::uint64_t at, std::span<std::byte> out) const {
  if (at >= size_) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), size_ - at));
  if (file_ == nullptr) {
    std::memcpy(out.data(), inflated_.data() + at, out.size());
    return out.size();
  }
  const std::uint64_t in_file = offset_ + at;
  return in_file >= offset_ && file_->read(in_file, out) ? out.size() : 0;
}

std::uint64_t DebugCursor::sized(std::uint64_t size) {
  switch (size) {
    case 1:
      return u8();
    case 2:
      return u16();
    case 3: {
      const std::uint64_t low = u16();
      return low | std::uint64_t{u8()} << 16U;
    }
    case 4:
      return u32();
    case 8:
      return u64();
    default:
      fail();
      return 0;
  }
}

std::uint64_t DebugCursor::uleb() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    const std::uint8_t byte = u8();
    if (shift < 64) value |= std::uint64_t{byte & 0x7FU} << shift;
    if ((byte & 0x80U) == 0) return value;
  }
  fail();
  return 0;
}

std::int64_t DebugCursor::sleb() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    const std::uint8_t byte = u8();
    if (shift < 64) value |= std::uint64_t{byte & 0x7FU} << shift;
    if ((byte & 0x80U) != 0) continue;
    if (shift + 7 < 64 && (byte & 0x40U) != 0) value |= ~std::uint64_t{0} << (shift + 7);
    return static_cast<std::int64_t>(value);
  }
  fail();
  return 0;
}

std::string DebugCursor::string() {
  std::string text;
  while (text.size() < kMaxStringBytes) {
    const auto c = static_cast<char>(u8());
    if (failed_) return {};
    if (c == '\0') return text;
    text += c;
  }
  fail();
  return {};
}

DebugValue read_value(DebugCursor& at, std::uint64_t form, const DebugEncoding& encoding,
                      std::int64_t implicit) {
  DebugValue value{form, 0, {}};
  switch (form) {
    case FormAddr:
      value.number = at.sized(encoding.address_size);
      break;
    case FormData1:
    case FormFlag:
    case FormRef1:
    case FormStrx1:
    case FormAddrx1:
      value.number = at.u8();
      break;
    case FormData2:
    case FormRef2:
    case FormStrx2:
    case FormAddrx2:
      value.number = at.u16();
      break;
    case FormStrx3:
    case FormAddrx3:
      value.number = at.sized(3);
      break;
    case FormData4:
    case FormRef4:
    case FormRefSup4:
    case FormStrx4:
    case FormAddrx4:
      value.number = at.u32();
      break;
    case FormData8:
    case FormRef8:
    case FormRefSig8:
    case FormRefSup8:
      value.number = at.u64();
      break;
    case FormData16:
      at.skip(16);
      break;
    case FormSdata:
      value.number = static_cast<std::uint64_t>(at.sleb());
      break;
    case FormUdata:
    case FormRefUdata:
    case FormStrx:
    case FormAddrx:
    case FormLoclistx:
    case FormRnglistx:
    case FormGnuAddrIndex:
    case FormGnuStrIndex:
      value.number = at.uleb();
      break;
    case FormStrp:
    case FormLineStrp:
    case FormSecOffset:
    case FormStrpSup:
    case FormGnuRefAlt:
    case FormGnuStrpAlt:
      value.number = at.offset(encoding.offset_size);
      break;
    case FormRefAddr:
      value.number =
          encoding.version <= 2 ? at.sized(encoding.address_size) : at.offset(encoding.offset_size);
      break;
    case FormString:
      value.text = at.string();
      break;
    case FormBlock1:
      at.skip(at.u8());
      break;
    case FormBlock2:
      at.skip(at.u16());
      break;
    case FormBlock4:
      at.skip(at.u32());
      break;
    case FormBlock:
    case FormExprloc:
      at.skip(at.uleb());
      break;
    case FormFlagPresent:
      value.number = 1;
      break;
    case FormImplicitConst:
      value.number = static_cast<std::uint64_t>(implicit);
      break;
    default:
      at.fail();  // also FormIndirect, which nobody writes: how long it is isn't known
  }
  return value;
}

/// The length that a unit of any kind begins with, after which it ends.
std::uint64_t read_unit_length(DebugCursor& at, DebugEncoding& encoding) {
  std::uint64_t length = at.u32();
  encoding.offset_size = 4;
  if (length == 0xFFFFFFFF) {
    encoding.offset_size = 8;
    length = at.u64();
  } else if (length >= 0xFFFFFFF0) {
    at.fail();
  }
  return length;
}

}  // namespace pyscope
