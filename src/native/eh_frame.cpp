#include "native/eh_frame.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>

namespace pyscope {
namespace {

// How a pointer is encoded (DW_EH_PE_…): the lower half is its form, the upper half says what it is
// relative to.
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
// Bound: functions of `.eh_frame` without a search table
constexpr std::size_t kMaxFunctions = 4'000'000;
// Bound (bytes): `.eh_frame` without a search table
constexpr std::size_t kMaxSection = std::size_t{64} << 20U;

/// Bytes that are read in order. A read beyond the end gives nothing.
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
  bool skip(std::uint64_t size) {
    if (at_ > bytes_.size() || size > bytes_.size() - at_) return false;
    at_ += size;
    return true;
  }
  std::optional<std::uint64_t> take_leb128() {
    constexpr unsigned kLongest = 10;
    std::uint64_t value = 0;
    for (unsigned i = 0; i < kLongest; ++i) {
      const auto byte = take<std::uint8_t>();
      if (!byte) break;
      value |= static_cast<std::uint64_t>(*byte & 0x7FU) << (7 * i);
      if ((*byte & 0x80U) == 0) return value;
    }
    return std::nullopt;
  }
  bool skip_leb128() { return take_leb128().has_value(); }
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

/// Of a CIE, from its version on: whether its functions have data of an augmentation.
bool has_augmentation_size(Bytes bytes) {
  if (!bytes.take<std::uint8_t>()) return false;
  const auto augmentation = bytes.take_string();
  return augmentation && augmentation->starts_with('z');
}

/// How the functions that share a CIE are encoded; nothing if the CIE is invalid.
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

/// Skips the operands of an operation (DWARF 5, 6.4.2, and the GNU extensions). False for an
/// unknown operation, and if the bytes end.
bool skip_operands(Bytes& bytes, std::uint8_t code, std::uint8_t encoding) {
  constexpr std::uint8_t kWithRegister = 0xC0;  // the two upper bits name three operations
  switch (code & kWithRegister) {
    case 0x40:  // DW_CFA_advance_loc
    case 0xC0:  // DW_CFA_restore
      return true;
    case 0x80:  // DW_CFA_offset
      return bytes.skip_leb128();
    default:
      break;
  }
  const auto skip_block = [&] {
    const auto size = bytes.take_leb128();
    return size && bytes.skip(*size);
  };
  switch (code) {
    case 0x00:  // DW_CFA_nop
    case 0x0A:  // DW_CFA_remember_state
    case 0x0B:  // DW_CFA_restore_state
    case 0x2D:  // DW_CFA_AARCH64_negate_ra_state, DW_CFA_GNU_window_save
      return true;
    case 0x01:  // DW_CFA_set_loc
      return bytes.take_pointer(encoding & kForm, {}).has_value();
    case 0x02:  // DW_CFA_advance_loc1
      return bytes.skip(1);
    case 0x03:  // DW_CFA_advance_loc2
      return bytes.skip(2);
    case 0x04:  // DW_CFA_advance_loc4
      return bytes.skip(4);
    case 0x06:  // DW_CFA_restore_extended
    case 0x07:  // DW_CFA_undefined
    case 0x08:  // DW_CFA_same_value
    case 0x0D:  // DW_CFA_def_cfa_register
    case 0x0E:  // DW_CFA_def_cfa_offset
    case 0x13:  // DW_CFA_def_cfa_offset_sf
    case 0x2E:  // DW_CFA_GNU_args_size
      return bytes.skip_leb128();
    case 0x05:  // DW_CFA_offset_extended
    case 0x09:  // DW_CFA_register
    case 0x0C:  // DW_CFA_def_cfa
    case 0x11:  // DW_CFA_offset_extended_sf
    case 0x12:  // DW_CFA_def_cfa_sf
    case 0x14:  // DW_CFA_val_offset
    case 0x15:  // DW_CFA_val_offset_sf
    case 0x2F:  // DW_CFA_GNU_negative_offset_extended
      return bytes.skip_leb128() && bytes.skip_leb128();
    case 0x0F:  // DW_CFA_def_cfa_expression
      return skip_block();
    case 0x10:  // DW_CFA_expression
    case 0x16:  // DW_CFA_val_expression
      return bytes.skip_leb128() && skip_block();
    default:
      return false;
  }
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

RemoteAddr find_description(const Memory& memory, const UnwindTable& table, RemoteAddr function) {
  const auto wanted = distance(function.raw(), table.base);
  if (!wanted) return {};
  const auto entry_at = [&](std::size_t index) -> std::optional<UnwindTableEntry> {
    if (!table.at) return table.made[index];
    const auto entry =
        read_as<UnwindTableEntry>(memory, table.at, index * sizeof(UnwindTableEntry));
    return entry ? std::optional(*entry) : std::nullopt;
  };
  std::size_t begin = 0;
  std::size_t end = table.at ? table.entries : table.made.size();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    const auto entry = entry_at(middle);
    if (!entry) return {};
    if (entry->function == *wanted) {
      return RemoteAddr{table.base.raw() +
                        static_cast<std::uint64_t>(std::int64_t{entry->description})};
    }
    (entry->function < *wanted ? begin : end) = entry->function < *wanted ? middle + 1 : middle;
  }
  return {};
}

std::vector<RemoteAddr> find_operations(const Memory& memory, RemoteAddr description,
                                        std::uint8_t code) {
  // The most for one function. No function that anybody has written has more.
  constexpr std::uint32_t kMaxDescription = 1U << 20U;
  const auto contents_at = [&](RemoteAddr at) -> std::optional<std::vector<std::byte>> {
    const auto length = read_as<std::uint32_t>(memory, at);
    if (!length || *length == 0 || *length > kMaxDescription) return std::nullopt;
    std::vector<std::byte> contents(sizeof *length + *length);
    if (!memory.read(at, contents)) return std::nullopt;
    return contents;
  };
  const auto fde = contents_at(description);
  if (!fde) return {};
  Bytes bytes(*fde, sizeof(std::uint32_t));
  const auto cie_distance = bytes.take<std::uint32_t>();
  if (!cie_distance || *cie_distance == 0) return {};
  const auto cie =
      contents_at(RemoteAddr{description.raw() + sizeof(std::uint32_t) - *cie_distance});
  if (!cie) return {};
  const auto encoding = pointer_encoding(Bytes(*cie, 2 * sizeof(std::uint32_t)));
  // The function's begin and size, and what the augmentation adds.
  if (!encoding || !bytes.take_pointer(*encoding & kForm, {}) ||
      !bytes.take_pointer(*encoding & kForm, {})) {
    return {};
  }
  if (has_augmentation_size(Bytes(*cie, 2 * sizeof(std::uint32_t)))) {
    const auto size = bytes.take_leb128();
    if (!size || !bytes.skip(*size)) return {};
  }
  std::vector<RemoteAddr> found;
  for (;;) {
    const std::size_t at = bytes.at();
    const auto operation = bytes.take<std::uint8_t>();
    if (!operation) return found;
    if (*operation == code) found.push_back(description + at);
    if (!skip_operands(bytes, *operation, *encoding)) return found;
  }
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
