// Runs filters as the kernel would, on system calls that nobody makes.
#include <linux/audit.h>
#include <linux/seccomp.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>

#include "cli/seccomp_filter.hpp"

using namespace pyscope::cli;

namespace {

constexpr std::uint32_t kDenied = SECCOMP_RET_ERRNO | EPERM;

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

using Arguments = std::array<std::uint64_t, 6>;

/// The filter's answer; 0 (which would kill) for a program that leaves itself.
std::uint32_t answer(const std::vector<sock_filter>& code, long call, const Arguments& arguments) {
  seccomp_data data{};
  data.nr = static_cast<int>(call);
  data.arch = kArchitecture;
  std::memcpy(data.args, arguments.data(), sizeof data.args);
  std::uint32_t a = 0;
  for (std::size_t at = 0; at < code.size(); ++at) {
    const sock_filter& step = code[at];
    bool holds = false;
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (step.k + sizeof a > sizeof data) return 0;
        std::memcpy(&a, reinterpret_cast<const std::byte*>(&data) + step.k, sizeof a);
        continue;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= step.k;
        continue;
      case BPF_RET | BPF_K:
        return step.k;
      case BPF_JMP | BPF_JA:
        at += step.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        holds = a == step.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        holds = a >= step.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        holds = a > step.k;
        break;
      default:
        return 0;
    }
    at += holds ? step.jt : step.jf;
  }
  return 0;
}

}  // namespace

TEST_CASE("a filter of many rules finds each of them", "[cli]") {
  // More instructions lie between the first half and the second one than a jump on a condition can
  // skip.
  constexpr long kRules = 200;
  std::vector<Rule> rules;
  for (long call = kRules; call > 0; --call) {
    const auto value = static_cast<int>(call);
    rules.push_back({2 * call, false, {{is(0, value)}, {is(1, value), bits(2, 0xF0, 0x10)}}, 77});
  }
  const auto code = compile_filter(std::move(rules));
  REQUIRE(code.has_value());
  REQUIRE(code->size() > 255);
  for (long call = 1; call <= kRules; ++call) {
    CAPTURE(call);
    const auto value = static_cast<std::uint64_t>(call);
    REQUIRE(answer(*code, 2 * call, {value}) == SECCOMP_RET_ALLOW);
    REQUIRE(answer(*code, 2 * call, {0, value, 0x1F}) == SECCOMP_RET_ALLOW);
    REQUIRE(answer(*code, 2 * call, {0, value, 0x20}) == (SECCOMP_RET_ERRNO | 77));
    REQUIRE(answer(*code, 2 * call, {}) == (SECCOMP_RET_ERRNO | 77));
    REQUIRE(answer(*code, 2 * call + 1, {value, value, 0x10}) == kDenied);
  }
  CHECK(answer(*code, 0, {}) == kDenied);
}

TEST_CASE("addresses are compared in both halves", "[cli]") {
  const auto* address = reinterpret_cast<const void*>(0x7FFF'8000'1000);
  const auto code = compile_filter(
      {{1, false, {{is_address(0, address)}}}, {2, false, {{is_above(3, address)}}}, {3, true}});
  REQUIRE(code.has_value());
  CHECK(answer(*code, 1, {0x7FFF'8000'1000}) == SECCOMP_RET_ALLOW);
  CHECK(answer(*code, 1, {0x7FFE'8000'1000}) == kDenied);
  CHECK(answer(*code, 1, {0x7FFF'8000'1001}) == kDenied);
  CHECK(answer(*code, 2, {0, 0, 0, 0x7FFF'8000'1000}) == SECCOMP_RET_ALLOW);
  CHECK(answer(*code, 2, {0, 0, 0, 0x8000'0000'0000}) == SECCOMP_RET_ALLOW);
  CHECK(answer(*code, 2, {0, 0, 0, 0x7FFF'8000'0FFF}) == kDenied);
  CHECK(answer(*code, 2, {0, 0, 0, 0x7FFE'FFFF'FFFF}) == kDenied);
  CHECK(answer(*code, 3, {}) == SECCOMP_RET_ALLOW);
}

TEST_CASE("a way that no jump can skip is no filter, and neither is one without end", "[cli]") {
  // Each check takes three instructions, and the answer one more; a jump skips 255 at most. The
  // first check that fails skips all but its own three.
  const auto with_checks = [](std::size_t count) {
    return compile_filter({{1, false, {Checks(count, is(0, 1))}}, {2, true}});
  };
  const auto longest = with_checks(85);
  REQUIRE(longest.has_value());
  CHECK(answer(*longest, 1, {1}) == SECCOMP_RET_ALLOW);
  CHECK(answer(*longest, 1, {2}) == kDenied);
  CHECK_FALSE(with_checks(86).has_value());

  std::vector<Rule> rules;
  for (long call = 0; call < 2000; ++call)
    rules.push_back({call, true});
  CHECK_FALSE(compile_filter(std::move(rules)).has_value());  // longer than the kernel takes

  const auto nothing = compile_filter({});
  REQUIRE(nothing.has_value());
  CHECK(answer(*nothing, 0, {}) == kDenied);
}
