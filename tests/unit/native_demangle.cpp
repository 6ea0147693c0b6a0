// Names of C++ and Rust. The judge for C++ is the demangler of its own library; names of Rust are
// those of its RFC 2603 and of real programs.
#include <cxxabi.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <typeinfo>

#include "native/demangle.hpp"

using namespace pyscope;

namespace {

/// The place in a mangled name's list of what was named before.
std::string substitution(int index) {
  constexpr const char* kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string digits;
  for (int rest = index - 1; index > 0; rest = rest / 36 - 1) {
    digits.insert(digits.begin(), kDigits[rest % 36]);
    if (rest < 36) break;
  }
  return "S" + digits + "_";
}

/// Types of which each has the one before it twice.
std::string doubled_in_cpp(int times) {
  std::string name = "_Z1f1AIiiE";
  for (int i = 0; i < times; ++i)
    name += "S_I" + substitution(1 + i) + substitution(1 + i) + "E";
  return name;
}

std::string doubled_in_rust(int times) {
  constexpr const char* kDigits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string name = "_RIC1aTllE";
  std::size_t before = 4;  // counted from behind "_R"
  for (int i = 0; i < times; ++i) {
    std::string reference(1, kDigits[(before - 1) % 62]);
    for (std::size_t rest = (before - 1) / 62; rest != 0; rest /= 62)
      reference.insert(reference.begin(), kDigits[rest % 62]);
    before = name.size() - 2;
    name += "TB" + reference + "_B" + reference + "_E";
  }
  return name + "E";
}

}  // namespace

TEST_CASE("names of C++ are demangled", "[native]") {
  const std::string name =
      GENERATE(as<std::string>(), "_Z3addii", "_ZN2at6native4gemmIfEEvcclT_PKS2_lS4_lS2_PS2_l",
               "_ZNSt6vectorIiSaIiEE9push_backERKi", "_ZNKSt8functionIFvvEEclEv",
               "_ZZ4mainENKUlvE_clEv", "_ZL8complainv", "_ZGVZ1fvE1x", "_ZN3FooD2Ev");
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> expected{
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free};
  REQUIRE(status == 0);
  CHECK(demangle(name) == expected.get());
}

TEST_CASE("part of a function says so", "[native]") {
  CHECK(demangle("_Z6sortedSt6vectorIlSaIlEE.cold") ==
        "sorted(std::vector<long, std::allocator<long> >) [clone .cold]");
  CHECK(demangle("_PyEval_EvalFrameDefault.cold") == "_PyEval_EvalFrameDefault.cold");
}

TEST_CASE("names of Rust are demangled, without their hash", "[native]") {
  CHECK(demangle("_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE") ==
        "core::fmt::Formatter::write_str");
  CHECK(demangle("_RNvC6_123foo3bar") == "123foo::bar");
  CHECK(demangle("_RNvMs_NtCs1234_7mycrate3fooNtB4_3Bar3run") == "<mycrate::foo::Bar>::run");
  CHECK(demangle("_RINvNtC3std3mem8align_ofjE") == "std::mem::align_of::<usize>");
}

TEST_CASE("other names stay as they are", "[native]") {
  const std::string name = GENERATE(as<std::string>(), "", "main", "_start", "_Z", "_R", "_ZN",
                                    "_Zfoo", "_Z3ab", "_RNv", "__libc_start_main", "_D4core");
  CHECK(demangle(name) == name);
}

TEST_CASE("a name that stands for one without end stays as it is", "[native]") {
  const std::string cpp = doubled_in_cpp(40);
  const std::string rust = doubled_in_rust(40);
  CHECK(demangle(cpp) == cpp);
  CHECK(demangle(rust) == rust);
  // A few times do no harm.
  CHECK(demangle(doubled_in_cpp(1)) == "f(A<int, int>, A<A<int, int>, A<int, int> >)");
  CHECK(demangle(doubled_in_rust(1)) == "a::<(i32, i32), ((i32, i32), (i32, i32))>");
}

TEST_CASE("a name that is nested without end stays as it is", "[native]") {
  const std::string deep = "_Z1f" + std::string(100000, 'P') + "i";
  CHECK(demangle(deep) == deep);
  const std::string within_the_length = "_Z1f" + std::string(4000, 'P') + "i";
  CHECK_FALSE(demangle(within_the_length).empty());
}
