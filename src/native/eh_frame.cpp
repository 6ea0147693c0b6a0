#include "native/eh_frame.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>

namespace pyscope {
namespace {

// How a pointer is encoded (DW_EH_PE_…): its form in the lower half, what it is relative to in the
// upper.
constexpr std::uint8_t kForm = 0x0F;
constexpr std::uint8_t kAddress = 0x00;
constexpr std::uint8_t kUnsigned4 = 0x03;
constexpr std::uint8_t kUnsigned8 = 0x04;
constexpr std::uint8_t kSigned4 = 0x0B;
constexpr std::uint8_t kSigned8 = 0x0C;
constexpr std::uint8_t kRelation = 0x70;
constexpr std::uint8_t kAbsolute = 0x00;
constexpr std::uint8_t kToItself = 0x10;
constexpr std::uint8_t kTableEncoding = 0x3B;  // to the header's begin, four bytes, signed

// A large program (a browser) has a quarter of each.
constexpr std::size_t kMaxFunctions = 4'000'000;
constexpr std::size_t kMaxSection = std::size_t{64} << 20U;

/// Bytes that are read in order. Reading beyond the end gives nothing, for ever.
class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, std::size_t at) : bytes_(bytes), at_(at) {}

  [[nodiscard]] std::size_t at() const { return at_; }

