// Names and lines of real programs that are stripped, split, deleted, in roots of their own and
// without files. A program tells where it was called from: that is the truth.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "elf/elf_file.hpp"
#include "memory/live_memory.hpp"
#include "native/symbols.hpp"
#include "support/acted_target.hpp"
#include "support/catch.hpp"
#include "support/child.hpp"
#include "target/process_target.hpp"
#include "unit/scratch_folder.hpp"
#include "unit/tool_output.hpp"

using namespace pyscope;
using namespace pyscope::test;

namespace {

// Prints where shop::stock() begins, where it calls from and the line of that, and a page of code
// that no file holds; then it waits.
constexpr const char* kProgram = R"(
#include <stdio.h>
#include <sys/mman.h>
extern "C" __attribute__((noinline)) void* caller() { return __builtin_return_address(0); }
namespace shop {
int line;
__attribute__((noinline)) void* stock(int) {
  line = __LINE__ + 1;
  void* at = caller();
  asm volatile("" ::: "memory");
  return at;
}
}
int main() {
  void* at = shop::stock(1);
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("%p %p %d %p\n", reinterpret_cast<void*>(&shop::stock), at, shop::line, page);
  fflush(stdout);
  return getchar();
}
)";

/// A root of its own with the program in /srv.
class Root {
 public:
  Root() {
    folder_.write("program.cpp", kProgram);
    std::filesystem::create_directories(path("/srv"));
    std::filesystem::create_directories(path("/tmp"));
  }
  [[nodiscard]] std::string path(const std::string& inside) const {
    return folder_.path() / ("root" + inside);
  }
  void shell(const std::string& commands) const {
    (void)lines_of("cd " + folder_.path().string() + " && set -e && { " + commands + "; } 2>&1");
  }
  void compile(const std::string& flags) const {
    shell("g++ -O1 " + flags + " program.cpp -o root/srv/program");
  }

 private:
  ScratchFolder folder_;
};

/// It runs, and what it said.
struct Running {
  explicit Running(const Root& root, bool chrooted = true)
      : child({.command = {chrooted ? "/srv/program" : root.path("/srv/program")},
               .root = chrooted ? root.path("") : "/"}) {
    std::istringstream words(child.read_line());
    words >> std::hex >> begin >> call >> std::dec >> line >> std::hex >> page;
    REQUIRE(words);
    --call;  // within the instruction
    maps = target.mappings();
  }

  [[nodiscard]] NativeSymbol find(std::uint64_t at, bool with_files = true) {
    said.clear();
    const Log log([this](const std::string& text) { said += text + "\n"; });
    MappedImages images(target.memory(), maps);
    const test::ActedTarget without_files(target.memory(), {});
    NativeSymbols symbols(with_files ? static_cast<const Target&>(target) : without_files, images,
                          log);
    return symbols.find(RemoteAddr{at});
  }
  [[nodiscard]] NativeSymbol find() { return find(call); }

  void check_function(const NativeSymbol& symbol) const {
    CAPTURE(said);
    CHECK(symbol.function == "shop::stock(int)");
    CHECK(symbol.function_offset == call - begin);
    CHECK(symbol.module.find("/srv/program") != std::string::npos);
  }
  void check_line(const NativeSymbol& symbol) const {
    CAPTURE(said);
    CHECK(symbol.line == line);
    CHECK(symbol.file.ends_with("/program.cpp"));
  }

  Child child;
  std::uint64_t begin = 0;
  std::uint64_t call = 0;
  std::uint64_t page = 0;
  int line = 0;
  ProcessTarget target{Process::open(child.pid(), Log()).value()};
  std::vector<Mapping> maps;
  std::string said;
};

/// Static, so that it runs in an empty root.
constexpr const char* kStatic = "-static -g -Wl,--build-id";

std::string debug_file_by_build_id(const Root& root, const std::string& program) {
  for (const std::string& line : lines_of("readelf -n " + root.path(program))) {
    const std::size_t at = line.find("Build ID: ");
    if (at == std::string::npos) continue;
    const std::string id = line.substr(at + 10);
    return "/usr/lib/debug/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug";
  }
  FAIL("no build-id");
  return {};
}

}  // namespace

