// Lines of source, of programs compiled here in the ways in which debug information is written. The
// judge is elfutils, for each instruction that objdump shows.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "elf/debug_lines.hpp"
#include "unit/scratch_folder.hpp"
#include "unit/tool_output.hpp"

using namespace pyscope;
using test::lines_of;
using test::ScratchFolder;

namespace {

/// An ELF file by its path.
struct File {
  explicit File(const std::string& path)
      : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), elf(ElfFile::open(fd.get()).value()) {}
  UniqueFd fd;
  ElfFile elf;
};

/// The addresses of all instructions in the code of a program, but for what fills the gaps between
/// functions: elfutils counts its first byte to the function before it.
std::vector<std::uint64_t> instructions_of(const std::string& file, std::size_t each = 1) {
  std::vector<std::uint64_t> addresses;
  std::size_t n = 0;
  for (const std::string& line : lines_of("objdump -d --no-show-raw-insn -j .text " + file)) {
    const std::size_t colon = line.find(":\t");
    if (colon == std::string::npos || line.find("nop") != std::string::npos || n++ % each != 0)
      continue;
    addresses.push_back(std::stoull(line.substr(0, colon), nullptr, 16));
  }
  return addresses;
}

/// What it says of each: "file:line".
std::vector<std::string> judge(const ScratchFolder& folder, const std::string& file,
                               const std::vector<std::uint64_t>& addresses) {
  std::string text;
  for (const std::uint64_t address : addresses)
    text += fmt::format("{:#x}\n", address);
  const auto list = folder.write("addresses", text);
  // That of Debian 12 doesn't know zstd yet.
  const std::string plain = (folder.path() / "decompressed").string();
  (void)lines_of("objcopy --decompress-debug-sections " + file + " " + plain);
  auto lines = lines_of("eu-addr2line -A -e " + plain + " < " + list.string());
  for (std::string& line : lines) {
    // Behind the line comes the column, if there is one.
    const std::size_t colon = line.find(':');
    line.resize(std::min(line.find(':', std::min(colon, line.size() - 1) + 1), line.size()));
  }
  return lines;
}

std::string shown(const std::optional<SourcePosition>& line) {
  return line ? fmt::format("{}:{}", line->file, line->line) : "??";
}

/// Two files with code in several sections, inlined functions, a function that the linker leaves
/// out, and names of source that are relative and absolute.
void write_sources(const ScratchFolder& folder) {
  folder.write("include/part.hpp",
               "#pragma once\n#include <algorithm>\n#include <vector>\n"
               "template <class T>\ninline T twice(T value) {\n  return value + value;\n}\n"
               "inline long total(const std::vector<long>& all) {\n  long sum = 0;\n"
               "  for (const long one : all) sum += twice(one);\n  return sum;\n}\n"
               "long sorted(std::vector<long> all);\n");
  folder.write("part.cpp",
               "#include \"include/part.hpp\"\n\n"
               "long unused(long value) {\n  return twice(value) * 3;\n}\n\n"
               "__attribute__((cold, noinline)) static void complain() {\n  throw 1;\n}\n\n"
               "long sorted(std::vector<long> all) {\n  if (all.empty()) complain();\n"
               "  std::sort(all.begin(), all.end());\n  return all.front() + total(all);\n}\n\n"
               "# 4711 \"/nowhere/made.y\" 1\nint made() {\n  return 7;\n}\n");
  folder.write("main.cpp",
               "#include \"include/part.hpp\"\n\nint made();\n\n"
               "int main(int argc, char**) {\n  std::vector<long> all(10);\n"
               "  for (long& one : all) one = argc++;\n"
               "  return static_cast<int>(sorted(all)) + made();\n}\n");
}

/// Compares for each instruction; or for some of them, with paths by their last names, and only
/// where there is something to compare with.
void compare_all(const ScratchFolder& folder, const std::string& file, std::size_t each = 1) {
  const bool all = each == 1;
  const File opened(file);
  REQUIRE(DebugLines::are_in(opened.elf));
  DebugBudget budget;
  DebugLines lines(opened.elf, budget);
  const auto addresses = instructions_of(file, each);
  const auto expected = judge(folder, file, addresses);
  REQUIRE(addresses.size() == expected.size());
  std::size_t known = 0;
  std::string wrong;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto part = [&](const std::string& text) {
      return all ? text : text.substr(text.rfind('/') + 1);
    };
    const std::string found = part(shown(lines.find(addresses[i])));
    const bool has_line = !expected[i].ends_with(":0");
    if (!has_line && !all) continue;
    const std::string right = has_line ? part(expected[i]) : "??";
    if (has_line) ++known;
    if (found != right) wrong += fmt::format("{:#x}: {} and not {}\n", addresses[i], found, right);
  }
  CHECK(wrong == "");
  CHECK(known > 100);
}

}  // namespace

