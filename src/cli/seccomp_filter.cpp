#include "cli/seccomp_filter.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

namespace pyscope::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "the filter reads halves of arguments");

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

/// Makes a program that finds a call's rule by halving: when a filter is loaded, the kernel goes
/// through the program for every system call that there is.
class FilterCompiler {
 public:
  explicit FilterCompiler(std::vector<Rule> rules) : rules_(std::move(rules)) {
    std::sort(rules_.begin(), rules_.end(),
              [](const Rule& a, const Rule& b) { return a.call < b.call; });
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, kArchitecture, 1, 0);
    answer(SECCOMP_RET_KILL_PROCESS);  // a call by another architecture's numbers
    load(offsetof(seccomp_data, nr));
    if (rules_.empty()) {
      answer(SECCOMP_RET_ERRNO | EPERM);
    } else {
      look_up(0, rules_.size());
    }
  }

  [[nodiscard]] std::optional<std::vector<sock_filter>> take_code() {
    if (too_long_ || code_.size() > BPF_MAXINSNS) return std::nullopt;
    return std::move(code_);
  }

 private:
  void load(std::size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  }
  void answer(std::uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  /// Skips `if_so` instructions if the test holds, else `if_not` instructions.
  void jump(std::uint16_t test, std::uint64_t value, std::uint8_t if_so, std::uint8_t if_not) {
    code_.push_back(sock_filter{static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), if_so, if_not,
                                static_cast<std::uint32_t>(value)});
  }

  /// Finds the rule among those from `begin` to `end`.
  void look_up(std::size_t begin, std::size_t end) {
    if (end - begin == 1) {
      decide(rules_[begin]);
      return;
    }
    const std::size_t middle = begin + (end - begin) / 2;
    // A conditional jump reaches 255 instructions only.
    jump(BPF_JGE, static_cast<std::uint64_t>(rules_[middle].call), 0, 1);
    const std::size_t far = code_.size();
    code_.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0));
    look_up(begin, middle);
    code_[far].k = static_cast<std::uint32_t>(code_.size() - far - 1);
    look_up(middle, end);
  }

  void decide(const Rule& rule) {
    jump(BPF_JEQ, static_cast<std::uint64_t>(rule.call), 1, 0);
    answer(SECCOMP_RET_ERRNO | EPERM);
    if (rule.always) answer(SECCOMP_RET_ALLOW);
    for (const Checks& way : rule.ways) {
      misses_.clear();
      for (const Check& check : way)
        test(check);
      answer(SECCOMP_RET_ALLOW);
      for (const std::size_t miss : misses_) {
        const std::size_t skipped = code_.size() - miss - 1;
        // A conditional jump has eight bits. A jump that is cut would end in the middle of a way.
        too_long_ = too_long_ || skipped > std::numeric_limits<std::uint8_t>::max();
        code_[miss].jf = static_cast<std::uint8_t>(skipped);
      }
    }
    if (!rule.always) answer(SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(rule.error));
  }

  /// Goes on if the check holds, else jumps to the next way.
  void test(const Check& check) {
    const std::size_t low = offsetof(seccomp_data, args) + check.argument * sizeof(std::uint64_t);
    const std::size_t high = low + sizeof(std::uint32_t);
    const std::uint64_t upper = check.value >> 32U;
    switch (check.kind) {
      case Check::Kind::Bits:
        load(low);
        code_.push_back(
            BPF_STMT(BPF_ALU | BPF_AND | BPF_K, static_cast<std::uint32_t>(check.mask)));
        must(BPF_JEQ, check.value);
        break;
      case Check::Kind::Equal:
        load(low);
        must(BPF_JEQ, check.value);
        load(high);
        must(BPF_JEQ, upper);
        break;
      case Check::Kind::AtLeast:
        load(high);
        jump(BPF_JGT, upper, 3, 0);
        must(BPF_JEQ, upper);
        load(low);
        must(BPF_JGE, check.value);
        break;
    }
  }
  void must(std::uint16_t test, std::uint64_t value) {
    misses_.push_back(code_.size());
    jump(test, value, 0, 0);
  }

  std::vector<Rule> rules_;
  std::vector<sock_filter> code_;
  std::vector<std::size_t> misses_;  // the jumps from this way to the next one
  bool too_long_ = false;            // a way has more instructions than a conditional jump can skip
};

}  // namespace

std::optional<std::vector<sock_filter>> compile_filter(std::vector<Rule> rules) {
  return FilterCompiler(std::move(rules)).take_code();
}

}  // namespace pyscope::cli
