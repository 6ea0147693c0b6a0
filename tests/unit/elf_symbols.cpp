// Which function an address lies in, by tables made by hand, and what is refused of hostile files.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "elf/decompress.hpp"
#include "elf/elf_file.hpp"
#include "elf/symbol_table.hpp"
#include "unit/scratch_folder.hpp"
#include "unit/tool_output.hpp"

using namespace pyscope;
using test::lines_of;
using test::ScratchFolder;

namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

struct Made {
  std::string name;
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  unsigned type = STT_FUNC;
  unsigned binding = STB_GLOBAL;
  std::uint16_t section = 1;
};

/// A table of these, with one section of code at 0x1000 and one of data behind it.
SymbolTable table_of(const std::vector<Made>& made, bool with_sections = true) {
  std::string strings(1, '\0');
  std::vector<Elf64_Sym> symbols;
  for (const Made& one : made) {
    Elf64_Sym symbol{};
    symbol.st_name = static_cast<Elf64_Word>(strings.size());
    symbol.st_value = one.address;
    symbol.st_size = one.size;
    symbol.st_info = static_cast<unsigned char>(one.binding << 4U | one.type);
    symbol.st_shndx = one.section;
    symbols.push_back(symbol);
    strings += one.name + '\0';
  }
  const auto name = [strings](std::uint64_t at) {
    return at < strings.size() ? std::string(strings.c_str() + at) : std::string();
  };
  const std::vector<ElfSectionHeader> sections = {
      {},
      {".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x1000, 0x1000, 0x1000, 0},
      {".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0x2000, 0x2000, 0x1000, 0}};
  return SymbolTable(std::as_bytes(std::span{symbols}), name,
                     with_sections ? std::span{sections} : SymbolTable::Sections{});
}

std::string name_at(const SymbolTable& table, std::uint64_t address) {
  const auto found = table.find(address);
  return found ? found->name : "none";
}

UniqueFd file_of(std::span<const std::byte> bytes) {
  UniqueFd fd{::memfd_create("elf", MFD_CLOEXEC)};
  REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

std::vector<std::byte> content_of(const std::string& path) {
  const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::vector<std::byte> bytes(static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END)));
  REQUIRE(::pread(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

}  // namespace

TEST_CASE("a function is where its size reaches, and no further", "[symbols]") {
  const SymbolTable table = table_of({{"first", 0x1000, 0x10}, {"second", 0x1020, 0x20}});
  CHECK(name_at(table, 0xFFF) == "none");
  CHECK(name_at(table, 0x1000) == "first");
  CHECK(name_at(table, 0x100F) == "first");
  CHECK(name_at(table, 0x1010) == "none");
  CHECK(name_at(table, 0x1020) == "second");
  CHECK(table.find(0x103F)->address == 0x1020);
  CHECK(name_at(table, 0x1040) == "none");
  CHECK(name_at(table, kMost) == "none");
}

TEST_CASE("of nested functions the innermost is meant", "[symbols]") {
  const SymbolTable table =
      table_of({{"outer", 0x1000, 0x100}, {"inner", 0x1010, 0x10}, {"innermost", 0x1018, 0x4}});
  CHECK(name_at(table, 0x1008) == "outer");
  CHECK(name_at(table, 0x1010) == "inner");
  CHECK(name_at(table, 0x1019) == "innermost");
  CHECK(name_at(table, 0x101C) == "inner");
  CHECK(name_at(table, 0x1050) == "outer");
}

TEST_CASE("of several names the public and plain one is meant", "[symbols]") {
  const auto best = [](std::vector<Made> made) {
    const std::string name = name_at(table_of(made), 0x1000);
    // Whatever the order of the table.
    std::reverse(made.begin(), made.end());
    CHECK(name_at(table_of(made), 0x1000) == name);
    return name;
  };
  CHECK(best({{"__GI___read", 0x1000, 8, STT_FUNC, STB_LOCAL},
              {"__read", 0x1000, 8},
              {"read", 0x1000, 8, STT_FUNC, STB_WEAK}}) == "read");
  CHECK(best({{"a_local", 0x1000, 8, STT_FUNC, STB_LOCAL}, {"__long_global", 0x1000, 8}}) ==
        "__long_global");
  CHECK(best({{"longer", 0x1000, 8}, {"long", 0x1000, 8}}) == "long");
  CHECK(best({{"beta", 0x1000, 8}, {"alfa", 0x1000, 8}}) == "alfa");
  CHECK(best({{"memcpy@@GLIBC_2.14", 0x1000, 8}}) == "memcpy");
}

TEST_CASE("a function without a size reaches to the next one in its section", "[symbols]") {
  const std::vector<Made> made = {{"_start", 0x1000, 0},
                                  {"main", 0x1100, 0x10},
                                  {"_fini", 0x1F00, 0, STT_NOTYPE},
                                  {"label", 0x1E00, 0, STT_NOTYPE, STB_LOCAL},
                                  {"no_code", 0x2000, 0, STT_FUNC, STB_GLOBAL, 2},
                                  {"elsewhere", 0x1D00, 0, STT_FUNC, STB_GLOBAL, 2},
                                  {"nowhere", 0x1C00, 0, STT_FUNC, STB_GLOBAL, 77}};
  const SymbolTable table = table_of(made);
  CHECK(name_at(table, 0x10FF) == "_start");
  CHECK(name_at(table, 0x1100) == "main");
  CHECK(name_at(table, 0x1110) == "none");  // not what is left of _start
  CHECK(name_at(table, 0x1C10) == "none");
  CHECK(name_at(table, 0x1D10) == "none");
  CHECK(name_at(table, 0x1E10) == "none");
  CHECK(name_at(table, 0x1FFF) == "_fini");
  CHECK(name_at(table, 0x2000) == "none");
  // Where sections aren't known, sizes are all there is.
  CHECK(name_at(table_of(made, false), 0x1080) == "none");
  CHECK(name_at(table_of(made, false), 0x1108) == "main");
}

TEST_CASE("what is no function here doesn't count", "[symbols]") {
  const SymbolTable table = table_of({{"data", 0x1000, 0x10, STT_OBJECT},
                                      {"needed", 0x1010, 0x10, STT_FUNC, STB_GLOBAL, SHN_UNDEF},
                                      {"absolute", 0x1020, 0x10, STT_FUNC, STB_GLOBAL, SHN_ABS},
                                      {"of_thread", 0x1030, 0x10, STT_TLS},
                                      {"", 0x1040, 0x10},
                                      {"wraps", kMost - 4, 0x10},
                                      {"to_the_end", kMost - 16, 16}});
  CHECK(table.size() == 2);
  for (const std::uint64_t address : {0x1000U, 0x1010U, 0x1020U, 0x1030U, 0x1040U})
    CHECK(name_at(table, address) == "none");
  CHECK(name_at(table, kMost - 2) == "to_the_end");
}

TEST_CASE("a table of functions that overlap without end is searched within bounds", "[symbols]") {
  // One reaches over all, and the others are in the way.
  std::vector<Made> made = {{"all", 0x1000, kMost - 0x2000}};
  for (std::uint64_t i = 0; i < 100000; ++i)
    made.push_back({"small", 0x1001 + i * 4, 1});
  const SymbolTable table = table_of(made);
  CHECK(name_at(table, 0x1001 + 4) == "small");
  CHECK(name_at(table, 0x1001 + 4 + 2) == "all");
  CHECK(name_at(table, kMost / 2) == "none");  // too far
}

TEST_CASE("symbol tables that a file only pretends to have are none", "[symbols]") {
  const ScratchFolder folder;
  folder.write("a.cpp", "int main() { return 0; }\n");
  const std::string program = folder.path() / "a";
  (void)lines_of("cd " + folder.path().string() + " && g++ a.cpp -o a 2>&1");
  const auto bytes = content_of(program);
  Elf64_Ehdr header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  std::size_t symtab = 0;
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  std::memcpy(sections.data(), bytes.data() + header.e_shoff, sections.size() * sizeof(Elf64_Shdr));
  while (sections.at(symtab).sh_type != SHT_SYMTAB)
    ++symtab;
  std::uint64_t main_at = 0;
  for (const std::string& line : lines_of("nm " + program)) {
    if (line.ends_with(" main")) main_at = std::stoull(line, nullptr, 16);
  }
  std::uint64_t budget = 1U << 20U;
  const auto name_in = [&](const std::vector<std::byte>& changed) {
    const UniqueFd fd = file_of(changed);
    const auto file = ElfFile::open(fd.get());
    return file ? name_at(read_symbol_table(*file, SHT_SYMTAB, budget), main_at) : "no file";
  };
  const auto with = [&](const std::function<void(Elf64_Shdr&, Elf64_Shdr&)>& change) {
    auto altered = sections;
    change(altered[symtab], altered[altered[symtab].sh_link]);
    auto changed = bytes;
    std::memcpy(changed.data() + header.e_shoff, altered.data(),
                altered.size() * sizeof(Elf64_Shdr));
    return name_in(changed);
  };
  REQUIRE(name_in(bytes) == "main");
  CHECK(budget < 1U << 20U);
  CHECK(with([](auto& symbols, auto&) { symbols.sh_size = kMost; }) == "none");
  CHECK(with([](auto& symbols, auto&) { symbols.sh_size = 1U << 30U; }) == "none");
  CHECK(with([](auto& symbols, auto&) { symbols.sh_offset = kMost - 8; }) == "none");
  CHECK(with([](auto& symbols, auto&) { symbols.sh_link = 0xFFFF; }) == "none");
  CHECK(with([](auto& symbols, auto&) { symbols.sh_flags = SHF_COMPRESSED; }) == "none");
  CHECK(with([](auto&, auto& strings) { strings.sh_offset = kMost - 8; }) == "none");
  CHECK(with([](auto&, auto& strings) { strings.sh_size = 1; }) == "none");
  CHECK(with([](auto&, auto& strings) { strings.sh_type = SHT_NOBITS; }) == "none");
  // The file may end anywhere.
  for (std::size_t size = 0; size < bytes.size(); size += 97) {
    const auto some = std::vector(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const std::string name = name_in(some);
    CHECK((name == "none" || name == "no file"));
  }
  // Names without an end.
  auto endless = bytes;
  const Elf64_Shdr& strings = sections[sections[symtab].sh_link];
  endless.resize(strings.sh_offset);
  endless.resize(bytes.size(), std::byte{'x'});
  std::memcpy(endless.data() + header.e_shoff, sections.data(),
              sections.size() * sizeof(Elf64_Shdr));
  CHECK(name_in(endless) != "main");
  budget = 100;
  CHECK(name_in(bytes) == "none");
}

TEST_CASE("what is compressed comes out whole or not at all", "[symbols]") {
  const ScratchFolder folder;
  // A thousand times as large as it looks.
  (void)lines_of("head -c 8000000 /dev/zero | xz > " + (folder.path() / "zeros.xz").string());
  const auto xz = content_of(folder.path() / "zeros.xz");
  REQUIRE(xz.size() < 8000);
  CHECK(decode_xz(xz, 8000000) == std::vector<std::byte>(8000000));
  CHECK(decode_xz(xz, 7999999).empty());
  CHECK(decode_xz(xz, 0).empty());
  CHECK(decode_xz(std::span{xz}.first(xz.size() - 1), 8000000).empty());
  CHECK(decode_xz({}, 100).empty());
  auto damaged = xz;
  damaged[damaged.size() / 2] ^= std::byte{0xFF};
  CHECK(decode_xz(damaged, 8000000).empty());

  (void)lines_of(
      "python3 -c \"import sys, zlib; sys.stdout.buffer.write(zlib.compress(bytes(100000)))\" > " +
      (folder.path() / "zeros.z").string());
  const auto z = content_of(folder.path() / "zeros.z");
  CHECK(inflate(z, 100000) == std::vector<std::byte>(100000));
  CHECK(inflate(z, 99999).empty());
  CHECK(inflate(z, 100001).empty());
  CHECK(inflate(z, kMost).empty());
  CHECK(inflate(std::span{z}.first(z.size() / 2), 100000).empty());
  CHECK(inflate({}, 0).empty());

  (void)lines_of("head -c 100000 /dev/zero | zstd -q > " + (folder.path() / "zeros.zst").string());
  const auto zst = content_of(folder.path() / "zeros.zst");
  CHECK(decode_zstd(zst, 100000) == std::vector<std::byte>(100000));
  CHECK(decode_zstd(zst, 99999).empty());
  CHECK(decode_zstd(zst, 100001).empty());
  CHECK(decode_zstd(zst, kMost).empty());
  CHECK(decode_zstd(std::span{zst}.first(zst.size() / 2), 100000).empty());
  CHECK(decode_zstd({}, 0).empty());
}