namespace {

/// Compiles the sources with each of these commands, and compares all lines with the judge's.
void check_lines_of(const std::vector<std::string>& compilers) {
  const ScratchFolder folder;
  write_sources(folder);
  const std::string program = folder.path() / "program";
  for (const std::string& compiler : compilers) {
    CAPTURE(compiler);
    (void)lines_of("cd " + folder.path().string() + " && " + compiler +
                   " main.cpp part.cpp -o program 2>&1");
    compare_all(folder, program);
  }
}

}  // namespace

// A case for each kind, since on a busy machine compiling takes long.
TEST_CASE("each instruction has its line in DWARF 2 to 4", "[lines]") {
  check_lines_of({"g++ -O0 -gdwarf-2", "g++ -O2 -gdwarf-3", "g++ -O2 -gdwarf-4"});
}
TEST_CASE("each instruction has its line in DWARF 5", "[lines]") {
  check_lines_of({"g++ -O2 -gdwarf-5", "g++ -O2 -gdwarf-5 -gdwarf64",
                  "g++ -O2 -gdwarf-5 -gno-as-loc-support"});
}
TEST_CASE("each instruction has its line in compressed sections", "[lines]") {
  check_lines_of(
      {"g++ -O2 -gdwarf-5 -gz=zlib", "g++ -O2 -gdwarf-5 -Wl,--compress-debug-sections=zstd"});
}
TEST_CASE("each instruction has its line in split debug information", "[lines]") {
  check_lines_of({"g++ -O2 -gdwarf-5 -gsplit-dwarf", "g++ -O2 -gdwarf-4 -gsplit-dwarf"});
}
TEST_CASE("each instruction has its line in programs that are linked otherwise", "[lines]") {
  check_lines_of({"g++ -O2 -gdwarf-5 -flto",
                  "g++ -O1 -gdwarf-4 -ffunction-sections -Wl,--gc-sections",
                  "g++ -O1 -gdwarf-5 -static-pie"});
}
TEST_CASE("each instruction has its line in what clang writes", "[lines]") {
  if (std::system("command -v clang++-14 >/dev/null") != 0) {
    WARN("there is no clang++-14 here, so what it writes isn't tested");
    return;
  }
  // Without .debug_aranges, which only the judge needs, the judge would find nothing.
  check_lines_of(
      {"clang++-14 -O2 -gdwarf-4 -gdwarf-aranges", "clang++-14 -O2 -gdwarf-5 -gdwarf-aranges"});
}

TEST_CASE("each instruction of this program has its line", "[lines]") {
#ifdef NDEBUG
  WARN("a release build has debug information of its libraries at the most, so its own isn't read");
#else
  const ScratchFolder folder;
  const std::string own = fmt::format("/proc/{}/exe", ::getpid());
  // A compiler's cache may have made parts of it of other folders with the same sources; and
  // elfutils knows no lines of some functions that clang has made.
  compare_all(folder, own, 500);
#endif
}

TEST_CASE("lines cost no more than they may", "[lines]") {
  const ScratchFolder folder;
  write_sources(folder);
  const std::string program = folder.path() / "program";
  (void)lines_of("cd " + folder.path().string() +
                 " && g++ -O1 -g -gz=zlib main.cpp part.cpp -o program 2>&1");
  const File opened(program);
  const auto addresses = instructions_of(program);
  const auto known_with = [&](DebugBudget budget) {
    DebugLines lines(opened.elf, budget);
    return std::count_if(addresses.begin(), addresses.end(),
                         [&](std::uint64_t address) { return lines.find(address).has_value(); });
  };
  const auto all = known_with({});
  REQUIRE(all > 100);
  CHECK(known_with({.inflated = 10}) == 0);
  CHECK(known_with({.units = 0}) == 0);
  CHECK(known_with({.abbreviations = 2}) == 0);
  CHECK(known_with({.ranges = 0}) == 0);
  CHECK(known_with({.line_tables = 0}) == 0);
  CHECK(known_with({.rows = 0}) == 0);
  // What was read before there was no more is still right.
  const auto some = known_with({.rows = 20});
  CHECK(some > 0);
  CHECK(some < all);
}
