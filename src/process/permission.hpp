// Explains why the kernel refuses to let us read a process: gathers facts, and concludes from them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "process/process.hpp"
#include "pyscope/command_hint.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// The step that was refused. Listing needs less: Yama has no say in it.
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

/// The facts that can be found out about a refusal. An optional fact that is empty isn't known.
struct RefusalFacts {
  // The process.
  std::string name;
  std::string user;                // the name of its effective user; empty: not known
  std::uint64_t capabilities = 0;  // its permitted capabilities
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
  std::string profile;  // of AppArmor or SELinux; empty: none is named

  // Where this program runs.
  Containment where;
  bool in_initial_user_namespace = true;
  bool call_is_filtered = false;  // process_vm_readv fails even for our own memory: seccomp
  bool has_sudo = false;
  bool no_new_privileges = false;  // of who started us: sudo gives no rights then

  // Between this program and the process.
  RefusedStep step = RefusedStep::Listing;
  bool descends_from_us = false;
  std::optional<bool> dumpable;             // whether its own user may read it (PR_SET_DUMPABLE)
  std::optional<bool> same_user_namespace;  // as we are in
};

[[nodiscard]] RefusalFacts gather_refusal_facts(const Process& process, RefusedStep step);

/// The first of the kernel's rules that refuses by these facts, in the order in which the kernel
/// checks them, with what would help as a command hint.
[[nodiscard]] Error explain_refusal(const RefusalFacts& facts);

[[nodiscard]] inline Error explain_refusal(const Process& process, RefusedStep step) {
  return explain_refusal(gather_refusal_facts(process, step));
}

/// The same for a process that /proc hides because /proc is mounted with hidepid. `mounts` is the
/// text of /proc/self/mountinfo. Of `facts`, only those about this program are used.
[[nodiscard]] Error explain_hidden(const RefusalFacts& facts, std::string_view mounts);
/// Gathers the facts and the mounts, and explains.
[[nodiscard]] Error explain_hidden(pid_t pid);

}  // namespace pyscope
