// Code that compilers made at run time and told debuggers of: lists of ELF files in memory, as LLVM
// and CPython write them, and such that lie.
#include <elf.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "elf_headers.hpp"
#include "memory/live_memory.hpp"
#include "native/registered_code.hpp"
#include "native/unwinder.hpp"
#include "paged_memory.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

constexpr RemoteAddr kDescriptor{0x10'000};
constexpr RemoteAddr kEntries{0x20'000};
constexpr RemoteAddr kFiles{0x30'000};
constexpr RemoteAddr kCode{0x7000'0000};

/// Two functions, of 16 and of 32 bytes, in one file.
struct ObjectFile {
  /// Where the code was put; its .eh_frame is behind it.
  explicit ObjectFile(std::uint16_t of_type, RemoteAddr at = kCode, const std::string& prefix = "")
      : type(of_type), code(at), first(prefix + "first"), second(prefix + "second") {}

  /// The address, as an encoded pointer of .eh_frame has it: itself, in eight bytes. Relocated or
  /// not yet.
  [[nodiscard]] std::vector<std::byte> eh_frame(bool relocated) const {
    std::vector<std::byte> bytes;
    const auto put = [&](auto value) {
      const auto* begin = reinterpret_cast<const std::byte*>(&value);
      bytes.insert(bytes.end(), begin, begin + sizeof value);
    };
    const auto put_all = [&](std::initializer_list<std::uint8_t> values) {
      for (const std::uint8_t value : values)
        put(value);
    };
    // The caller's stack pointer is 32 bytes above, behind the return address.
    put(std::uint32_t{20});
    put(std::uint32_t{0});
    put_all({1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x00, 0x0C, 7, 32, 0x90, 1, 0, 0});
    put(std::uint32_t{28});
    put(std::uint32_t{28});
    put(relocated ? code.raw() : 0);
    put(std::uint64_t{48});
    put_all({0, 0, 0, 0, 0, 0, 0, 0});
    put(std::uint32_t{0});
    return bytes;
  }
  [[nodiscard]] RemoteAddr eh_frame_at() const { return code + 0x100; }

  [[nodiscard]] std::vector<std::byte> bytes() const {
    const bool placed = type == ET_REL;
    const auto frames = eh_frame(!placed);
    std::string strings(1, '\0');
    const auto name = [&](const std::string& text) {
      const auto at = static_cast<std::uint32_t>(strings.size());
      strings += text + '\0';
      return at;
    };
    constexpr std::uint16_t kTextSection = 1;
    std::vector<Elf64_Sym> symbols(1);
    const auto add_symbol = [&](const std::string& text, std::uint64_t offset, std::uint64_t size) {
      Elf64_Sym symbol{};
      symbol.st_name = name(text);
      symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
      symbol.st_shndx = kTextSection;
      symbol.st_value = offset + (placed ? 0 : code.raw());
      symbol.st_size = size;
      symbols.push_back(symbol);
    };
    add_symbol(first, 0, 16);
    add_symbol(second, 16, 32);

    Elf64_Ehdr header = test::shared_library_header();
    header.e_type = type;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 5;
    header.e_shstrndx = 4;
    std::vector<Elf64_Shdr> sections(header.e_shnum);
    std::vector<std::byte> all(sizeof header);
    const auto add_section = [&](std::size_t index, const char* text, std::uint32_t kind,
                                 std::uint64_t flags, RemoteAddr at, const void* data,
                                 std::size_t size) {
      Elf64_Shdr& section = sections[index];
      section.sh_name = name(text);
      section.sh_type = kind;
      section.sh_flags = flags;
      section.sh_addr = at.raw();
      section.sh_offset = all.size();
      section.sh_size = size;
      const auto* begin = static_cast<const std::byte*>(data);
      all.insert(all.end(), begin, begin + size);
    };
    const std::vector<std::byte> text(48, std::byte{0x90});
    add_section(kTextSection, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, code, text.data(),
                text.size());
    add_section(2, tables.c_str(), SHT_PROGBITS, SHF_ALLOC, eh_frame_at(), frames.data(),
                frames.size());
    add_section(3, ".symtab", SHT_SYMTAB, 0, {}, symbols.data(),
                symbols.size() * sizeof(Elf64_Sym));
    sections[3].sh_link = 4;
    sections[3].sh_entsize = sizeof(Elf64_Sym);
    const auto strings_name = name(".strtab");
    add_section(4, "", SHT_STRTAB, 0, {}, strings.data(), strings.size());
    sections[4].sh_name = strings_name;
    header.e_shoff = all.size();
    const auto* begin = reinterpret_cast<const std::byte*>(sections.data());
    all.insert(all.end(), begin, begin + sections.size() * sizeof(Elf64_Shdr));
    std::memcpy(all.data(), &header, sizeof header);
    return all;
  }

  std::uint16_t type;
  RemoteAddr code;
  std::string first;
  std::string second;
  std::string tables = ".eh_frame";  // what their section is called
};

struct Entry {
  std::uint64_t next = 0;
  std::uint64_t previous = 0;
  std::uint64_t file = 0;
  std::uint64_t size = 0;
};

/// A list of files in memory, the last one added in front.
struct List {
  explicit List(std::uint32_t version = 1) { put_head(version, 0); }

  void put_head(std::uint32_t version, std::uint64_t first) {
    memory.put(kDescriptor, version);
    memory.put(kDescriptor + 16, first);
  }
  /// Returns where the entry is.
  RemoteAddr add(const ObjectFile& file) {
    const auto bytes = file.bytes();
    const RemoteAddr at = kFiles + 0x1000 * entries.size();
    memory.write(at, bytes);
    if (file.type == ET_REL) memory.write(file.eh_frame_at(), file.eh_frame(true));
    const RemoteAddr entry = kEntries + sizeof(Entry) * entries.size();
    entries.push_back({entries.empty() ? 0 : entry.raw() - sizeof(Entry), 0, at.raw(),
                       static_cast<std::uint64_t>(bytes.size())});
    memory.put(entry, entries.back());
    put_head(1, entry.raw());
    return entry;
  }

  PagedMemory memory;
  std::vector<Entry> entries;
  Log log;
};

std::string name_at(RegisteredCode& code, RemoteAddr at) {
  const auto found = code.find(at);
  return found ? found->name : "";
}

}  // namespace

TEST_CASE("registered code: functions have the names in the files that are registered") {
  // As LLVM makes them, and as CPython does.
  const std::uint16_t type = GENERATE(std::uint16_t{ET_REL}, std::uint16_t{ET_DYN});
  CAPTURE(type);
  List list;
  list.add(ObjectFile(type));
  list.add(ObjectFile(type, kCode + 0x1000, "other_"));
  RegisteredCode code(list.memory, list.log);
  CHECK_FALSE(code.holds(kCode));
  code.add_list(kDescriptor);
  CHECK(code.holds(kCode));
  CHECK(name_at(code, kCode) == "first");
  CHECK(name_at(code, kCode + 15) == "first");
  CHECK(name_at(code, kCode + 16) == "second");
  CHECK(code.find(kCode + 47).value().address == kCode.raw() + 16);
  CHECK(name_at(code, kCode + 48) == "");
  CHECK_FALSE(code.holds(kCode + 48));
  CHECK_FALSE(code.holds(RemoteAddr{kCode.raw() - 1}));
  CHECK(name_at(code, kCode + 0x1000) == "other_first");
}

TEST_CASE("registered code: the newest file counts for an address") {
  List list;
  list.add(ObjectFile(ET_DYN, kCode, "old_"));
  list.add(ObjectFile(ET_DYN, kCode, "new_"));
  RegisteredCode code(list.memory, list.log);
  code.add_list(kDescriptor);
  CHECK(name_at(code, kCode) == "new_first");
}

TEST_CASE("registered code: a list that is no good costs nothing but itself") {
  List list;
  list.add(ObjectFile(ET_REL));
  RemoteAddr last = list.add(ObjectFile(ET_REL, kCode + 0x1000));
  bool first = true;
  bool second = true;
  SECTION("of another version") {
    list.put_head(2, last.raw());
    first = second = false;
  }
  SECTION("without memory behind it") {
    list.put_head(1, 0x6000'0000);
    first = second = false;
  }
  SECTION("an entry that can't be read") {
    list.memory.put(last, Entry{0x6000'0000, 0, list.entries[1].file, list.entries[1].size});
    first = false;
  }
  SECTION("a circle") {
    list.memory.put(kEntries, Entry{last.raw(), 0, list.entries[0].file, list.entries[0].size});
    RegisteredCode code(list.memory, list.log);
    code.add_list(kDescriptor);
    CHECK(list.memory.calls < 20);
  }
  SECTION("a file that can't be read") {
    list.memory.put(last, Entry{kEntries.raw(), 0, 0x6000'0000, 100});
    second = false;
  }
  SECTION("a file that is smaller than it says") {
    list.memory.put(last, Entry{kEntries.raw(), 0, list.entries[1].file, 100});
    second = false;
  }
  SECTION("a file without an end") {
    list.memory.put(last, Entry{kEntries.raw(), 0, list.entries[1].file, ~std::uint64_t{0}});
    // Its headers can be read, so its code is known.
    RegisteredCode code(list.memory, list.log);
    code.add_list(kDescriptor);
    CHECK(code.holds(kCode + 0x1000));
    CHECK(name_at(code, kCode + 0x1000) == "");
    second = false;
  }
  RegisteredCode code(list.memory, list.log);
  code.add_list(kDescriptor);
  CHECK((name_at(code, kCode) == "first") == first);
  CHECK((name_at(code, kCode + 0x1000) == "first") == second);
}

TEST_CASE("registered code: whatever bytes are changed, it ends") {
  const std::uint16_t type = GENERATE(std::uint16_t{ET_REL}, std::uint16_t{ET_DYN});
  const std::size_t size = ObjectFile(type).bytes().size();
  for (std::size_t at = 0; at < size; ++at) {
    for (const auto value : std::array<std::uint8_t, 3>{0x00, 0x7F, 0xFF}) {
      List list;
      list.add(ObjectFile(type));
      list.memory.put(kFiles + at, value);
      RegisteredCode code(list.memory, list.log);
      code.add_list(kDescriptor);
      const std::string name = name_at(code, kCode + 20);
      CHECK(name.size() < size);
      const UnwindTable* table = code.unwind_table(kCode + 20);
      if (table != nullptr) CHECK(table->entries <= size);
    }
  }
}

#if defined(__x86_64__)

TEST_CASE("registered code: stacks are unwound by the tables in the files") {
  const std::uint16_t type = GENERATE(std::uint16_t{ET_REL}, std::uint16_t{ET_DYN});
  CAPTURE(type);
  List list;
  list.add(ObjectFile(type));
  RegisteredCode code(list.memory, list.log);
  code.add_list(kDescriptor);
  // Nothing else lies where the tables count from.
  if (type == ET_DYN) list.memory.unmap(kCode + 0x100);

  constexpr RemoteAddr kStack{0x7100'0000};
  Mapping mapping;
  mapping.range = {kCode, 0x1000};
  mapping.readable = mapping.executable = true;
  const std::vector<Mapping> maps{mapping};
  NativeState state;
  state.registers.set(kCode + 4, kStack);
  state.stack.push_back({kStack, std::vector<std::byte>(0x100)});
  const auto put_word = [&](std::size_t at, std::uint64_t value) {
    std::memcpy(state.stack[0].bytes.data() + at, &value, sizeof value);
  };
  // What an earlier call has left there, and what frame pointers lead to.
  put_word(0, kCode.raw() + 8);
  state.registers.set_frame_pointer(kStack + 0x40);
  put_word(0x40, kStack.raw() + 0x80);
  put_word(0x48, kCode.raw() + 12);
  // The return addresses.
  put_word(24, kCode.raw() + 20);
  put_word(32 + 24, 0);

  MappedImages images(list.memory, maps);
  Unwinder unwinder(list.memory, images, nullptr,
                    [&](RemoteAddr at) { return code.unwind_table(at); });
  const NativeWalk walk = unwinder.walk(state);
  CAPTURE(walk.error);
  CHECK(walk.error.empty());
  REQUIRE(walk.frames.size() == 2);
  CHECK(walk.frames[1].pc == kCode + 20);
  CHECK(walk.frames[1].stack.start == kStack + 32);
  CHECK_FALSE(walk.frames[1].guessed);
}

TEST_CASE("registered code: callers of code that has a name alone are the nearest known ones") {
  List list;
  ObjectFile bare(ET_DYN);
  bare.tables = ".nothing";
  list.add(bare);
  ObjectFile caller(ET_DYN, kCode + 0x1000);
  caller.tables = ".nothing";
  list.add(caller);
  list.add(ObjectFile(ET_DYN, kCode + 0x2000));
  list.memory.map(kCode, 0x4000);
  for (const std::uint64_t place : {0x1014U, 0x2014U, 0x2028U}) {
    const std::array<std::uint8_t, 2> call{0xFF, 0xD0};  // *%rax
    list.memory.put(RemoteAddr{kCode.raw() + place - 2}, call);
  }
  RegisteredCode code(list.memory, list.log);
  code.add_list(kDescriptor);

  constexpr RemoteAddr kStack{0x7100'0000};
  Mapping mapping;
  mapping.range = {kCode, 0x4000};
  mapping.readable = mapping.executable = true;
  const std::vector<Mapping> maps{mapping};
  NativeState state;
  state.registers.set(kCode + 4, kStack);
  state.stack.push_back({kStack, std::vector<std::byte>(0x100)});
  const auto put_word = [&](std::size_t at, std::uint64_t value) {
    std::memcpy(state.stack[0].bytes.data() + at, &value, sizeof value);
  };
  put_word(0, kCode.raw() + 0x1000 + 20);
  put_word(8, kCode.raw() + 0x2000 + 20);
  // The register for frame pointers is still one of a caller's.
  state.registers.set_frame_pointer(kStack + 0x40);
  put_word(0x40, kStack.raw() + 0x80);
  put_word(0x48, kCode.raw() + 0x2000 + 40);

  MappedImages images(list.memory, maps);
  Unwinder unwinder(list.memory, images, nullptr,
                    [&](RemoteAddr at) { return code.unwind_table(at); });
  const NativeWalk walk = unwinder.walk(state);
  CAPTURE(walk.error);
  CHECK(walk.error.empty());
  REQUIRE(walk.frames.size() == 3);
  CHECK(walk.frames[1].pc == kCode + 0x1000 + 20);
  CHECK(walk.frames[1].guessed);
  CHECK(walk.frames[2].pc == kCode + 0x2000 + 20);
  CHECK(walk.frames[2].guessed);
}

#endif
