// A process's control group names its manager: a container's runtime, or systemd.
#pragma once

#include <string>
#include <string_view>

namespace pyscope {

struct Confinement {
  std::string container;  // the container's id or name; empty: none is named
  std::string unit;       // the systemd unit; empty: none is named
};

/// Parses the text of /proc/PID/cgroup. It knows the names that Docker, containerd, CRI-O, Podman,
/// Kubernetes and LXC give to their groups, with both drivers (cgroupfs and systemd) and both
/// versions of control groups.
[[nodiscard]] Confinement parse_cgroup(std::string_view text);

}  // namespace pyscope