TEST_CASE("native symbols: of the program's own file", "[live][native]") {
  const Root root;
  const std::string flags =
      GENERATE(as<std::string>(), kStatic, "-static-pie -g", "-static -g -gz=zlib");
  CAPTURE(flags);
  root.compile(flags);
  Running program(root);
  const NativeSymbol symbol = program.find();
  program.check_function(symbol);
  program.check_line(symbol);
}

TEST_CASE("native symbols: a stripped program has none, and no false ones", "[live][native]") {
  const Root root;
  root.compile("-static -s");
  Running program(root);
  const NativeSymbol symbol = program.find();
  CHECK(symbol.function.empty());
  CHECK(symbol.line == 0);
  CHECK(symbol.offset == program.call);  // it has a fixed address
  CHECK(symbol.module.ends_with("/srv/program"));
}

TEST_CASE("native symbols: from the debug file with the same build-id", "[live][native]") {
  const Root root;
  root.compile(kStatic);
  const std::string debug = debug_file_by_build_id(root, "/srv/program");
  std::filesystem::create_directories(std::filesystem::path(root.path(debug)).parent_path());
  root.shell("objcopy --only-keep-debug root/srv/program root" + debug +
             " && strip -s root/srv/program");
  Running program(root);
  SECTION("in the target's root") {
    const NativeSymbol symbol = program.find();
    program.check_function(symbol);
    program.check_line(symbol);
  }
  SECTION("unless it is another build's") {
    root.shell("g++ -O2 -static -g -Wl,--build-id program.cpp -o root" + debug);
    CHECK(program.find().function.empty());
    CHECK(program.said.find("of another build") != std::string::npos);
  }
  SECTION("unless it is a link to outside of the root") {
    root.shell("mv root" + debug + " outside.debug && ln -s " + root.path("/../outside.debug") +
               " root" + debug);
    CHECK(program.find().function.empty());
  }
  SECTION("unless it is none at all") {
    root.shell("echo hello > root" + debug);
    CHECK(program.find().function.empty());
  }
}

TEST_CASE("native symbols: from the debug file that the program names", "[live][native]") {
  const Root root;
  const std::string folder =
      GENERATE(as<std::string>(), "/srv/.debug", "/usr/lib/debug/srv", "/srv");
  CAPTURE(folder);
  root.compile("-static -g -Wl,--build-id=none");
  std::filesystem::create_directories(root.path(folder));
  root.shell(
      "objcopy --only-keep-debug root/srv/program stock.debug && strip -s root/srv/program"
      " && objcopy --add-gnu-debuglink=stock.debug root/srv/program"
      " && mv stock.debug root" +
      folder);
  Running program(root);
  const NativeSymbol symbol = program.find();
  program.check_function(symbol);
  program.check_line(symbol);

  // Nothing but its sum says that it is the right one.
  root.shell("echo >> root" + folder + "/stock.debug");
  CHECK(program.find().function.empty());
  CHECK(program.said.find("of another build") != std::string::npos);
}

TEST_CASE("native symbols: from compressed ones in a stripped program", "[live][native]") {
  const Root root;
  root.compile("-static -g");
  // As Fedora's build does it.
  root.shell(
      "objcopy -S --keep-symbol=_ZN4shop5stockEi root/srv/program mini && xz mini"
      " && strip -s root/srv/program"
      " && objcopy --add-section .gnu_debugdata=mini.xz root/srv/program");
  Running program(root);
  program.check_function(program.find());
}

TEST_CASE("native symbols: from memory alone", "[live][native]") {
  const Root root;
  const std::string flags = GENERATE(as<std::string>(), "-Wl,--hash-style=gnu",
                                     "-Wl,--hash-style=sysv", "-Wl,--hash-style=both -no-pie");
  CAPTURE(flags);
  root.compile("-g -rdynamic " + flags);
  Running program(root, false);
  const NativeSymbol symbol = program.find(program.call, false);
  program.check_function(symbol);
  CHECK(symbol.line == 0);
  CHECK(symbol.offset == program.find().offset);
}

