// Puts what would help after an error into words, for somebody who types them into a shell.
#include <fmt/format.h>

#include "format/command_line.hpp"
#include "pyscope/command_hint.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

class HintText {
 public:
  HintText(const CommandHint& hint, const Invocation& invocation)
      : hint_(hint), invocation_(invocation) {}

  [[nodiscard]] std::string text() const { return action() + group() + consent(); }

 private:
  using Action = CommandHint::Action;

  [[nodiscard]] std::string action() const {
    switch (hint_.action) {
      case Action::ListProcesses:
        return "list the Python processes: pyscope ps";
      case Action::ListPidsHere:
        return "take the PID that it has here, which the first column of this has (INSIDE is the "
               "other one): pyscope ps";
      case Action::UsePidHere:
        return "pyscope " +
               shell_command(command_for(invocation_.words, hint_.named_pid, hint_.pid));
      case Action::ShowParent:
        return fmt::format("look at the parent: pyscope dump {}", hint_.pid);
      case Action::ShowThread:
        return fmt::format("pyscope {} {} --thread {}", verb_for_threads(), hint_.pid,
                           hint_.thread);
      case Action::ListThreads:
        return fmt::format("list its threads: pyscope dump {} --frames 1", hint_.pid);
      case Action::TryVerbosely:
        return "try again; if it stays so: pyscope dump -v tells what was tried";
      case Action::UseSudo:
        return "sudo " + command();
      case Action::UseSu:
        return "su -c " + shell_quote(command());
      case Action::UseOtherSession:
        return "as root, in another session (this one can gain no rights): " + command();
      case Action::UseContainerRoot:
        return container_root();
      case Action::GetCapability:
        return capability();
      case Action::LowerPtraceScope:
        return "only a reboot lifts it: set kernel.yama.ptrace_scope to 1 in /etc/sysctl.d/ before";
      case Action::LeaveUserNamespace:
        return "run pyscope outside of this user namespace; the PID that the process has there is "
               "shown by: pyscope ps";
      case Action::LeaveFilter:
        return in_docker() ? fmt::format(
                                 "start the container with {} run --cap-add SYS_PTRACE "
                                 "--security-opt seccomp=unconfined, or run pyscope on the host",
                                 tool())
                           : "run pyscope outside of what set the filter (a container, or "
                             "SystemCallFilter= of a systemd unit)";
      case Action::LeaveProfile:
        return in_docker() ? fmt::format(
                                 "start the container with {} run --security-opt "
                                 "apparmor=unconfined, or run pyscope on the host",
                                 tool())
                           : "the kernel's log names the rule: journalctl -k --grep 'apparmor|avc'";
      case Action::ReadKernelLog:
        return "the kernel's log may name the rule: journalctl -k --grep 'apparmor|avc'";
    }
    return {};
  }

  [[nodiscard]] std::string group() const {
    if (hint_.group.empty()) return {};
    return fmt::format(", or be in group {}, which sees all (gid={})", hint_.group, hint_.group);
  }

  [[nodiscard]] std::string consent() const {
    switch (hint_.consent) {
      case OwnConsent::None:
        return {};
      case OwnConsent::Dumpable:
        return "; or in the program: prctl(PR_SET_DUMPABLE, 1)";
      case OwnConsent::Tracer:
        return "; or in the program: prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)";
    }
    return {};
  }

  /// The same command again, for the process that is meant.
  [[nodiscard]] std::string command() const {
    std::vector<std::string> words{invocation_.program};
    const auto rest = command_for(invocation_.words, hint_.pid, hint_.pid);
    words.insert(words.end(), rest.begin(), rest.end());
    return shell_command(words);
  }

  /// The verb that was asked for, if it takes --thread.
  [[nodiscard]] const char* verb_for_threads() const {
    const auto& words = invocation_.words;
    return !words.empty() && words.front() == "why" ? "why" : "dump";
  }

  [[nodiscard]] bool in_docker() const {
    return hint_.where.runtime == ContainerRuntime::Docker ||
           hint_.where.runtime == ContainerRuntime::Podman;
  }

  [[nodiscard]] const char* tool() const {
    return hint_.where.runtime == ContainerRuntime::Podman ? "podman" : "docker";
  }

  [[nodiscard]] std::string container() const {
    return hint_.where.container.empty() ? "CONTAINER" : shell_quote(hint_.where.container);
  }

  [[nodiscard]] std::string container_root() const {
    if (!in_docker()) return "as the container's root: " + command();
    return fmt::format("on the host: {} exec -u 0 {} {}", tool(), container(), command());
  }

  [[nodiscard]] std::string capability() const {
    const Containment& where = hint_.where;
    switch (where.runtime) {
      case ContainerRuntime::Docker:
      case ContainerRuntime::Podman:
        return fmt::format(
            "on the host: {0} exec --privileged -u 0 {1} {2}; or start the container with "
            "{0} run --cap-add SYS_PTRACE",
            tool(), container(), command());
      case ContainerRuntime::Kubernetes:
        return fmt::format(
            "kubectl debug -it{} {} --image=IMAGE_WITH_PYSCOPE --target=CONTAINER "
            "--profile=sysadmin; or in the pod's manifest: securityContext: {{capabilities: "
            "{{add: [SYS_PTRACE]}}}}",
            where.pod_namespace.empty() ? "" : " -n " + shell_quote(where.pod_namespace),
            where.pod.empty() ? "POD" : shell_quote(where.pod));
      case ContainerRuntime::Unknown:
        return fmt::format("give the container {} CAP_SYS_PTRACE, or run pyscope on the host",
                           container());
      case ContainerRuntime::None:
        break;
    }
    if (!where.unit.empty()) {
      return fmt::format(
          "in the unit {0} (systemctl edit {1}): [Service] AmbientCapabilities=CAP_SYS_PTRACE, "
          "and if it has CapabilityBoundingSet=, add it there",
          where.unit, shell_quote(where.unit));
    }
    return "from a root shell that has it (capsh --print shows what a shell has): " + command();
  }

  const CommandHint& hint_;
  const Invocation& invocation_;
};

}  // namespace

std::string render_hint(const Error& error, const Invocation& invocation) {
  return error.command_hint ? HintText(*error.command_hint, invocation).text() : error.hint;
}

}  // namespace pyscope
