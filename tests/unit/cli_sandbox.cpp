// What the program denies itself, tried from inside: in a child, since there is no way back.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "base/opening.hpp"
#include "cli/sandbox.hpp"
#include "process/rooted_open.hpp"
#include "unit/scratch_folder.hpp"

using namespace pyscope;
using cli::Sandbox;
using test::ScratchFolder;

namespace {

#ifndef PYSCOPE_SANITIZE

/// What `attempts` says in a child that has entered the sandbox. Dies with "killed" if that was.
std::string in_sandbox(Sandbox sandbox, const std::function<std::string()>& attempts) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool entered = false;
    cli::enter_sandbox(
        sandbox, [&](const std::string& word) { entered = word == "sandbox: entered"; }, parent);
    const std::string text = entered ? attempts() : "no sandbox";
    (void)!::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? text + "killed" : text;
}

/// Collects what was possible and should not have been, or the other way round.
class Report {
 public:
  void denied(const char* what, long result) {
    if (result >= 0 || errno != EPERM) text_ += std::string(what) + " was not denied; ";
  }
  void allowed(const char* what, bool ok) {
    if (!ok) text_ += std::string(what) + " failed; ";
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

#endif

}  // namespace

#ifdef PYSCOPE_SANITIZE
TEST_CASE("a build with sanitizers says that it has no sandbox", "[cli]") {
  std::string said;
  cli::enter_sandbox(Sandbox::Reading, [&](const std::string& word) { said = word; });
  CHECK(said == "sandbox: none in a build with sanitizers");
}
#else

TEST_CASE("in the sandbox nothing can be changed", "[cli]") {
  const Sandbox sandbox = GENERATE(Sandbox::Reading, Sandbox::HoldingThreads);
  const ScratchFolder folder;
  const std::string file = folder.write("file", "content");
  const std::string other = folder.path() / "other";
  const pid_t parent = ::getpid();
  const std::string report = in_sandbox(sandbox, [&] {
    Report r;
    r.denied("opening to write", ::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    r.denied("opening to read and write", ::open(file.c_str(), O_RDWR | O_CLOEXEC));
    r.denied("truncating", ::open(file.c_str(), O_RDONLY | O_TRUNC | O_CLOEXEC));
    r.denied("creating", ::open(other.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
    open_how how{};
    how.flags = O_WRONLY | O_CLOEXEC;
    r.denied("openat2 of one's own",
             ::syscall(SYS_openat2, AT_FDCWD, file.c_str(), &how, sizeof how));
    r.denied("memory of a process",
             ::open(("/proc/" + std::to_string(parent) + "/mem").c_str(), O_RDWR | O_CLOEXEC));
    r.denied("unlink", ::unlink(file.c_str()));
    r.denied("rename", ::rename(file.c_str(), other.c_str()));
    r.denied("mkdir", ::mkdir(other.c_str(), 0700));
    r.denied("chmod", ::chmod(file.c_str(), 0600));
    r.denied("symlink", ::symlink("a", other.c_str()));
    char byte = 'x';
    const iovec local{&byte, 1};
    const iovec remote{&byte, 1};
    r.denied("process_vm_writev", ::process_vm_writev(parent, &local, 1, &remote, 1, 0));
    r.denied("PTRACE_ATTACH", ::ptrace(PTRACE_ATTACH, parent, nullptr, nullptr));
    r.denied("PTRACE_POKEDATA", ::ptrace(PTRACE_POKEDATA, parent, &byte, nullptr));
    r.denied("PTRACE_SETREGS",
             ::ptrace(static_cast<__ptrace_request>(13), parent, nullptr, nullptr));
    r.denied("kill", ::kill(parent, SIGCONT));
    r.denied("tgkill of another", ::syscall(SYS_tgkill, parent, parent, SIGCONT));
    char* const command[] = {const_cast<char*>("/bin/true"), nullptr};
    r.denied("execve", ::execv(command[0], command));
    r.denied("a socket", ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    r.denied("code", reinterpret_cast<long>(::mmap(nullptr, 4096, PROT_READ | PROT_EXEC,
                                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    const auto page =
        reinterpret_cast<std::uintptr_t>(&RootedOpening::kPath) & ~std::uintptr_t{4095};
    // The linker's page of constants, as code could try to change it.
    auto* constants = reinterpret_cast<void*>(page);  // NOLINT(performance-no-int-to-ptr)
    r.denied("constants to write", ::mprotect(constants, 4096, PROT_READ | PROT_WRITE));
    r.denied("unmapping constants", ::munmap(constants, 4096));
    r.denied("advice on constants", ::madvise(constants, 4096, MADV_DONTNEED));
    const auto map_at = [](void* at, int flags) {
      return reinterpret_cast<long>(
          ::mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0));
    };
    // Where nothing is, in place of the constants that had been unmapped.
    auto* hole = reinterpret_cast<void*>(page - 0x10'000'000);  // NOLINT(performance-no-int-to-ptr)
    r.denied("mapping with a hint", map_at(hole, 0));
    r.denied("mapping where nothing is", map_at(hole, MAP_FIXED_NOREPLACE));
    r.denied("moving over constants",
             reinterpret_cast<long>(
                 ::mremap(constants, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, hole)));
    r.denied("remap_file_pages", ::syscall(SYS_remap_file_pages, constants, 4096, 0, 0, 0));
    r.denied("netlink of routes", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    r.denied("netlink of the audit", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT));
    r.denied("io_uring", ::syscall(SYS_io_uring_setup, 1, nullptr));
    r.denied("bpf", ::syscall(SYS_bpf, 0, nullptr, 0));
    r.denied("memfd_create", ::syscall(SYS_memfd_create, "x", 0));
    r.denied("pidfd_getfd", ::syscall(SYS_pidfd_getfd, 0, 0, 0));
    r.denied("pidfd_send_signal", ::syscall(SYS_pidfd_send_signal, 0, 0, nullptr, 0));
    r.denied("setns", ::syscall(SYS_setns, 0, 0));
    r.denied("mount", ::syscall(SYS_mount, "a", "b", "c", 0, nullptr));
    r.denied("process_madvise", ::syscall(SYS_process_madvise, 0, nullptr, 0, 0, 0));
    r.denied("TIOCSTI", ::ioctl(0, TIOCSTI, &byte));
    r.denied("PTRACE_SEIZE with an option",
             ::ptrace(PTRACE_SEIZE, parent, nullptr, PTRACE_O_EXITKILL));
    r.denied("capset", ::syscall(SYS_capset, nullptr, nullptr));
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> capabilities{};
    r.allowed("capget", ::syscall(SYS_capget, &header, capabilities.data()) == 0);
    const auto held = capabilities[0].permitted;
    const auto has = [&](int one) { return (held >> static_cast<unsigned>(one) & 1U) != 0; };
    if (has(CAP_SYS_PTRACE)) {
      r.allowed("dropping capabilities", !has(CAP_NET_ADMIN) && !has(CAP_DAC_OVERRIDE) &&
                                             !has(CAP_KILL) && !has(CAP_SETUID));
    }
    r.denied("mapping over constants",
             reinterpret_cast<long>(::mmap(constants, 4096, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    r.denied("another process's affinity", ::sched_setaffinity(parent, sizeof cpus, &cpus));
    r.denied("setuid", ::setuid(::getuid()));
    const rlimit limit{1000, 1000};
    r.denied("setrlimit", ::setrlimit(RLIMIT_CORE, &limit));
    if (sandbox == Sandbox::Reading) {
      r.denied("fork", ::fork());
      r.denied("PTRACE_SEIZE", ::ptrace(PTRACE_SEIZE, parent, nullptr, nullptr));
    }
    return r.text();
  });
  CAPTURE(report);
  CHECK(report.empty());
  CHECK(::access(file.c_str(), F_OK) == 0);
}

TEST_CASE("in the sandbox everything that reading takes is possible", "[cli]") {
  const Sandbox sandbox = GENERATE(Sandbox::Reading, Sandbox::HoldingThreads);
  const ScratchFolder folder;
  const std::string file = folder.write("file", "content");
  const std::string report = in_sandbox(sandbox, [&] {
    Report r;
    r.allowed("opening to read", ::open(file.c_str(), O_RDONLY | O_CLOEXEC) >= 0);
    const UniqueFd self{::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    r.allowed("opening below a root", static_cast<bool>(open_below_root(self.get(), file)));
    char byte = 0;
    char from = 'x';
    const iovec local{&byte, 1};
    const iovec remote{&from, 1};
    r.allowed("process_vm_readv", ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == 1);
    int ran = 0;
    std::thread([&] { ran = 1; }).join();
    r.allowed("a thread", ran == 1);
    r.allowed("much memory", !std::string(std::size_t{64} << 20U, 'x').empty());
    r.allowed("whether a process is there", ::kill(::getppid(), 0) == 0);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    r.allowed("one's own affinity", ::sched_getaffinity(0, sizeof cpus, &cpus) == 0 &&
                                        ::sched_setaffinity(0, sizeof cpus, &cpus) == 0 &&
                                        ::sched_setaffinity(::getpid(), sizeof cpus, &cpus) == 0);
    r.allowed("netlink", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 4) >= 0);
    bool caught = false;
    try {
      throw 1;
    } catch (int) {
      caught = true;
    }
    r.allowed("an exception", caught);
    rlimit core{1, 1};
    r.allowed("no core", ::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0);
    if (sandbox == Sandbox::HoldingThreads) {
      const pid_t child = ::fork();
      if (child == 0) ::_exit(7);
      int status = 0;
      r.allowed("fork", child > 0 && ::waitpid(child, &status, 0) == child);
      r.allowed("its end", WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    return r.text();
  });
  CAPTURE(report);
  CHECK(report.empty());
}

TEST_CASE("only exec's sandbox lets one process be written to, and files be made", "[cli]") {
  const Sandbox sandbox = GENERATE(Sandbox::Reading, Sandbox::HoldingThreads, Sandbox::Executing);
  const bool may = sandbox == Sandbox::Executing;
  const ScratchFolder folder;
  const std::string file = folder.write("file", "content");
  const std::string made = folder.path() / "made";
  static char word = 'a';
  word = 'a';
  const pid_t parent = ::getpid();
  const std::string report = in_sandbox(sandbox, [&] {
    Report r;
    const auto check = [&](const char* what, long result) {
      if (may) {
        r.allowed(what, result >= 0);
      } else {
        r.denied(what, result);
      }
    };
    char byte = 'x';
    const iovec local{&byte, 1};
    const iovec remote{&word, 1};
    const std::array<iovec, 2> two{remote, remote};
    check("process_vm_writev", ::process_vm_writev(parent, &local, 1, &remote, 1, 0));
    r.denied("another process", ::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0));
    r.denied("two ranges", ::process_vm_writev(parent, &local, 1, two.data(), two.size(), 0));
    constexpr int kNew = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    check("a new file", ::open(made.c_str(), kNew, 0600));
    r.denied("opening to write", ::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    r.denied("opening to read and write", ::open(file.c_str(), O_RDWR | O_CLOEXEC));
    r.denied("a file that may be there", ::open(file.c_str(), kNew & ~O_EXCL, 0600));
    r.denied("truncating", ::open(file.c_str(), kNew | O_TRUNC, 0600));
    check("removing", ::unlinkat(AT_FDCWD, made.c_str(), 0));
    r.denied("removing a folder", ::unlinkat(AT_FDCWD, folder.path().c_str(), AT_REMOVEDIR));
    r.denied("renaming", ::rename(file.c_str(), made.c_str()));
    r.denied("chmod", ::chmod(file.c_str(), 0600));
    r.denied("PTRACE_POKEDATA", ::ptrace(PTRACE_POKEDATA, parent, &byte, nullptr));
    r.denied("setuid", ::setuid(::getuid()));
    r.denied("kill", ::kill(parent, SIGCONT));
    char* const command[] = {const_cast<char*>("/bin/true"), nullptr};
    r.denied("execve", ::execv(command[0], command));
    return r.text();
  });
  CAPTURE(report);
  CHECK(report.empty());
  CHECK(word == (may ? 'x' : 'a'));
}

#endif
