// Finds out which of the kernel's rules refused, so that the message is about this situation. The
// rules are those of __ptrace_may_access in the kernel (ptrace(2), "Ptrace access mode checking").
#include "process/permission.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

#include "process/cgroup.hpp"
#include "process/proc_file.hpp"
#include "process/user_names.hpp"
#include "process/words.hpp"

namespace pyscope {
namespace {

constexpr unsigned kCapSysPtrace = 19;  // linux/capability.h

constexpr std::array<std::string_view, 41> kCapabilities = {"CHOWN",
                                                            "DAC_OVERRIDE",
                                                            "DAC_READ_SEARCH",
                                                            "FOWNER",
                                                            "FSETID",
                                                            "KILL",
                                                            "SETGID",
                                                            "SETUID",
                                                            "SETPCAP",
                                                            "LINUX_IMMUTABLE",
                                                            "NET_BIND_SERVICE",
                                                            "NET_BROADCAST",
                                                            "NET_ADMIN",
                                                            "NET_RAW",
                                                            "IPC_LOCK",
                                                            "IPC_OWNER",
                                                            "SYS_MODULE",
                                                            "SYS_RAWIO",
                                                            "SYS_CHROOT",
                                                            "SYS_PTRACE",
                                                            "SYS_PACCT",
                                                            "SYS_ADMIN",
                                                            "SYS_BOOT",
                                                            "SYS_NICE",
                                                            "SYS_RESOURCE",
                                                            "SYS_TIME",
                                                            "SYS_TTY_CONFIG",
                                                            "MKNOD",
                                                            "LEASE",
                                                            "AUDIT_WRITE",
                                                            "AUDIT_CONTROL",
                                                            "SETFCAP",
                                                            "MAC_OVERRIDE",
                                                            "MAC_ADMIN",
                                                            "SYSLOG",
                                                            "WAKE_ALARM",
                                                            "BLOCK_SUSPEND",
                                                            "AUDIT_READ",
                                                            "PERFMON",
                                                            "BPF",
                                                            "CHECKPOINT_RESTORE"};

/// "CAP_NET_RAW, CAP_CHOWN and 3 more".
std::string name_capabilities(std::uint64_t set) {
  constexpr std::size_t kMostNamed = 3;
  constexpr unsigned kBits = 64;
  std::string names;
  std::size_t count = 0;
  for (unsigned bit = 0; bit < kBits; ++bit) {
    if (((set >> bit) & 1U) == 0 || ++count > kMostNamed) continue;
    if (!names.empty()) names += ", ";
    names += bit < kCapabilities.size() ? fmt::format("CAP_{}", kCapabilities.at(bit))
                                        : fmt::format("capability {}", bit);
  }
  if (count > kMostNamed) names += fmt::format(" and {} more", count - kMostNamed);
  return names;
}

// Bound (bytes): `mountinfo` and `cgroup` of our own
constexpr std::size_t kMostOfOneFile = std::size_t{1} << 20U;

/// As much of the file as can be read; empty if that is nothing.
std::string read_text(const std::string& path) {
  return read_file_start(AT_FDCWD, path.c_str(), kMostOfOneFile).value_or("");
}

std::string first_line(std::string text) {
  text.resize(std::min(text.find_first_of(std::string_view("\n\0", 2)), text.size()));
  return text;
}

std::optional<Ids> parse_ids(std::string_view status, std::string_view key) {
  const auto words = status_words(status, key);
  if (words.size() < 3) return std::nullopt;
  const auto real = to_number<std::uint32_t>(words[0]);
  const auto effective = to_number<std::uint32_t>(words[1]);
  const auto saved = to_number<std::uint32_t>(words[2]);
  if (!real || !effective || !saved) return std::nullopt;
  return Ids{*real, *effective, *saved};
}

std::uint64_t parse_capabilities(std::string_view status, std::string_view key) {
  constexpr int kHexadecimal = 16;
  const auto words = status_words(status, key);
  return words.empty() ? 0 : to_number<std::uint64_t>(words[0], kHexadecimal).value_or(0);
}

bool is_on_path(std::string_view program) {
  const char* variable = std::getenv("PATH");
  std::string_view path = variable == nullptr ? "/usr/bin:/bin" : variable;
  while (!path.empty()) {
    const std::string_view folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(folder.size() + 1, path.size()));
    if (::access(fmt::format("{}/{}", folder, program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

/// Docker mounts files of its own into a container, from a folder named by the container's id. So
/// the id is known even where a namespace hides the control group.
std::string container_in_mounts(std::string_view mounts) {
  constexpr std::size_t kIdDigits = 64;
  constexpr std::string_view kFolder = "/containers/";
  for (std::size_t at = mounts.find(kFolder); at != std::string_view::npos;
       at = mounts.find(kFolder, at + 1)) {
    const std::string_view id = mounts.substr(at + kFolder.size(), kIdDigits);
    if (id.size() == kIdDigits &&
        id.find_first_not_of("0123456789abcdef") == std::string_view::npos) {
      return std::string(id);
    }
  }
  return {};
}

/// By default Docker uses the beginning of a container's id as its host name.
std::string container_by_host(std::string_view host) {
  constexpr std::size_t kShortIdDigits = 12;
  const bool is_id = host.size() == kShortIdDigits &&
                     host.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  return is_id ? std::string(host) : std::string();
}

Containment find_containment() {
  Containment found;
  utsname host{};
  if (::uname(&host) != 0) host.nodename[0] = '\0';
  const std::string cgroup = read_text("/proc/self/cgroup");
  const Confinement confinement = parse_cgroup(cgroup);
  found.container = confinement.container;
  found.unit = confinement.unit;
  if (std::getenv("KUBERNETES_SERVICE_HOST") != nullptr ||
      cgroup.find("kubepods") != std::string::npos) {
    found.runtime = ContainerRuntime::Kubernetes;
    found.pod = host.nodename;  // Kubernetes gives a pod's name to its host
    found.pod_namespace =
        first_line(read_text("/var/run/secrets/kubernetes.io/serviceaccount/namespace"));
  } else if (::access("/run/.containerenv", F_OK) == 0 ||
             cgroup.find("libpod-") != std::string::npos) {
    found.runtime = ContainerRuntime::Podman;
  } else if (::access("/.dockerenv", F_OK) == 0 || cgroup.find("docker") != std::string::npos) {
    found.runtime = ContainerRuntime::Docker;
    if (found.container.empty())
      found.container = container_in_mounts(read_text("/proc/self/mountinfo"));
    if (found.container.empty()) found.container = container_by_host(host.nodename);
  } else if (!found.container.empty()) {
    found.runtime = ContainerRuntime::Unknown;
  }
  return found;
}

bool descends_from(const Process& process, pid_t ancestor) {
  auto stat = process.read_file("stat");
  auto parsed = stat ? parse_stat(*stat) : std::nullopt;
  constexpr int kMostGenerations = 4096;
  for (int i = 0; i < kMostGenerations && parsed && parsed->parent > 0; ++i) {
    if (parsed->parent == ancestor) return true;
    parsed = parse_stat(read_text(fmt::format("/proc/{}/stat", parsed->parent)));
  }
  return false;
}

/// A process may always read its own memory: only a filter of system calls refuses that.
bool own_memory_is_refused() {
  char from = 1;
  char to = 0;
  const iovec local{&to, 1};
  const iovec remote{&from, 1};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) != 1;
}

RefusalFacts gather_own_facts() {
  RefusalFacts facts;
  const UserNames users;
  const std::string status = read_text("/proc/self/status");
  const auto uids = parse_ids(status, "Uid");
  const auto gids = parse_ids(status, "Gid");
  facts.own_uids = uids.value_or(Ids{::getuid(), ::geteuid(), ::geteuid()});
  facts.own_gids = gids.value_or(Ids{::getgid(), ::getegid(), ::getegid()});
  facts.own_user = users.name(facts.own_uids.effective);
  facts.own_effective = parse_capabilities(status, "CapEff");
  facts.own_permitted = parse_capabilities(status, "CapPrm");
  facts.own_bounding = parse_capabilities(status, "CapBnd");
  const std::string map = read_text("/proc/self/uid_map");
  std::string_view map_text = map;
  map_text = map_text.substr(0, map_text.find('\n'));
  // In the initial namespace every number maps to itself. A kernel without user namespaces has no
  // such file.
  facts.in_initial_user_namespace =
      map.empty() || (next_word(map_text) == "0" && next_word(map_text) == "0" &&
                      next_word(map_text) == "4294967295");
  facts.call_is_filtered = own_memory_is_refused();
  facts.profile = first_line(read_text("/proc/self/attr/current"));
  if (facts.profile.starts_with("unconfined")) facts.profile.clear();
  facts.has_sudo = is_on_path("sudo");
  // This process may have set the flag for itself, so its parent's flag is read.
  const std::string parent = read_text(fmt::format("/proc/{}/status", ::getppid()));
  const auto flag = status_words(parent, "NoNewPrivs");
  facts.no_new_privileges = !flag.empty() && flag[0] == "1";
  const std::string scope = first_line(read_text("/proc/sys/kernel/yama/ptrace_scope"));
  facts.ptrace_scope = to_number<int>(scope);
  facts.where = find_containment();
  return facts;
}

/// The facts about this program don't change while it runs, and a list of processes may have
/// hundreds that refuse. So these facts are gathered once.
RefusalFacts own_facts(pid_t pid) {
  static const RefusalFacts own = gather_own_facts();
  RefusalFacts facts = own;
  facts.pid = pid;
  return facts;
}

bool has_capability(std::uint64_t set, unsigned bit) {
  return ((set >> bit) & 1U) != 0;
}

std::string name_user(std::uint32_t uid, const std::string& name) {
  return name.empty() ? fmt::format("user {}", uid) : fmt::format("user {} ({})", uid, name);
}

/// Whether the kernel takes the ids for the same: all three of theirs must be ours.
bool same(const std::optional<Ids>& theirs, std::uint32_t own) {
  return !theirs || (theirs->real == own && theirs->effective == own && theirs->saved == own);
}

class Explanation {
 public:
  explicit Explanation(const RefusalFacts& facts) : facts_(facts) {}

  [[nodiscard]] Error explain() const {
    if (facts_.ptrace_scope == 3) {
      return error("kernel.yama.ptrace_scope is 3, which forbids it to everybody",
                   hint(Action::LowerPtraceScope));
    }
    // Rights that are gained in a namespace don't count outside of it.
    if (facts_.same_user_namespace == false && !facts_.in_initial_user_namespace)
      return outside_namespace();
    if (has_capability(facts_.own_effective, kCapSysPtrace)) return by_module();
    const std::string ownership = ownership_rule();
    const std::string rule = ownership.empty() ? yama_rule() : ownership;
    // People expect that a container's root may do everything, so the message says why not.
    if (facts_.own_uids.effective == 0) {
      return error(
          "root here lacks CAP_SYS_PTRACE" + (rule.empty() ? std::string() : ", and " + rule),
          hint(Action::GetCapability));
    }
    CommandHint more_rights = with_more_rights();
    if (!ownership.empty()) {
      if (only_dumpable_refuses()) more_rights.consent = OwnConsent::Dumpable;
      return error(ownership, std::move(more_rights));
    }
    if (facts_.same_user_namespace == false)
      return error("it lives in a user namespace that isn't yours", std::move(more_rights));
    if (!rule.empty()) {
      if (facts_.ptrace_scope == 1) more_rights.consent = OwnConsent::Tracer;
      return error(rule, std::move(more_rights));
    }
    return by_module();
  }

  [[nodiscard]] Error hidden(std::string_view option, std::string_view group) const {
    CommandHint more_rights = with_more_rights();
    if (group != "0") more_rights.group = group;
    return with_command_hint(
        ErrorKind::NotPermitted,
        fmt::format("process {} exists, but /proc hides it: it is mounted with {}", facts_.pid,
                    option.empty() ? "hidepid" : option),
        std::move(more_rights));
  }

 private:
  using Action = CommandHint::Action;

  [[nodiscard]] Error error(const std::string& rule, CommandHint hint) const {
    return with_command_hint(
        ErrorKind::NotPermitted,
        fmt::format("not permitted to read process {} ({}): {}", facts_.pid, facts_.name, rule),
        std::move(hint));
  }

  [[nodiscard]] CommandHint hint(Action action) const {
    CommandHint hint{.action = action, .pid = facts_.pid, .where = facts_.where};
    // A login session is a unit as well, but nobody sets capabilities for a session.
    if (!is_service()) hint.where.unit.clear();
    return hint;
  }

  /// The conditions for callers without privileges: the ids, "dumpable", and the capabilities.
  /// Empty: none of these refused.
  [[nodiscard]] std::string ownership_rule() const {
    // The kernel checks the file system's ids for files of /proc, and the real ids for memory.
    const bool listing = facts_.step == RefusedStep::Listing;
    const auto uid = listing ? facts_.own_uids.effective : facts_.own_uids.real;
    const auto gid = listing ? facts_.own_gids.effective : facts_.own_gids.real;
    if (!same(facts_.uids, uid)) {
      if (facts_.uids->real == uid) {
        return fmt::format("it runs with the rights of {} (a setuid program), and you are {}",
                           name_user(facts_.uids->effective, facts_.user),
                           name_user(uid, facts_.own_user));
      }
      return fmt::format("it belongs to {} and you are {}",
                         name_user(facts_.uids->effective, facts_.user),
                         name_user(uid, facts_.own_user));
    }
    if (!same(facts_.gids, gid)) {
      return fmt::format(
          "its groups are {} (real), {} (effective) and {} (saved) as of a setgid program or of "
          "newgrp, and yours is {}",
          facts_.gids->real, facts_.gids->effective, facts_.gids->saved, gid);
    }
    const std::uint64_t more = facts_.capabilities & ~facts_.own_permitted;
    if (facts_.same_user_namespace != false && more != 0) {
      return fmt::format("it holds {}, which you lack", name_capabilities(more));
    }
    if (facts_.dumpable == false) {
      return "it isn't dumpable: it has called prctl(PR_SET_DUMPABLE, 0) or changed its user, or "
             "you may not read its executable";
    }
    return {};
  }

  /// Yama's rule, for a setting below 3. Yama is asked only when memory is read. Empty: Yama didn't
  /// refuse.
  [[nodiscard]] std::string yama_rule() const {
    if (facts_.step != RefusedStep::Reading) return {};
    if (facts_.ptrace_scope == 2)
      return "kernel.yama.ptrace_scope is 2, which asks for CAP_SYS_PTRACE";
    if (facts_.ptrace_scope == 1 && !facts_.descends_from_us) {
      return "kernel.yama.ptrace_scope is 1, which allows it only to a process's ancestors, and "
             "pyscope is none of them";
    }
    return {};
  }

  /// Whether the caller could read the process, had its program not made itself undumpable.
  [[nodiscard]] bool only_dumpable_refuses() const {
    return same(facts_.uids, facts_.own_uids.effective) &&
           same(facts_.gids, facts_.own_gids.effective) &&
           (facts_.capabilities & ~facts_.own_permitted) == 0 && facts_.dumpable == false;
  }

  /// What helps a user who isn't root.
  [[nodiscard]] CommandHint with_more_rights() const {
    const bool root_would_do = has_capability(facts_.own_bounding, kCapSysPtrace);
    if (facts_.own_uids.effective == 0 || !root_would_do) return hint(Action::GetCapability);
    if (!facts_.no_new_privileges && facts_.has_sudo) return hint(Action::UseSudo);
    switch (facts_.where.runtime) {
      case ContainerRuntime::Docker:
      case ContainerRuntime::Podman:
      case ContainerRuntime::Unknown:
        return hint(Action::UseContainerRoot);
      case ContainerRuntime::Kubernetes:
        return hint(Action::GetCapability);
      case ContainerRuntime::None:
        break;
    }
    if (!facts_.no_new_privileges) return hint(Action::UseSu);
    return hint(is_service() ? Action::GetCapability : Action::UseOtherSession);
  }

  [[nodiscard]] bool is_service() const {
    return facts_.where.unit.ends_with(".service") && !facts_.where.unit.starts_with("user@");
  }

  [[nodiscard]] Error outside_namespace() const {
    return error(has_capability(facts_.own_effective, kCapSysPtrace)
                     ? "CAP_SYS_PTRACE is held in this user namespace only, and the process lives "
                       "in another one"
                     : "it lives in another user namespace, where you have no rights",
                 hint(Action::LeaveUserNamespace));
  }

  /// The error if none of the rules that can be checked refused: a security module may have.
  [[nodiscard]] Error by_module() const {
    if (facts_.step == RefusedStep::Reading && facts_.call_is_filtered) {
      return error(
          "a seccomp filter refuses process_vm_readv here, and /proc/PID/mem is refused as well",
          hint(Action::LeaveFilter));
    }
    if (!facts_.profile.empty()) {
      return error(
          fmt::format("all else permits it, so a security module refuses: this program runs under "
                      "the profile \"{}\"",
                      facts_.profile),
          hint(Action::LeaveProfile));
    }
    return error(
        "all rules that can be seen permit it, so a security module refuses (AppArmor, "
        "SELinux, Landlock)",
        facts_.own_uids.effective == 0 ? hint(Action::ReadKernelLog) : with_more_rights());
  }

  const RefusalFacts& facts_;
};

/// The options "hidepid=2" or "hidepid=invisible", and gid, of mountinfo's line for /proc.
struct HiddenBy {
  std::string_view option;
  std::string_view group;
};

HiddenBy find_hidepid(std::string_view mounts) {
  HiddenBy found;
  while (!mounts.empty()) {
    std::string_view line = mounts.substr(0, mounts.find('\n'));
    mounts.remove_prefix(std::min(line.size() + 1, mounts.size()));
    constexpr int kMountPoint = 5;
    std::string_view point;
    std::string_view rest = line;
    for (int i = 0; i < kMountPoint; ++i)
      point = next_word(rest);
    if (point != "/proc") continue;
    // After the dash come the type, the source, and the options of the file system.
    rest = line.substr(std::min(line.find(" - "), line.size()));
    found = {};  // a later mount hides an earlier one
    for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
      while (!word.empty()) {
        const std::string_view option = word.substr(0, word.find(','));
        word.remove_prefix(std::min(option.size() + 1, word.size()));
        if (option.starts_with("hidepid=")) found.option = option;
        if (constexpr std::string_view kGroup = "gid="; option.starts_with(kGroup))
          found.group = option.substr(kGroup.size());
      }
    }
  }
  return found;
}

}  // namespace

RefusalFacts gather_refusal_facts(const Process& process, RefusedStep step) {
  RefusalFacts facts = own_facts(process.pid());
  facts.step = step;
  facts.name = process.name();
  if (const auto status = process.read_file("status")) {
    facts.uids = parse_ids(*status, "Uid");
    facts.gids = parse_ids(*status, "Gid");
    facts.capabilities = parse_capabilities(*status, "CapPrm");
  }
  if (facts.uids) {
    facts.user = UserNames().name(facts.uids->effective);
    // The files of a process that isn't dumpable belong to root in /proc, but the folder itself
    // doesn't.
    struct stat info {};
    if (facts.uids->effective != 0 && ::fstatat(process.directory(), "maps", &info, 0) == 0) {
      facts.dumpable = info.st_uid == facts.uids->effective;
    }
  }
  // The link ns/user may not be readable either. uid_map is shown as seen from our own namespace:
  // only a process in the same namespace is likely to show the same map as ours.
  const auto map = process.read_file("uid_map");
  const std::string own_map = read_text("/proc/self/uid_map");
  if (map && !own_map.empty()) facts.same_user_namespace = *map == own_map;
  facts.descends_from_us = descends_from(process, ::getpid());
  return facts;
}

Error explain_refusal(const RefusalFacts& facts) {
  return Explanation(facts).explain();
}

Error explain_hidden(const RefusalFacts& facts, std::string_view mounts) {
  const HiddenBy hidden = find_hidepid(mounts);
  return Explanation(facts).hidden(hidden.option, hidden.group);
}

Error explain_hidden(pid_t pid) {
  return explain_hidden(own_facts(pid), read_text("/proc/self/mountinfo"));
}

}  // namespace pyscope
