// Why the kernel refuses to let us read a process: facts that are read, and what follows from them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "process/process.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// Where it was refused. The first asks for less: Yama has no say in it.
enum class RefusedStep : std::uint8_t {
  Listing,  // of what the process has mapped (/proc/PID/maps)
  Reading,  // of its memory
};

struct Ids {
  std::uint32_t real = 0;
  std::uint32_t effective = 0;
  std::uint32_t saved = 0;
  friend bool operator==(const Ids&, const Ids&) = default;
};

/// Who runs the container that we are in.
enum class ContainerRuntime : std::uint8_t { None, Docker, Podman, Kubernetes, Unknown };

/// What can be found out about a refusal. Empty, where it's optional: it can't.
struct RefusalFacts {
  // The process.
  std::string name;
  std::string user;                // the name of its effective user; empty: not known
  std::uint64_t capabilities = 0;  // that it is permitted
  std::optional<Ids> uids;
  std::optional<Ids> gids;
  pid_t pid = 0;

  // This program.
  Ids own_uids;
  Ids own_gids;
  std::optional<int> ptrace_scope;  // Yama's; empty: there is no Yama
  std::uint64_t own_effective = 0;  // capabilities
  std::uint64_t own_permitted = 0;
  std::uint64_t own_bounding = 0;  // what a setuid program such as sudo can gain at most
  std::string own_user;
  std::string profile;                  // of AppArmor or SELinux; empty: none that is told
  std::string program = "pyscope";      // our executable
  std::vector<std::string> invocation;  // verb and arguments as typed; empty: not known

  // Where it runs.
  std::string container;      // its id; empty: not known
  std::string pod;            // of Kubernetes
  std::string pod_namespace;  // likewise
  std::string unit;           // the service of systemd
  ContainerRuntime runtime = ContainerRuntime::None;
  bool in_initial_user_namespace = true;
  bool call_is_filtered = false;  // process_vm_readv fails even for our own memory: seccomp
  bool has_sudo = false;
  bool no_new_privileges = false;  // of who started us: sudo gives no rights then

  // Between the two.
  RefusedStep step = RefusedStep::Listing;
  bool descends_from_us = false;
  std::optional<bool> dumpable;             // whether its own user may read it (PR_SET_DUMPABLE)
  std::optional<bool> same_user_namespace;  // as we are in
};

[[nodiscard]] RefusalFacts gather_refusal_facts(const Process& process, RefusedStep step);

/// The first rule of the kernel's, in the order in which it asks, that refuses by these facts, and
/// the command that would do.
[[nodiscard]] Error explain_refusal(const RefusalFacts& facts);

[[nodiscard]] inline Error explain_refusal(const Process& process, RefusedStep step) {
  return explain_refusal(gather_refusal_facts(process, step));
}

/// The same for a process that /proc hides, as it is mounted with hidepid. `mounts` is the text of
/// /proc/self/mountinfo; of `facts`, what is about us is looked at.
[[nodiscard]] Error explain_hidden(const RefusalFacts& facts, std::string_view mounts);
/// Gathers that.
[[nodiscard]] Error explain_hidden(pid_t pid);

}  // namespace pyscope
