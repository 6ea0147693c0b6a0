// What would help after an error, as facts. The words depend on how this program was started, which
// only the program itself knows: render_hint() (pyscope/render.hpp) puts the facts into words.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace pyscope {

/// The runtime of the container that this program runs in.
enum class ContainerRuntime : std::uint8_t { None, Docker, Podman, Kubernetes, Unknown };

/// Where this program runs, as far as that decides how the program gains rights.
struct Containment {
  ContainerRuntime runtime = ContainerRuntime::None;
  std::string container = {};      // its id; empty: not known
  std::string pod = {};            // of Kubernetes
  std::string pod_namespace = {};  // likewise
  std::string unit = {};           // of systemd
};

/// What the target's own program could do, so that no more rights are needed.
enum class OwnConsent : std::uint8_t {
  None,
  Dumpable,  // prctl(PR_SET_DUMPABLE, 1)
  Tracer,    // prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)
};

struct CommandHint {
  enum class Action : std::uint8_t {
    // Another process or thread is meant.
    ListProcesses,
    ListPidsHere,  // a PID of a container was named, and several processes have it there
    UsePidHere,    // `pid` is the process here that has `named_pid` inside of a container
    ShowParent,    // `pid` is the parent of the process that was named
    ShowThread,    // `thread` is a thread of `pid`, and no process
    ListThreads,   // of `pid`
    TryVerbosely,

    // More rights are needed, to read `pid`.
    UseSudo,
    UseSu,
    UseOtherSession,   // this session's processes can gain no rights
    UseContainerRoot,  // who has all that is needed
    GetCapability,     // CAP_SYS_PTRACE, which not even root has here
    LowerPtraceScope,  // kernel.yama.ptrace_scope is 3
    LeaveUserNamespace,
    LeaveFilter,   // seccomp's, which refuses process_vm_readv
    LeaveProfile,  // of a security module
    ReadKernelLog,
  };
  Action action = Action::ListProcesses;
  pid_t pid = 0;
  pid_t named_pid = 0;
  pid_t thread = 0;
  OwnConsent consent = OwnConsent::None;  // helps as well as the action
  std::string group = {};                 // being in this group does, too; empty: none
  Containment where = {};
};

}  // namespace pyscope
