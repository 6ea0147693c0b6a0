// ELF files made in memory, a byte at a time where that is needed.
#include "elf/elf_image.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "elf_headers.hpp"

using namespace pyscope;

namespace {

/// A small shared library: two segments, the sections .PyRuntime and .text, and a .dynsym with one
/// defined symbol. Tests change its headers before they ask for the bytes.
class ElfBuilder {
 public:
  ElfBuilder() {
    header.e_shentsize = sizeof(Elf64_Shdr);

    segments = {{PT_LOAD, PF_R | PF_X, 0, 0, 0, 0x1000, 0x1000, 0x1000},
                {PT_GNU_STACK, PF_R, 0, 0, 0, 0, 0, 16},
                {PT_LOAD, PF_R | PF_W, 0x1000, 0x3000, 0x3000, 0x800, 0x900, 0x1000}};
    std::string names(1, '\0');
    std::string strings(1, '\0');
    const auto add = [](std::string& table, const char* name) {
      const std::size_t offset = table.size();
      table += name;
      table += '\0';
      return static_cast<Elf64_Word>(offset);
    };
    Elf64_Sym undefined{};
    undefined.st_name = add(strings, "Py_Version");
    Elf64_Sym runtime{};
    runtime.st_name = add(strings, "_PyRuntime");
    runtime.st_shndx = kRuntime;
    runtime.st_value = 0x3100;
    add(strings, "PyErr_Occurred");
    const std::vector<Elf64_Sym> symbols{Elf64_Sym{}, undefined, runtime};

    sections.resize(7);
    sections[kText] = {add(names, ".text"), SHT_PROGBITS, SHF_ALLOC, 0x400, 0, 0x200, 0, 0, 16, 0};
    sections[kRuntime] = {add(names, ".PyRuntime"),
                          SHT_PROGBITS,
                          SHF_ALLOC | SHF_WRITE,
                          0x3100,
                          0,
                          0x300,
                          0,
                          0,
                          32,
                          0};
    sections[kSymbols] = {add(names, ".dynsym"), SHT_DYNSYM, SHF_ALLOC, 0x600, 0, 0, kStrings, 1, 8,
                          sizeof(Elf64_Sym)};
    sections[kStrings] = {add(names, ".dynstr"), SHT_STRTAB, SHF_ALLOC, 0x700, 0, 0, 0, 0, 1, 0};
    sections[kNames] = {add(names, ".names"), SHT_STRTAB, 0, 0, 0, 0, 0, 0, 1, 0};
    sections[kComment] = {add(names, ".comment"), SHT_PROGBITS, 0, 0, 0, 0, 0, 0, 1, 0};

    // The header, the segments, the contents of the sections, the section headers.
    header.e_phoff = sizeof header;
    header.e_phnum = static_cast<Elf64_Half>(segments.size());
    contents_at_ = header.e_phoff + segments.size() * sizeof(Elf64_Phdr);
    place(kSymbols, symbols.data(), symbols.size() * sizeof(Elf64_Sym));
    place(kStrings, strings.data(), strings.size());
    place(kNames, names.data(), names.size());
    header.e_shoff = (contents_at_ + contents_.size() + 7) / 8 * 8;
    header.e_shnum = static_cast<Elf64_Half>(sections.size());
    header.e_shstrndx = kNames;
  }

  [[nodiscard]] std::vector<std::byte> bytes() const {
    std::vector<std::byte> file(header.e_phoff);
    std::memcpy(file.data(), &header, sizeof header);
    const auto append = [&](const void* data, std::size_t size) {
      const auto* start = static_cast<const std::byte*>(data);
      file.insert(file.end(), start, start + size);
    };
    append(segments.data(), segments.size() * sizeof(Elf64_Phdr));
    append(contents_.data(), contents_.size());
    file.resize((file.size() + 7) / 8 * 8);
    append(sections.data(), sections.size() * sizeof(Elf64_Shdr));
    return file;
  }

