#include "cli/sandbox.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <vector>

#include "base/opening.hpp"

namespace pyscope::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "the filter reads halves of arguments");

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

/// A condition on one argument of a system call.
struct Check {
  enum class Kind : std::uint8_t {
    Bits,     // of an int: those of `mask` are `value`; the kernel doesn't look at the upper half
    Equal,    // an address
    AtLeast,  // an address
  };
  Kind kind = Kind::Bits;
  std::uint32_t argument = 0;
  std::uint64_t mask = 0;
  std::uint64_t value = 0;
};

template <class T>
Check bits(std::uint32_t argument, T mask, T value) {
  return {Check::Kind::Bits, argument, static_cast<std::uint32_t>(mask),
          static_cast<std::uint32_t>(value)};
}
template <class T>
Check is(std::uint32_t argument, T value) {
  return bits(argument, std::uint32_t{0xFFFFFFFF}, static_cast<std::uint32_t>(value));
}
Check is_address(std::uint32_t argument, const void* address) {
  return {Check::Kind::Equal, argument, 0, std::bit_cast<std::uint64_t>(address)};
}
Check is_above(std::uint32_t argument, const void* address) {
  return {Check::Kind::AtLeast, argument, 0, std::bit_cast<std::uint64_t>(address)};
}

using Checks = std::vector<Check>;  // all of them must hold

struct Rule {
  long call = 0;
  bool always = false;
  std::vector<Checks> ways = {};  // or any of these
  int error = EPERM;              // that it fails with otherwise
};

/// A program for the kernel's filter of system calls. Looked up by halves, as the kernel goes
/// through it for every system call that there is when it is loaded.
class Program {
 public:
  explicit Program(std::vector<Rule> rules) : rules_(std::move(rules)) {
    std::sort(rules_.begin(), rules_.end(),
              [](const Rule& a, const Rule& b) { return a.call < b.call; });
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, kArchitecture, 1, 0);
    answer(SECCOMP_RET_KILL_PROCESS);  // a call by another architecture's numbers
    load(offsetof(seccomp_data, nr));
    look_up(0, rules_.size());
  }

  /// errno, or 0.
  [[nodiscard]] int enter() {
    if (too_long_ || code_.size() > BPF_MAXINSNS) return E2BIG;
    sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    // Speculation is no danger to what reads other processes anyway, and slower without.
    const long flagged =
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
    if (flagged == 0) return 0;
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
  }

 private:
  void load(std::size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  }
  void answer(std::uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  /// Skips so many instructions if it is so, and so many if it isn't.
  void jump(std::uint16_t test, std::uint64_t value, std::uint8_t if_so, std::uint8_t if_not) {
    code_.push_back(sock_filter{static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), if_so, if_not,
                                static_cast<std::uint32_t>(value)});
  }

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
        // A jump on a condition has eight bits. One that is cut would end in the middle of a way.
        too_long_ = too_long_ || skipped > std::numeric_limits<std::uint8_t>::max();
        code_[miss].jf = static_cast<std::uint8_t>(skipped);
      }
    }
    if (!rule.always) answer(SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(rule.error));
  }

  /// Goes on if it holds, and else to the next way.
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
  std::vector<std::size_t> misses_;  // jumps to the next way, of this one
  bool too_long_ = false;            // a way has more instructions than such a jump can skip
};

