#include "cli/sandbox.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
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

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <utility>
#include <vector>

#include "base/opening.hpp"
#include "cli/seccomp_filter.hpp"

namespace pyscope::cli {
namespace {

/// Loads the filter. Returns errno, or 0.
int enter(std::vector<Rule> rules) {
  auto code = compile_filter(std::move(rules));
  if (!code) return E2BIG;
  sock_fprog program{static_cast<unsigned short>(code->size()), code->data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  // Speculation is allowed: forbidding it would slow this program down, and protect nothing that
  // this program may not read anyway.
  const long flagged =
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
  if (flagged == 0) return 0;
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
}

/// Gives up the capabilities that reading doesn't take. Without CAP_SYS_PTRACE all are kept: the
/// kernel then asks whether we have each one that the target has.
/// Returns errno, or 0.
int drop_capabilities(Sandbox sandbox) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return errno;
  constexpr unsigned kWordBits = 32;
  const auto has = [&](unsigned capability) {
    return (data.at(capability / kWordBits).effective >> (capability % kWordBits) & 1U) != 0;
  };
  if (!has(CAP_SYS_PTRACE)) return 0;
  constexpr unsigned kCheckpointRestore = 40;
  std::array<std::uint32_t, _LINUX_CAPABILITY_U32S_3> kept{};
  const auto keep = [&](unsigned capability) {
    kept.at(capability / kWordBits) |= 1U << (capability % kWordBits);
  };
  keep(CAP_SYS_PTRACE);
  keep(CAP_DAC_READ_SEARCH);
  // For /proc/PID/map_files; before Linux 5.9 the one, since then the other.
  keep(has(kCheckpointRestore) ? kCheckpointRestore : unsigned{CAP_SYS_ADMIN});
  // To make the script as the user of the target.
  if (sandbox == Sandbox::Executing) {
    keep(CAP_SETUID);
    keep(CAP_SETGID);
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    data.at(i).effective &= kept.at(i);
    data.at(i).permitted &= kept.at(i);
    data.at(i).inheritable = 0;
  }
  return ::syscall(SYS_capset, &header, data.data()) == 0 ? 0 : errno;
}

std::vector<Rule> rules_for(Sandbox sandbox, pid_t target) {
  std::vector<Rule> rules;
  // Calls that reading takes, allowed with any arguments: on files that are open, our own memory,
  // the time and our own threads, and to read the memory of others.
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
  std::vector<Checks> openings = {{bits(2, kWrites, O_RDONLY)}};
  // Or a file is made that wasn't there.
  constexpr int kMade = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
  if (sandbox == Sandbox::Executing) {
    openings.push_back({bits(2, kWrites | O_EXCL | O_NOFOLLOW, kMade)});
  }
  rules.push_back({SYS_openat, false, std::move(openings)});
#ifdef SYS_open
  allow(SYS_open, {{bits(1, kWrites, O_RDONLY)}});
#endif
  allow(SYS_openat2,
        {{is_address(2, &RootedOpening::kPath)}, {is_address(2, &RootedOpening::kFolder)}});
  allow(SYS_fcntl,
        {{is(1, F_GETFD)}, {is(1, F_SETFD)}, {is(1, F_GETFL)}, {is(1, F_DUPFD_CLOEXEC)}});
  allow(SYS_ioctl, {{is(1, TCGETS)}, {is(1, TIOCGWINSZ)}});

  // No memory becomes code. Constants stay constant: they are not unmapped, nothing is mapped in
  // their place, and their protection isn't changed. The C library does all of this to the stacks
  // and heaps of its threads, which lie above the program and its own heap. The kernel chooses the
  // place of each mapping: it may take a hint for the place of memory that was unmapped.
  const Check not_code = bits(2, PROT_EXEC, 0);
  const Check above = is_above(0, ::sbrk(0));
  constexpr int kPlaced = MAP_FIXED | MAP_FIXED_NOREPLACE;
  allow(SYS_mmap, {{is_address(0, nullptr), not_code, bits(3, kPlaced, 0)}});
  allow(SYS_mprotect, {{not_code, above}});
  allow(SYS_munmap, {{above}});
  allow(SYS_madvise, {{above}});

  // Threads may be started, processes may not. The arguments of clone3() lie in memory, where a
  // filter can't look, so clone3() is refused; the C library then uses clone().
  rules.push_back({SYS_clone3, false, {}, ENOSYS});
  constexpr int kThread = CLONE_THREAD | CLONE_VM;
  constexpr int kShares = kThread | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_NEWUSER |
                          CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_PARENT;
  const bool holds = sandbox != Sandbox::Reading;
  std::vector<Checks> clones = {{bits(0, kThread, kThread)}};
  std::vector<Checks> controls = {{is(0, PR_SET_NAME)}};
  if (holds) {
    clones.push_back({bits(0, kShares, 0)});  // a fork: a copy of everything, this filter included
    controls.push_back({is(0, PR_SET_PDEATHSIG)});
  }
  rules.push_back({SYS_clone, false, std::move(clones)});
  rules.push_back({SYS_prctl, false, std::move(controls)});
  // The affinity of this thread, to run on the CPU of a thread of the target. Another thread may
  // give the first one its own affinity back. (This function runs in the first thread.)
  rules.push_back(
      {SYS_sched_setaffinity, false, {{is(0, 0)}, {is(0, static_cast<int>(::gettid()))}}});
  // Signal 0 asks whether a process is there; abort() ends this process by tgkill().
  allow(SYS_kill, {{is(1, 0)}});
  allow(SYS_tgkill, {{is(0, ::getpid())}});
  allow(SYS_prlimit64, {{is_address(2, nullptr)}});
  // Netlink, to ask for the peers of unix sockets.
  allow(SYS_socket, {{is(0, AF_NETLINK), is(2, NETLINK_SOCK_DIAG)}});
  if (!holds) return rules;

  // The requests of ptrace that attach, stop, read registers and let go. An option of PTRACE_SEIZE
  // kills the target when its tracer ends, so none is allowed.
  allow(SYS_ptrace, {{is(0, PTRACE_SEIZE), is_address(3, nullptr)},
                     {is(0, PTRACE_INTERRUPT)},
                     {is(0, PTRACE_GETREGSET)},
                     {is(0, PTRACE_DETACH)}});
  rules.push_back({SYS_wait4, true});
  // libunwind looks at this program's own stack when it starts, in case it has to unwind that
  // stack.
  rules.push_back({SYS_mincore, true});
  rules.push_back({SYS_pipe2, true});
  rules.push_back({SYS_setitimer, true});
  allow(SYS_socketpair, {{is(0, AF_UNIX)}});
#ifdef SYS_fork
  rules.push_back({SYS_fork, true});
#endif
  if (sandbox != Sandbox::Executing) return rules;

  // One range of memory of one process; files as another user, and their removal.
  allow(SYS_process_vm_writev, {{is(0, static_cast<int>(target)), is(2, 1), is(4, 1), is(5, 0)}});
  rules.push_back({SYS_setfsuid, true});
  rules.push_back({SYS_setfsgid, true});
  allow(SYS_unlinkat, {{is(2, 0)}});
  return rules;
}

}  // namespace

void enter_sandbox(Sandbox sandbox, const std::function<void(const std::string&)>& log,
                   pid_t target) {
#ifdef PYSCOPE_SANITIZE
  (void)sandbox;
  (void)target;
  (void)rules_for;
  (void)enter;
  (void)drop_capabilities;
  if (log) log("sandbox: none in a build with sanitizers");
#else
  constexpr rlimit kNoCore{0, 0};
  ::setrlimit(RLIMIT_CORE, &kNoCore);
  const int capabilities = drop_capabilities(sandbox);
  const int error = enter(rules_for(sandbox, target));
  if (!log) return;
  if (capabilities != 0) {
    log(fmt::format("sandbox: capabilities are kept: {}", std::strerror(capabilities)));
  }
  log(error == 0 ? std::string("sandbox: entered")
                 : fmt::format("sandbox: none, seccomp: {}", std::strerror(error)));
#endif
}

}  // namespace pyscope::cli