  enum : std::uint16_t { kText = 1, kRuntime, kSymbols, kStrings, kNames, kComment };
  Elf64_Ehdr header = test::shared_library_header();
  std::vector<Elf64_Phdr> segments;
  std::vector<Elf64_Shdr> sections;

 private:
  void place(std::size_t section, const void* data, std::size_t size) {
    contents_.resize((contents_.size() + 7) / 8 * 8);
    sections[section].sh_offset = contents_at_ + contents_.size();
    sections[section].sh_size = size;
    const auto* start = static_cast<const std::byte*>(data);
    contents_.insert(contents_.end(), start, start + size);
  }

  std::uint64_t contents_at_ = 0;
  std::vector<std::byte> contents_;
};

UniqueFd file_of(std::span<const std::byte> bytes) {
  UniqueFd fd{::memfd_create("elf", MFD_CLOEXEC)};
  REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

UniqueFd file_of(const ElfBuilder& elf) {
  return file_of(elf.bytes());
}

Error refusal(const ElfBuilder& elf) {
  const auto from_file = read_elf(file_of(elf).get());
  const auto from_memory = read_elf_head(elf.bytes());
  REQUIRE_FALSE(from_file);
  REQUIRE_FALSE(from_memory);
  CHECK(from_memory.error().message == from_file.error().message);
  return from_file.error();
}

}  // namespace

TEST_CASE("a shared library is read from its file", "[elf]") {
  const auto image = read_elf(file_of(ElfBuilder()).get());
  REQUIRE(image);
  CHECK(image->position_independent);
  CHECK(image->machine == EM_X86_64);
  REQUIRE(image->segments.size() == 2);  // those that are loaded
  CHECK(image->segments[0].address == 0);
  CHECK_FALSE(image->segments[0].writable);
  CHECK(image->segments[1].address == 0x3000);
  CHECK(image->segments[1].file_offset == 0x1000);
  CHECK(image->segments[1].file_size == 0x800);
  CHECK(image->segments[1].writable);
  const ElfSection* runtime = image->section(".PyRuntime");
  REQUIRE(runtime != nullptr);
  CHECK(runtime->address == 0x3100);
  CHECK(runtime->size == 0x300);
  CHECK(image->section(".text") != nullptr);
  CHECK(image->section(".comment") == nullptr);  // not loaded
  CHECK(image->section("PyRuntime") == nullptr);
}

TEST_CASE("a shared library is read from its first bytes in memory but for its sections", "[elf]") {
  const ElfBuilder elf;
  const auto bytes = elf.bytes();
  const auto image = read_elf_head(bytes);
  REQUIRE(image);
  CHECK(image->segments.size() == 2);
  CHECK(image->sections.empty());
  // The second segment that is loaded has the third header.
  const std::size_t all = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
  CHECK(read_elf_head(std::span{bytes}.first(all))->segments.size() == 2);
  CHECK(read_elf_head(std::span{bytes}.first(all - 1))->segments.size() == 1);
  CHECK(read_elf_head(std::span{bytes}.first(sizeof(Elf64_Ehdr)))->segments.empty());
  CHECK_FALSE(read_elf_head(std::span{bytes}.first(sizeof(Elf64_Ehdr) - 1)));
}

TEST_CASE("an executable has a fixed address", "[elf]") {
  ElfBuilder elf;
  elf.header.e_type = ET_EXEC;
  CHECK_FALSE(read_elf(file_of(elf).get())->position_independent);
}

TEST_CASE("what is no program for this kind of machine is refused by its name", "[elf]") {
  ElfBuilder elf;
  std::string expected;
  SECTION("32-bit") {
    elf.header.e_ident[EI_CLASS] = ELFCLASS32;
    expected = "a 32-bit program";
  }
  SECTION("big-endian") {
    elf.header.e_ident[EI_DATA] = ELFDATA2MSB;
    expected = "a big-endian program";
  }
  SECTION("an object file") {
    elf.header.e_type = ET_REL;
    expected = "not an executable or a shared library";
  }
  SECTION("a core file") {
    elf.header.e_type = ET_CORE;
    expected = "not an executable or a shared library";
  }
  SECTION("no ELF file") {
    elf.header.e_ident[EI_MAG0] = '#';
    expected = "not an ELF file";
  }
  SECTION("too many segments") {
    elf.header.e_phnum = PN_XNUM;
    expected = "an ELF file with 65535 segments and 7 sections";
  }
  SECTION("too many sections") {
    elf.header.e_shnum = 0xFFFF;
    expected = "an ELF file with 3 segments and 65535 sections";
  }
  const Error error = refusal(elf);
  CHECK(error.kind == ErrorKind::Unsupported);
  CHECK(error.message == expected);
}

TEST_CASE("an empty file and one that can not be read are no ELF files", "[elf]") {
  CHECK(read_elf(file_of(std::span<const std::byte>{}).get()).error().message == "not an ELF file");
  CHECK(read_elf(-1).error().message == "not an ELF file");
  CHECK_FALSE(find_dynamic_symbol(-1, "_PyRuntime"));
}

TEST_CASE("without section headers the segments are still read", "[elf]") {
  ElfBuilder elf;
  SECTION("none") {
    elf.header.e_shoff = 0;
  }
  SECTION("a count of zero") {
    elf.header.e_shnum = 0;
  }
  SECTION("of an unknown size") {
    elf.header.e_shentsize = 48;
  }
  SECTION("without one for the names") {
    elf.header.e_shstrndx = elf.header.e_shnum;
  }
  SECTION("with the index of their names elsewhere") {
    elf.header.e_shstrndx = SHN_XINDEX;
  }
  SECTION("beyond the end of the file") {
    elf.header.e_shoff = std::numeric_limits<std::uint64_t>::max() - 7;
  }
  SECTION("that reach beyond the end of the file") {
    elf.header.e_shnum = 8;
  }
  const UniqueFd file = file_of(elf);
  const auto image = read_elf(file.get());
  REQUIRE(image);
  CHECK(image->segments.size() == 2);
  CHECK(image->section(".PyRuntime") == nullptr);
  CHECK_FALSE(find_dynamic_symbol(file.get(), "_PyRuntime"));
}

TEST_CASE("segments that are not in the file are left out", "[elf]") {
  ElfBuilder elf;
  SECTION("of an unknown size") {
    elf.header.e_phentsize = 32;
  }
  SECTION("at an offset beyond the file") {
    elf.header.e_phoff = 1U << 20U;
  }
  SECTION("at an offset that no file has") {
    elf.header.e_phoff = std::numeric_limits<std::uint64_t>::max() - 63;
  }
  SECTION("more than the file holds") {
    elf.header.e_phnum = 1000;
  }
  const std::uint64_t offset = elf.header.e_phoff;
  elf.header.e_phoff = sizeof(Elf64_Ehdr);
  auto bytes = elf.bytes();
  elf.header.e_phoff = offset;
  std::memcpy(bytes.data(), &elf.header, sizeof elf.header);
  const auto image = read_elf(file_of(bytes).get());
  REQUIRE(image);
  CHECK(image->segments.empty());
  CHECK(image->section(".PyRuntime") != nullptr);
  CHECK(read_elf_head(bytes).has_value());
}

TEST_CASE("sections whose names can not be read have none", "[elf]") {
  ElfBuilder elf;
  Elf64_Shdr& names = elf.sections[ElfBuilder::kNames];
  SECTION("a name beyond all names") {
    elf.sections[ElfBuilder::kRuntime].sh_name = std::numeric_limits<Elf64_Word>::max();
  }
  SECTION("names beyond the file") {
    names.sh_offset = std::numeric_limits<std::uint64_t>::max() - 100;
  }
  SECTION("more names than the file holds") {
    names.sh_size = 1U << 30U;
  }
  SECTION("no names at all") {
    names.sh_type = SHT_NOBITS;
  }
  const auto image = read_elf(file_of(elf).get());
  REQUIRE(image);
  CHECK(image->segments.size() == 2);
  CHECK(image->section(".PyRuntime") == nullptr);
}

TEST_CASE("a name that its table cuts off ends there", "[elf]") {
  ElfBuilder elf;
  elf.sections[ElfBuilder::kNames].sh_size = 7 + 10;  // without the zero after .PyRuntime
  CHECK(read_elf(file_of(elf).get())->section(".PyRuntime") != nullptr);
}

TEST_CASE("a dynamic symbol is found by its whole name", "[elf]") {
  const UniqueFd file = file_of(ElfBuilder());
  CHECK(find_dynamic_symbol(file.get(), "_PyRuntime") == 0x3100);
  CHECK_FALSE(find_dynamic_symbol(file.get(), "_PyRun"));
  CHECK_FALSE(find_dynamic_symbol(file.get(), "_PyRuntime2"));
  CHECK_FALSE(find_dynamic_symbol(file.get(), "Py_Version"));      // needed and not defined
  CHECK_FALSE(find_dynamic_symbol(file.get(), "PyErr_Occurred"));  // only a string
}

TEST_CASE("a table of dynamic symbols that makes no sense has none", "[elf]") {
  ElfBuilder elf;
  Elf64_Shdr& symbols = elf.sections[ElfBuilder::kSymbols];
  SECTION("names in a section that is not there") {
    symbols.sh_link = 0xFFFF;
  }
  SECTION("names beyond the file") {
    elf.sections[ElfBuilder::kStrings].sh_offset = std::numeric_limits<std::uint64_t>::max();
  }
  SECTION("beyond the file") {
    symbols.sh_offset = std::uint64_t{1} << 62U;
  }
  SECTION("larger than the file") {
    symbols.sh_size = std::uint64_t{1} << 40U;
  }
  SECTION("half a symbol") {
    symbols.sh_size = sizeof(Elf64_Sym) / 2;
  }
  SECTION("without content") {
    symbols.sh_type = SHT_NOBITS;
  }
  CHECK_FALSE(find_dynamic_symbol(file_of(elf).get(), "_PyRuntime"));
}

TEST_CASE("a file that is cut anywhere is read as far as it goes", "[elf]") {
  const auto bytes = ElfBuilder().bytes();
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const UniqueFd file = file_of(std::span{bytes}.first(size));
    const auto image = read_elf(file.get());
    CHECK(image.has_value() == (size >= sizeof(Elf64_Ehdr)));
    if (image && image->section(".PyRuntime") != nullptr) {
      CHECK(image->section(".PyRuntime")->address == 0x3100);
    }
    const auto symbol = find_dynamic_symbol(file.get(), "_PyRuntime");
    if (symbol) CHECK(*symbol == 0x3100);
  }
}

TEST_CASE("a file with any byte changed is read without harm", "[elf]") {
  const auto bytes = ElfBuilder().bytes();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {0x00, 0x7F, 0x80, 0xFF}) {
      auto changed = bytes;
      if (changed[at] == static_cast<std::byte>(change)) continue;
      changed[at] = static_cast<std::byte>(change);
      const UniqueFd file = file_of(changed);
      (void)read_elf(file.get());
      (void)find_dynamic_symbol(file.get(), "_PyRuntime");
      (void)read_elf_head(changed);
    }
  }
  SUCCEED();
}

TEST_CASE("this test program is an ELF file with sections", "[elf]") {
  const UniqueFd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
  const auto image = read_elf(file.get());
  REQUIRE(image);
  CHECK_FALSE(image->segments.empty());
  CHECK(image->section(".text") != nullptr);
  CHECK(image->section(".PyRuntime") == nullptr);
  CHECK_FALSE(find_dynamic_symbol(file.get(), "_PyRuntime"));
}
