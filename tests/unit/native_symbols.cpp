// Names of the code of this very process. The judge is nm.
#include <dlfcn.h>
#include <link.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "memory/live_memory.hpp"
#include "native/symbols.hpp"
#include "support/acted_target.hpp"
#include "target/process_target.hpp"
#include "unit/tool_output.hpp"

using namespace pyscope;
using test::lines_of;

namespace {

/// This process as a target.
struct Own {
  ProcessTarget target{Process::open(::getpid(), Log()).value()};
  std::vector<Mapping> maps = target.mappings();
  Log log;
  MappedImages images{target.memory(), maps};
  NativeSymbols symbols{target, images, log};
};

/// What is added to the addresses in the file of this program.
std::uint64_t own_load_bias() {
  std::uint64_t bias = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        *static_cast<std::uint64_t*>(to) = info->dlpi_addr;
        return 1;  // the program comes first
      },
      &bias);
  return bias;
}

struct Function {
  std::uint64_t size = 0;
  std::set<std::string> names;
};

/// The functions that nm lists, by address.
std::map<std::uint64_t, Function> functions_of(const std::string& file) {
  std::map<std::uint64_t, Function> functions;
  for (const std::string& line : lines_of("nm -CS --defined-only " + file)) {
    std::istringstream words(line);
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    char kind = '?';
    words >> std::hex >> address >> size >> kind >> std::ws;
    if (!words || std::string("TtWw").find(kind) == std::string::npos) continue;
    Function& function = functions[address];
    function.size = std::max(function.size, size);
    std::string name;
    std::getline(words, name);
    function.names.insert(name);
  }
  return functions;
}

}  // namespace

TEST_CASE("functions of this program have the names that nm lists", "[native]") {
  Own own;
  const auto functions = functions_of("/proc/" + std::to_string(::getpid()) + "/exe");
  REQUIRE(functions.size() > 1000);
  const std::string path = own.target.process()->read_link("exe").value();
  const std::uint64_t bias = own_load_bias();
  std::uint64_t last_end = 0;
  std::size_t compared = 0;
  for (const auto& [address, function] : functions) {
    // What lies within another one is left to a test of its own.
    if (address < last_end || ++compared % 64 != 0) continue;
    last_end = address + function.size;
    for (const std::uint64_t at : {std::uint64_t{0}, function.size / 2, function.size - 1}) {
      const NativeSymbol symbol = own.symbols.find(RemoteAddr{bias + address + at});
      CAPTURE(address, at, symbol.function, *function.names.begin());
      CHECK(function.names.contains(symbol.function));
      CHECK(symbol.function_offset == at);
      CHECK(symbol.module == path);
      CHECK(symbol.offset == address + at);
    }
  }
}

TEST_CASE("an address in no mapping has no name", "[native]") {
  Own own;
  const NativeSymbol symbol = own.symbols.find(RemoteAddr{0x1000});
  CHECK(symbol.function.empty());
  CHECK(symbol.module.empty());
  CHECK(symbol.offset == 0x1000);
}

TEST_CASE("functions of the vdso are known from memory", "[native]") {
  Own own;
  void* const vdso = ::dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
  void* const function = vdso == nullptr ? nullptr : ::dlsym(vdso, "__vdso_clock_gettime");
  if (function == nullptr) {
    WARN("this system's vdso has no __vdso_clock_gettime");
    return;
  }
  // Which has the same address as clock_gettime, in no other way than without underscores.
  const auto address = reinterpret_cast<std::uint64_t>(function);
  const NativeSymbol symbol = own.symbols.find(RemoteAddr{address + 1});
  CHECK(symbol.module == "[vdso]");
  CHECK(symbol.function == "clock_gettime");
  CHECK(symbol.function_offset == 1);
  CHECK(symbol.offset == address + 1 - ::getauxval(AT_SYSINFO_EHDR));
}

TEST_CASE("exported functions of libraries have the names that the loader knows", "[native]") {
  Own own;
  const bool with_files = GENERATE(true, false);
  CAPTURE(with_files);
  const test::ActedTarget without_files(own.target.memory(), {});
  const Target& target = with_files ? static_cast<const Target&>(own.target) : without_files;
  NativeSymbols symbols(target, own.images, own.log);
  for (const char* name : {"qsort", "poll", "fopen", "getenv", "strtod", "pthread_create"}) {
    void* const function = ::dlsym(RTLD_DEFAULT, name);
    Dl_info info{};
    REQUIRE(::dladdr(function, &info) != 0);
    CAPTURE(name, info.dli_fname);
    const auto address = reinterpret_cast<std::uint64_t>(function);
    const NativeSymbol symbol = symbols.find(RemoteAddr{address + 3});
    // There may be other names for it, of which ours is the shortest or comes first.
    CHECK(::dlsym(RTLD_DEFAULT, symbol.function.c_str()) == function);
    CHECK(symbol.function_offset == 3);
    CHECK(symbol.offset == address + 3 - reinterpret_cast<std::uint64_t>(info.dli_fbase));
  }
}