std::vector<Rule> rules_for(Sandbox sandbox) {
  std::vector<Rule> rules;
  // What reading takes, whatever the arguments are: files that are open, memory of our own, time,
  // threads that are there, and the memory of others, for reading.
  for (const long call : {SYS_read,
                          SYS_readv,
                          SYS_pread64,
                          SYS_write,
                          SYS_writev,
                          SYS_close,
                          SYS_lseek,
                          SYS_fstat,
                          SYS_fstatfs,
                          SYS_newfstatat,
                          SYS_statx,
                          SYS_getdents64,
                          SYS_readlinkat,
                          SYS_faccessat,
                          SYS_faccessat2,
                          SYS_getxattr,
                          SYS_ppoll,
                          SYS_brk,
                          SYS_munmap,
                          SYS_madvise,
                          SYS_futex,
                          SYS_nanosleep,
                          SYS_clock_nanosleep,
                          SYS_clock_gettime,
                          SYS_clock_getres,
                          SYS_gettimeofday,
                          SYS_rt_sigaction,
                          SYS_rt_sigprocmask,
                          SYS_rt_sigreturn,
                          SYS_sigaltstack,
                          SYS_getpid,
                          SYS_gettid,
                          SYS_getppid,
                          SYS_getuid,
                          SYS_geteuid,
                          SYS_getgid,
                          SYS_getegid,
                          SYS_getgroups,
                          SYS_capget,
                          SYS_uname,
                          SYS_sysinfo,
                          SYS_sched_getaffinity,
                          SYS_sched_yield,
                          SYS_getrandom,
                          SYS_set_robust_list,
                          SYS_rseq,
                          SYS_restart_syscall,
                          SYS_exit,
                          SYS_exit_group,
                          SYS_process_vm_readv,
                          SYS_pidfd_open,
                          SYS_sendto,
                          SYS_recvfrom,
                          SYS_recvmsg,
                          SYS_setsockopt,
                          SYS_getsockname}) {
    rules.push_back({call, true});
  }
#ifdef SYS_poll
  for (const long call : {SYS_poll, SYS_readlink, SYS_access})
    rules.push_back({call, true});
#endif
  const auto allow = [&](long call, std::initializer_list<Checks> ways, int error = EPERM) {
    rules.push_back({call, false, ways, error});
  };

  // Files are opened for reading only.
  constexpr int kWrites = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
  allow(SYS_openat, {{bits(2, kWrites, O_RDONLY)}});
#ifdef SYS_open
  allow(SYS_open, {{bits(1, kWrites, O_RDONLY)}});
#endif
  allow(SYS_openat2,
        {{is_address(2, &RootedOpening::kPath)}, {is_address(2, &RootedOpening::kFolder)}});
  allow(SYS_fcntl,
        {{is(1, F_GETFD)}, {is(1, F_SETFD)}, {is(1, F_GETFL)}, {is(1, F_DUPFD_CLOEXEC)}});
  allow(SYS_ioctl, {{is(1, TCGETS)}, {is(1, TIOCGWINSZ)}});

  // No memory becomes code, and what is constant stays so: nothing is mapped over it, and its
  // protection isn't changed. The C library protects the ends of its threads' stacks, which are
  // above the program and its heap.
  const Check not_code = bits(2, PROT_EXEC, 0);
  allow(SYS_mmap, {{not_code, bits(3, MAP_FIXED, 0)}});
  allow(SYS_mprotect, {{not_code, is_above(0, ::sbrk(0))}});

  // Threads, but no processes. What clone3() is asked for lies in memory: without it, the C library
  // makes do with clone().
  rules.push_back({SYS_clone3, false, {}, ENOSYS});
  constexpr int kThread = CLONE_THREAD | CLONE_VM;
  constexpr int kShares = kThread | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_NEWUSER |
                          CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_PARENT;
  const bool holds = sandbox == Sandbox::HoldingThreads;
  std::vector<Checks> clones = {{bits(0, kThread, kThread)}};
  std::vector<Checks> controls = {{is(0, PR_SET_NAME)}};
  if (holds) {
    clones.push_back({bits(0, kShares, 0)});  // a fork: a copy of everything, this filter included
    controls.push_back({is(0, PR_SET_PDEATHSIG)});
  }
  rules.push_back({SYS_clone, false, std::move(clones)});
  rules.push_back({SYS_prctl, false, std::move(controls)});
  // Whether a process is there, and the end of this one (abort).
  allow(SYS_kill, {{is(1, 0)}});
  allow(SYS_tgkill, {{is(0, ::getpid())}});
  allow(SYS_prlimit64, {{is_address(2, nullptr)}});
  // Netlink, to ask for the peers of unix sockets.
  allow(SYS_socket, {{is(0, AF_NETLINK)}});
  if (!holds) return rules;

  // Of ptrace only what attaches, stops, tells registers and lets go.
  allow(SYS_ptrace, {{is(0, PTRACE_SEIZE)},
                     {is(0, PTRACE_INTERRUPT)},
                     {is(0, PTRACE_GETREGSET)},
                     {is(0, PTRACE_DETACH)}});
  rules.push_back({SYS_wait4, true});
  // libunwind looks at its own stack when it begins, for the case that it should unwind that.
  rules.push_back({SYS_mincore, true});
  rules.push_back({SYS_pipe2, true});
  rules.push_back({SYS_setitimer, true});
  allow(SYS_socketpair, {{is(0, AF_UNIX)}});
#ifdef SYS_fork
  rules.push_back({SYS_fork, true});
#endif
  return rules;
}

}  // namespace

void enter_sandbox(Sandbox sandbox, const std::function<void(const std::string&)>& log) {
#ifdef PYSCOPE_SANITIZE
  (void)sandbox;
  (void)rules_for;
  if (log) log("sandbox: none in a build with sanitizers");
#else
  constexpr rlimit kNoCore{0, 0};
  ::setrlimit(RLIMIT_CORE, &kNoCore);
  const int error = Program(rules_for(sandbox)).enter();
  if (!log) return;
  log(error == 0 ? std::string("sandbox: entered")
                 : fmt::format("sandbox: none, seccomp: {}", std::strerror(error)));
#endif
}

}  // namespace pyscope::cli
