// The index of .eh_frame, compared with the one that the linker made, and of sections that lie.
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/unique_fd.hpp"
#include "elf/elf_image.hpp"
#include "native/eh_frame.hpp"
#include "paged_memory.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

/// Bytes, written in order.
class Section {
 public:
  template <class T>
  Section& put(T value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof value);
    return *this;
  }
  Section& text(const char* value) {
    for (const char* c = value; *c != '\0'; ++c)
      put(*c);
    return put('\0');
  }
  /// A CIE whose functions are encoded in this way. Returns where it begins.
  std::size_t cie(std::uint8_t encoding) {
    const std::size_t begin = bytes.size();
    put(std::uint32_t{16}).put(std::uint32_t{0}).put(std::uint8_t{1}).text("zR");
    // Alignments, the return address, and one byte for the encoding.
    put(std::uint8_t{1}).put(std::uint8_t{0x78}).put(std::uint8_t{16}).put(std::uint8_t{1});
    put(encoding).put(std::uint8_t{0}).put(std::uint8_t{0}).put(std::uint8_t{0});
    return begin;
  }
  /// An FDE of a function whose address is four bytes, relative to their own place.
  std::size_t fde(std::size_t cie_at, std::int32_t function, std::uint32_t size = 16) {
    const std::size_t begin = bytes.size();
    put(std::uint32_t{16}).put(static_cast<std::uint32_t>(begin + 4 - cie_at));
    put(function).put(size).put(std::uint32_t{0});
    return begin;
  }

  std::vector<std::byte> bytes;
};

constexpr RemoteAddr kAt{0x10'0000};
constexpr RemoteAddr kBase{0x8'0000};
constexpr std::uint8_t kRelative4 = 0x1B;
constexpr std::uint8_t kAbsolute8 = 0x00;

std::vector<UnwindTableEntry> index_of(const Section& section) {
  return index_eh_frame(section.bytes, kAt, kBase);
}

std::int32_t offset(std::uint64_t address) {
  return static_cast<std::int32_t>(address - kBase.raw());
}

bool before(const UnwindTableEntry& a, const UnwindTableEntry& b) {
  return a.function != b.function ? a.function < b.function : a.description < b.description;
}

}  // namespace

TEST_CASE("eh_frame: the index of the test's own program is the one that its linker made") {
  struct Program {
    std::uint64_t bias = 0;
    std::uint64_t header = 0;
  } program;
  // The first one is the program itself.
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        auto& found = *static_cast<Program*>(result);
        found.bias = info->dlpi_addr;
        for (std::size_t i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            found.header = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        }
        return 1;
      },
      &program);
  REQUIRE(program.header != 0);
  const auto* words = reinterpret_cast<const std::int32_t*>(program.header);
  std::vector<UnwindTableEntry> linked;
  for (std::int32_t i = 0; i < words[2]; ++i)
    linked.push_back({words[3 + 2 * i], words[4 + 2 * i]});
  REQUIRE(linked.size() > 1000);

  const UniqueFd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  const auto elf = read_elf(file.get());
  REQUIRE(elf);
  const ElfSection* section = elf->section(".eh_frame");
  REQUIRE(section != nullptr);
  const RemoteAddr at{program.bias + section->address};
  const std::span bytes(reinterpret_cast<const std::byte*>(at.raw()), section->size);
  auto made = index_eh_frame(bytes, at, RemoteAddr{program.header});
  std::sort(made.begin(), made.end(), before);
  std::sort(linked.begin(), linked.end(), before);
  CHECK(made == linked);
}

