#include <catch2/catch.hpp>
#include <string>

#include "process/cgroup.hpp"

using namespace pyscope;

namespace {
const std::string kId = "4f1c6c0d8a7e0b5b2a0f3f3f9f0c7b7a7a0e5d9b3a1c2d3e4f5061728394a5b6";
}

TEST_CASE("the control groups of container runtimes give a container's id", "[process]") {
  // As the runtimes name them, with the drivers cgroupfs and systemd.
  for (const std::string& path :
       {"/docker/" + kId, "/system.slice/docker-" + kId + ".scope",
        "/kubepods/burstable/pod3f1b/" + kId,
        "/kubepods.slice/kubepods-pod3f1b.slice/cri-containerd-" + kId + ".scope",
        "/kubepods.slice/kubepods-pod3f1b.slice/crio-" + kId + ".scope",
        "/machine.slice/libpod-" + kId + ".scope/container",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kId + ".scope"}) {
    CAPTURE(path);
    const Confinement found = parse_cgroup("0::" + path + "\n");
    CHECK(found.container == kId);
    CHECK(found.unit.empty());
  }
  CHECK(parse_cgroup("0::/lxc.payload.web-1/system.slice/shop.service\n").container == "web-1");
  CHECK(parse_cgroup("4:memory:/lxc/web-1\n").container == "web-1");
  // systemd within a container has units of its own.
  const Confinement inside = parse_cgroup("0::/docker/" + kId + "/system.slice/shop.service\n");
  CHECK(inside.container == kId);
  CHECK(inside.unit == "shop.service");
}

TEST_CASE("the control groups of systemd give a unit", "[process]") {
  const auto unit = [](const std::string& text) { return parse_cgroup(text).unit; };
  CHECK(unit("0::/system.slice/shop.service\n") == "shop.service");
  CHECK(unit("0::/system.slice/system-shop.slice/shop@3.service\n") == "shop@3.service");
  CHECK(unit("0::/user.slice/user-1000.slice/session-7.scope\n") == "session-7.scope");
  CHECK(unit("0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n") ==
        "shop.service");
  // A hybrid system, where only one hierarchy is systemd's.
  CHECK(unit("12:memory:/\n1:name=systemd:/system.slice/shop.service\n0::/\n") == "shop.service");
}

TEST_CASE("a control group that tells nothing gives nothing", "[process]") {
  for (const std::string text :
       {"", "\n", "0::/\n", "0::", ":::", "0:", "no colons", "0::/docker/short\n", "0::/a/b/c\n",
        "0::////\n", "0::/docker-.scope"}) {
    CAPTURE(text);
    const Confinement found = parse_cgroup(text);
    CHECK(found.container.empty());
    CHECK((found.unit.empty() || text == "0::/docker-.scope"));
  }
}
