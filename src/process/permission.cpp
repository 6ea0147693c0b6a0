// Finds out which of the kernel's rules refused, so that the message is about this situation.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <climits>
#include <string>

#include "process/process.hpp"

namespace pyscope {
namespace {

constexpr unsigned kCapSysPtrace = 19;  // linux/capability.h

std::string own_path() {
  std::array<char, PATH_MAX> path;
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  return n > 0 ? std::string(path.data(), static_cast<std::size_t>(n)) : "pyscope";
}

std::string read_small_file(const char* path) {
  const UniqueFd fd{::open(path, O_RDONLY | O_CLOEXEC)};
  std::array<char, 8192> text;
  const ssize_t n = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  return n > 0 ? std::string(text.data(), static_cast<std::size_t>(n)) : std::string{};
}

std::uint64_t to_number(std::string_view word, int base) {
  std::uint64_t value = 0;
  std::from_chars(word.data(), word.data() + word.size(), value, base);
  return value;
}

bool we_may_trace_anything() {
  const std::string status = read_small_file("/proc/self/status");
  const auto effective = status_words(status, "CapEff");
  return !effective.empty() && ((to_number(effective[0], 16) >> kCapSysPtrace) & 1U) != 0;
}

}  // namespace

Error explain_refusal(const Process& process) {
  Error error{ErrorKind::NotPermitted, "", ""};
  const std::string sudo = fmt::format("sudo {} dump {}", own_path(), process.pid());
  const std::string what =
      fmt::format("not permitted to read process {} ({})", process.pid(), process.name());

  std::uint64_t owner = 0;
  bool owner_known = false;
  if (const auto status = process.read_file("status")) {
    const auto uids = status_words(*status, "Uid");
    if (uids.size() >= 2) {
      owner = to_number(uids[1], 10);
      owner_known = true;
    }
  }
  const std::string scope_text = read_small_file("/proc/sys/kernel/yama/ptrace_scope");
  const std::uint64_t scope = to_number(scope_text, 10);

  if (we_may_trace_anything()) {
    error.message =
        what +
        ": CAP_SYS_PTRACE is there, so a security module (AppArmor, SELinux), a seccomp "
        "filter or a user namespace boundary refuses";
    error.hint =
        "run pyscope on the host instead of in the container, or start the container with "
        "--security-opt seccomp=unconfined --security-opt apparmor=unconfined";
  } else if (::geteuid() == 0) {
    error.message =
        what + ": root here lacks CAP_SYS_PTRACE, as in a container with default rights";
    error.hint =
        "start the container with --cap-add SYS_PTRACE (Kubernetes: "
        "securityContext.capabilities.add: "
        "[\"SYS_PTRACE\"]), or run pyscope on the host";
  } else if (scope == 3) {
    error.message = what + ": kernel.yama.ptrace_scope is 3, which forbids it to everybody";
    error.hint = "it can be lifted only by a reboot with another setting";
  } else if (owner_known && owner != ::geteuid()) {
    error.message =
        fmt::format("{}: it belongs to user {} and you are user {}", what, owner, ::geteuid());
    error.hint = sudo;
  } else if (scope == 2) {
    error.message = what + ": kernel.yama.ptrace_scope is 2, which asks for CAP_SYS_PTRACE";
    error.hint = sudo;
  } else if (scope == 1) {
    error.message =
        what + ": kernel.yama.ptrace_scope is 1, which allows only a process's own ancestors";
    error.hint = sudo + "   (or for all processes: sudo sysctl kernel.yama.ptrace_scope=0)";
  } else {
    error.message =
        what + ": it has marked itself as not dumpable, or runs with more rights than you";
    error.hint = sudo;
  }
  return error;
}

}  // namespace pyscope