TEST_CASE("eh_frame: functions of several CIEs are sorted by address") {
  Section section;
  const std::size_t relative = section.cie(kRelative4);
  const std::size_t second = section.fde(relative, 0x100);
  const std::size_t absolute = section.cie(kAbsolute8);
  const std::size_t first = section.bytes.size();
  section.put(std::uint32_t{20}).put(static_cast<std::uint32_t>(first + 4 - absolute));
  section.put(std::uint64_t{0x9'0000}).put(std::uint64_t{16});
  const std::size_t third = section.fde(relative, 0x100);
  section.put(std::uint32_t{0});
  const auto table = index_of(section);
  REQUIRE(table.size() == 3);
  CHECK(table[0] == UnwindTableEntry{offset(0x9'0000), offset(kAt.raw() + first)});
  CHECK(table[1] ==
        UnwindTableEntry{offset(kAt.raw() + second + 8 + 0x100), offset(kAt.raw() + second)});
  CHECK(table[2].description == offset(kAt.raw() + third));
}

TEST_CASE("eh_frame: what makes no sense is left out, or ends the index") {
  Section section;
  const std::size_t cie = section.cie(kRelative4);
  section.fde(cie, 0x100);
  SECTION("the mark of the end") {
    section.put(std::uint32_t{0}).fde(cie, 0x200);
    CHECK(index_of(section).size() == 1);
  }
  SECTION("a length beyond the end") {
    section.put(std::uint32_t{0x1000'0000}).put(std::uint32_t{24});
    CHECK(index_of(section).size() == 1);
  }
  SECTION("a long length that wraps around") {
    section.put(std::numeric_limits<std::uint32_t>::max());
    section.put(std::numeric_limits<std::uint64_t>::max() - 8);
    CHECK(index_of(section).size() == 1);
  }
  SECTION("a CIE before the section") {
    section.put(std::uint32_t{16}).put(std::uint32_t{0x7000'0000});
    section.put(std::uint64_t{0}).put(std::uint32_t{0});
    section.fde(cie, 0x200);
    CHECK(index_of(section).size() == 2);
  }
  SECTION("an FDE that is its own CIE") {
    const auto at = section.bytes.size();
    section.put(std::uint32_t{16}).put(std::uint32_t{4});
    section.put(std::uint64_t{0}).put(std::uint32_t{0});
    section.fde(at, 0x200);
    section.fde(cie, 0x300);
    CHECK(index_of(section).size() <= 4);
  }
  SECTION("an encoding that nobody uses") {
    const std::size_t odd = section.cie(0x3A);
    section.fde(odd, 0x200);
    section.fde(cie, 0x300);
    CHECK(index_of(section).size() == 2);
  }
  SECTION("a function too far away for the table") {
    const std::size_t absolute = section.cie(kAbsolute8);
    const std::size_t at = section.bytes.size();
    section.put(std::uint32_t{20}).put(static_cast<std::uint32_t>(at + 4 - absolute));
    section.put(std::uint64_t{0xFFFF'FFFF'0000'0000}).put(std::uint64_t{16});
    CHECK(index_of(section).size() == 1);
  }
  SECTION("an augmentation without an end") {
    section.put(std::uint32_t{9}).put(std::uint32_t{0}).put(std::uint8_t{1});
    section.put(std::uint32_t{0x52525A7A});
    section.fde(section.bytes.size() - 13, 0x200);
    CHECK(index_of(section).size() <= 2);
  }
}

TEST_CASE("eh_frame: a section that is cut off anywhere has the functions before that") {
  Section section;
  const std::size_t cie = section.cie(kRelative4);
  std::vector<std::size_t> ends;
  for (int i = 0; i < 8; ++i) {
    section.fde(cie, 0x100 * i);
    ends.push_back(section.bytes.size());
  }
  const auto bytes = section.bytes;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    CAPTURE(size);
    const auto whole = static_cast<std::size_t>(
        std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= size; }));
    // Where it can be read beyond its end is for the sanitizer to see.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<long>(size));
    CHECK(index_eh_frame(cut, kAt, kBase).size() == whole);
  }
}

TEST_CASE(
    "eh_frame: whatever bytes are changed, the index ends and isn't larger than the section") {
  Section section;
  for (int i = 0; i < 4; ++i) {
    const std::size_t cie = section.cie(i % 2 == 0 ? kRelative4 : kAbsolute8);
    for (int n = 0; n < 4; ++n)
      section.fde(cie, 0x100 * n);
  }
  std::mt19937 random(1);
  constexpr int kRounds = 3000;
  constexpr std::size_t kSmallest = 8;  // of an entry: its length and its distance
  for (int round = 0; round < kRounds; ++round) {
    auto bytes = section.bytes;
    for (int i = 0; i < 3; ++i)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random() % 5 == 0 ? 0xFF : random());
    CHECK(index_eh_frame(bytes, kAt, kBase).size() <= bytes.size() / kSmallest);
  }
}

TEST_CASE(
    "eh_frame: the linker's table is used where it is, and made where it isn't to be trusted") {
  PagedMemory memory;
  MappedImage image;
  image.start = RemoteAddr{0x40'0000};
  image.load_bias = 0x40'0000;
  image.segments.push_back({.p_type = PT_GNU_EH_FRAME,
                            .p_flags = PF_R,
                            .p_offset = 0x2000,
                            .p_vaddr = 0x2000,
                            .p_paddr = 0x2000,
                            .p_filesz = 12,
                            .p_memsz = 12,
                            .p_align = 4});
  Section header;
  header.put(std::uint8_t{1}).put(std::uint8_t{0x1B}).put(std::uint8_t{0x03});
  const std::uint8_t encoding = GENERATE(std::uint8_t{0x3B}, std::uint8_t{0x1B});
  const std::uint32_t count = GENERATE(2U, 4'000'000'001U);
  header.put(encoding).put(std::int32_t{0xFFC}).put(count);
  memory.write(RemoteAddr{0x40'2000}, header.bytes);
  Section frames;
  const std::size_t cie = frames.cie(kRelative4);
  frames.fde(cie, 0x100);
  frames.put(std::uint32_t{0});
  memory.write(RemoteAddr{0x40'3000}, frames.bytes);

  const bool good = encoding == 0x3B && count == 2;
  const auto no_file = find_unwind_table(memory, image, nullptr);
  CHECK(no_file.entries == (good ? 2 : 0));
  const auto found = find_unwind_table(memory, image, [&](RemoteAddr, const char* name) {
    CHECK(std::string(name) == ".eh_frame");
    return std::optional(ElfSection{".eh_frame", 0x3000, frames.bytes.size()});
  });
  CHECK(found.entries == (good ? 2 : 1));
  CHECK(found.made.size() == (good ? 0 : 1));
  // A section of any size, that memory doesn't hold.
  const auto endless = find_unwind_table(memory, image, [&](RemoteAddr, const char*) {
    return std::optional(ElfSection{".eh_frame", 0x3000, std::uint64_t{1} << 60U});
  });
  CHECK(endless.entries == (good ? 2 : 0));
}

namespace {

constexpr std::uint8_t kNegateState = 0x2D;

/// Operations behind a CIE, in the FDE of a function; returns where those are with the code.
std::vector<std::uint64_t> operations_in(const std::vector<std::uint8_t>& operations,
                                         std::uint8_t encoding = kRelative4) {
  Section section;
  const std::size_t cie = section.cie(encoding);
  const std::size_t fde = section.bytes.size();
  const std::size_t pointer = encoding == kAbsolute8 ? 8 : 4;
  // The distance to the CIE, the function's begin and size, and no data of an augmentation.
  section.put(static_cast<std::uint32_t>(4 + 2 * pointer + 1 + operations.size()));
  section.put(static_cast<std::uint32_t>(fde + 4 - cie));
  for (std::size_t i = 0; i < 2 * pointer; ++i)
    section.put(std::uint8_t{1});
  section.put(std::uint8_t{0});
  const std::size_t first = section.bytes.size();
  for (const std::uint8_t byte : operations)
    section.put(byte);
  section.put(kNegateState);  // of what comes behind
  PagedMemory memory;
  memory.write(kAt, section.bytes);
  std::vector<std::uint64_t> found;
  for (const RemoteAddr at : find_operations(memory, kAt + fde, kNegateState))
    found.push_back(at.raw() - kAt.raw() - first);
  return found;
}

}  // namespace

TEST_CASE("eh_frame: operations are told from the operands of others") {
  using Places = std::vector<std::uint64_t>;
  const std::uint8_t encoding = GENERATE(kRelative4, kAbsolute8);
  CHECK(operations_in({0x2D}, encoding) == Places{0});
  CHECK(operations_in({}, encoding).empty());
  // DW_CFA_advance_loc, def_cfa_offset 45, offset r29 45, negate, advance_loc1 45, negate, nop.
  CHECK(operations_in({0x41, 0x0E, 0x2D, 0x9D, 0x2D, 0x2D, 0x02, 0x2D, 0x2D, 0x00}, encoding) ==
        Places{5, 8});
  // In numbers of several bytes, in advances, and in expressions.
  CHECK(operations_in({0x0C, 0xAD, 0x2D, 0x2D, 0x03, 0x2D, 0x2D, 0x04, 0x2D, 0x2D, 0x2D,
                       0x2D, 0x0F, 2,    0x2D, 0x2D, 0x10, 0x2D, 1,    0x2D, 0x2D},
                      encoding) == Places{20});
  CHECK(operations_in({0x05, 0x2D, 0x2D, 0x07, 0x2D, 0x16, 0x2D, 1, 0x2D, 0xDD, 0x0A, 0x0B, 0x2D},
                      encoding) == Places{12});
  // What isn't known, and what has no end, ends it.
  CHECK(operations_in({0x2D, 0x3F, 0x2D}, encoding) == Places{0});
  CHECK(operations_in({0x2D, 0x0F, 0xFF, 0xFF, 0x03, 0x2D}, encoding) == Places{0});
  CHECK(operations_in(
            {0x2D, 0x0E, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x2D},
            encoding) == Places{0});
}

TEST_CASE("eh_frame: descriptions are found by their functions, or not at all") {
  Section section;
  const std::size_t cie = section.cie(kRelative4);
  std::vector<std::size_t> descriptions;
  for (std::int32_t i = 0; i < 9; ++i)
    descriptions.push_back(section.fde(cie, 0x1000 * i));
  UnwindTable table;
  table.base = kBase;
  table.made = index_of(section);
  table.entries = table.made.size();
  PagedMemory memory;
  if (GENERATE(false, true)) {
    table.at = RemoteAddr{0x40'0000};
    memory.write(table.at, std::as_bytes(std::span(table.made)));
    table.made.clear();
  }
  for (std::size_t i = 0; i < descriptions.size(); ++i) {
    const RemoteAddr function = kAt + descriptions[i] + 8 + 0x1000 * i;
    CHECK(find_description(memory, table, function) == kAt + descriptions[i]);
    CHECK_FALSE(find_description(memory, table, function + 1));
  }
  CHECK_FALSE(find_description(memory, table, RemoteAddr{0x7000'0000'0000}));
  memory.pages.clear();
  if (table.at) CHECK_FALSE(find_description(memory, table, kAt + descriptions[0] + 8));
}

TEST_CASE("eh_frame: descriptions that make no sense have no operations") {
  PagedMemory memory;
  CHECK(find_operations(memory, kAt, kNegateState).empty());
  memory.map(kAt, 0x1000);
  CHECK(find_operations(memory, kAt, kNegateState).empty());
  memory.put(kAt, std::uint32_t{0xFFFFFFFF});
  CHECK(find_operations(memory, kAt, kNegateState).empty());
  memory.put(kAt, std::uint32_t{100});
  CHECK(find_operations(memory, kAt, kNegateState).empty());  // a CIE
  memory.put(kAt + 4, std::uint32_t{0x7000'0000});
  CHECK(find_operations(memory, kAt, kNegateState).empty());
  memory.put(kAt + 4, std::uint32_t{4});  // itself
  CHECK(find_operations(memory, kAt, kNegateState).size() <= 100);
}
