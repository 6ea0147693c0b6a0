// What a process's control group says of who manages it: a container's runtime, systemd.
#pragma once

#include <string>
#include <string_view>

namespace pyscope {

struct Confinement {
  std::string container;  // its id or name; empty: none that is told
  std::string unit;       // of systemd; empty: likewise
};

/// By the text of /proc/PID/cgroup. Known are the names that Docker, containerd, CRI-O, Podman,
/// Kubernetes and LXC give to their groups, with both drivers (cgroupfs and systemd) and both
/// versions of control groups.
[[nodiscard]] Confinement parse_cgroup(std::string_view text);

}  // namespace pyscope