TEST_CASE("native symbols: of a program that was deleted or replaced", "[live][native]") {
  const Root root;
  root.compile("-g -rdynamic");
  Running program(root, false);
  const bool replaced = GENERATE(false, true);
  CAPTURE(replaced);
  std::filesystem::remove(root.path("/srv/program"));
  // Another one with the same functions at other places.
  if (replaced) root.compile("-g -rdynamic -Dstock=sold -O0 -fno-omit-frame-pointer");
  program.maps = program.target.mappings();
  const NativeSymbol symbol = program.find();
  program.check_function(symbol);
  CHECK(symbol.module.ends_with("/srv/program (deleted)"));
}

TEST_CASE("native symbols: of a file that is not what is in memory", "[live][native]") {
  /// Memory in which the program has another build-id.
  class OtherBuild final : public Memory {
   public:
    OtherBuild(const Memory& memory, const std::vector<std::byte>& id) : memory_(memory), id_(id) {}
    void read_many(std::span<ReadRequest> requests) const override {
      memory_.read_many(requests);
      for (ReadRequest& request : requests) {
        const auto at = std::search(request.out.begin(), request.out.end(), id_.begin(), id_.end());
        if (at != request.out.end()) *at ^= std::byte{1};
      }
    }

   private:
    const Memory& memory_;
    const std::vector<std::byte>& id_;
  };
  const Root root;
  root.compile("-g -rdynamic -Wl,--build-id");
  Running program(root, false);
  const std::vector<std::byte> id = [&] {
    const UniqueFd fd{::open(root.path("/srv/program").c_str(), O_RDONLY | O_CLOEXEC)};
    return ElfFile::open(fd.get()).value().build_id();
  }();
  REQUIRE(id.size() == 20);
  const OtherBuild memory(program.target.memory(), id);
  std::string said;
  const Log log([&](const std::string& text) { said += text + "\n"; });
  MappedImages images(memory, program.maps);
  NativeSymbols symbols(program.target, images, log);
  const NativeSymbol symbol = symbols.find(RemoteAddr{program.call});
  CAPTURE(said);
  CHECK(said.find("another build-id") != std::string::npos);
  // Its memory still has what it exports, and nothing of the file is believed.
  program.check_function(symbol);
  CHECK(symbol.line == 0);
}

TEST_CASE("native symbols: code that no file holds is named by a perf map", "[live][native]") {
  const Root root;
  root.compile(kStatic);
  Running program(root);
  const std::string map = root.path(fmt::format("/tmp/perf-{}.map", program.child.pid()));
  const std::uint64_t at = program.page + 0x18;
  CHECK(program.find(at).function.empty());

  std::ofstream(map) << fmt::format(
      "{:x} 20 old name\nrubbish\n{:x} 20 py::stock:/srv/shop.py\n{:x} ffffffffffffffff all\n"
      "{:x} 0 nothing\n\n{:x}\n",
      program.page, program.page + 0x10, program.page + 8, program.page, program.page);
  const NativeSymbol symbol = program.find(at);
  CAPTURE(program.said);
  CHECK(symbol.function == "py::stock:/srv/shop.py");
  CHECK(symbol.function_offset == 8);
  CHECK(symbol.offset == at);
  CHECK(symbol.module == fmt::format("/tmp/perf-{}.map", program.child.pid()));
  CHECK(program.find(program.page + 4).function == "old name");
  CHECK(program.find(program.page + 0x30).function.empty());
  // What is in files has its name from there.
  program.check_function(program.find());

  if (::geteuid() != 0) {
    WARN("not root, so a map of somebody else's isn't tried");
    return;
  }
  REQUIRE(::chown(map.c_str(), 12345, 12345) == 0);
  CHECK(program.find(at).function.empty());
  CHECK(program.said.find("not the process's own") != std::string::npos);
}

TEST_CASE("native symbols: a perf map that is no file is not opened", "[live][native]") {
  const Root root;
  root.compile(kStatic);
  Running program(root);
  root.shell(fmt::format("mkfifo root/tmp/perf-{}.map", program.child.pid()));
  CHECK(program.find(program.page).function.empty());
}