  template <class T>
  std::optional<T> take() {
    if (at_ > bytes_.size() || bytes_.size() - at_ < sizeof(T)) return std::nullopt;
    T value{};
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  bool skip_leb128() {
    constexpr int kLongest = 10;
    for (int i = 0; i < kLongest; ++i) {
      const auto byte = take<std::uint8_t>();
      if (!byte) return false;
      if ((*byte & 0x80U) == 0) return true;
    }
    return false;
  }
  std::optional<std::string_view> take_string() {
    const std::size_t begin = at_;
    for (;;) {
      const auto c = take<char>();
      if (!c) return std::nullopt;
      if (*c == '\0') break;
    }
    return std::string_view(reinterpret_cast<const char*>(bytes_.data()) + begin, at_ - begin - 1);
  }
  /// `itself` is where the pointer's first byte lies in memory.
  std::optional<std::uint64_t> take_pointer(std::uint8_t encoding, RemoteAddr itself) {
    std::optional<std::uint64_t> value;
    switch (encoding & kForm) {
      case kAddress:
      case kUnsigned8:
      case kSigned8:
        value = take<std::uint64_t>();
        break;
      case kUnsigned4:
        if (const auto v = take<std::uint32_t>()) value = *v;
        break;
      case kSigned4:
        if (const auto v = take<std::int32_t>())
          value = static_cast<std::uint64_t>(std::int64_t{*v});
        break;
      default:
        break;
    }
    if (!value) return std::nullopt;
    switch (encoding & kRelation) {
      case kAbsolute:
        return value;
      case kToItself:
        return *value + itself.raw();
      default:
        return std::nullopt;
    }
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_;
};

/// How the functions that share a CIE are encoded; nothing if it makes no sense.
std::optional<std::uint8_t> pointer_encoding(Bytes bytes) {
  if (!bytes.take<std::uint8_t>()) return std::nullopt;  // version
  const auto augmentation = bytes.take_string();
  if (!augmentation) return std::nullopt;
  if (augmentation->empty() || augmentation->front() != 'z') return kAddress;
  // Alignments of code and data, the register of the return address, and the size of what follows.
  for (int i = 0; i < 4; ++i) {
    if (!bytes.skip_leb128()) return std::nullopt;
  }
  for (const char c : augmentation->substr(1)) {
    switch (c) {
      case 'R':
        return bytes.take<std::uint8_t>();
      case 'L':
        if (!bytes.take<std::uint8_t>()) return std::nullopt;
        break;
      case 'P': {
        const auto encoding = bytes.take<std::uint8_t>();
        if (!encoding || !bytes.take_pointer(*encoding & kForm, {})) return std::nullopt;
        break;
      }
      default:
        break;  // 'S', 'B': nothing that takes room
    }
  }
  return kAddress;
}

std::optional<std::int32_t> distance(std::uint64_t to, RemoteAddr from) {
  const auto difference = static_cast<std::int64_t>(to - from.raw());
  if (difference < std::numeric_limits<std::int32_t>::min() ||
      difference > std::numeric_limits<std::int32_t>::max()) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(difference);
}

UnwindTable make_table(const Memory& memory, const MappedImage& image, RemoteRange section) {
  UnwindTable table;
  table.base = image.start;
  if (section.size > kMaxSection) return table;
  std::vector<std::byte> bytes(section.size);
  if (!memory.read(section.start, bytes)) return table;
  table.made = index_eh_frame(bytes, section.start, table.base);
  table.entries = table.made.size();
  return table;
}

}  // namespace

std::vector<UnwindTableEntry> index_eh_frame(std::span<const std::byte> section, RemoteAddr at,
                                             RemoteAddr base) {
  std::vector<UnwindTableEntry> table;
  std::map<std::size_t, std::optional<std::uint8_t>> encodings;  // by the CIE's offset
  std::size_t entry = 0;
  while (table.size() < kMaxFunctions) {
    Bytes bytes(section, entry);
    std::optional<std::uint64_t> length = bytes.take<std::uint32_t>();
    if (!length || *length == 0) break;
    if (*length == std::numeric_limits<std::uint32_t>::max()) length = bytes.take<std::uint64_t>();
    const std::size_t body = bytes.at();
    if (!length || body > section.size() || *length > section.size() - body) break;
    const std::size_t next = body + *length;
    const auto cie_distance = bytes.take<std::uint32_t>();
    if (!cie_distance || next <= entry) break;
    if (*cie_distance != 0 && *cie_distance <= body) {
      const std::size_t cie = body - *cie_distance;
      const auto [encoding, is_new] = encodings.try_emplace(cie);
      if (is_new) {
        // Behind its length and its own distance of 0, or the long form of them.
        Bytes head(section, cie);
        const auto short_length = head.take<std::uint32_t>();
        if (short_length == std::numeric_limits<std::uint32_t>::max()) head.take<std::uint64_t>();
        head.take<std::uint32_t>();
        encoding->second = pointer_encoding(head);
      }
      if (encoding->second) {
        const auto pointer = at.plus(bytes.at());
        const auto function =
            pointer ? bytes.take_pointer(*encoding->second, *pointer) : std::nullopt;
        const auto function_distance = function ? distance(*function, base) : std::nullopt;
        const auto description = distance(at.raw() + entry, base);
        if (function_distance && description) table.push_back({*function_distance, *description});
      }
    }
    entry = next;
  }
  std::sort(table.begin(), table.end(), [](const UnwindTableEntry& a, const UnwindTableEntry& b) {
    return a.function < b.function;
  });
  return table;
}

UnwindTable find_unwind_table(const Memory& memory, const MappedImage& image,
                              const FindSection& find_section) {
  struct Header {
    std::uint8_t version;
    std::uint8_t eh_frame_encoding;
    std::uint8_t count_encoding;
    std::uint8_t table_encoding;
    std::int32_t eh_frame;
    std::uint32_t count;
  };
  if (const Elf64_Phdr* segment = image.segment(PT_GNU_EH_FRAME)) {
    const RemoteAddr at = image.in_memory(segment->p_vaddr);
    const auto header = read_as<Header>(memory, at);
    const bool known =
        header && header->version == 1 && (header->eh_frame_encoding & kForm) != kUnsigned8 &&
        header->count_encoding == kUnsigned4 && header->table_encoding == kTableEncoding;
    if (known && header->count <= kMaxFunctions) {
      return {.base = at,
              .at = at + sizeof(Header),
              .entries = header->count,
              .made = {},
              .copied_from = {},
              .copy = {}};
    }
  }
  const auto section =
      find_section ? find_section(image.start, ".eh_frame") : std::optional<ElfSection>{};
  if (!section) return {};
  return make_table(memory, image, {image.in_memory(section->address), section->size});
}

}  // namespace pyscope
