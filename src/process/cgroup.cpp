#include "process/cgroup.hpp"

#include <algorithm>
#include <array>

namespace pyscope {
namespace {

bool is_container_id(std::string_view name) {
  constexpr std::size_t kDigits = 64;
  return name.size() == kDigits &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// "docker-4f1c….scope" and "4f1c…" as "4f1c…"; empty for anything else.
std::string_view container_id(std::string_view part) {
  constexpr std::string_view kScope = ".scope";
  if (part.ends_with(kScope)) part.remove_suffix(kScope.size());
  static constexpr std::array<std::string_view, 5> kRuntimes = {"docker-", "cri-containerd-",
                                                                "crio-", "libpod-", "nerdctl-"};
  for (const std::string_view runtime : kRuntimes) {
    if (part.starts_with(runtime)) part.remove_prefix(runtime.size());
  }
  return is_container_id(part) ? part : std::string_view{};
}

bool is_unit(std::string_view part) {
  return part.ends_with(".service") || part.ends_with(".scope");
}

/// Takes the parts of one group's path from the outermost inwards: a deeper part is nearer to the
/// process, and wins.
void look_at(std::string_view path, Confinement& found) {
  std::string_view before;
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(part.size() + 1, path.size()));
    if (const auto id = container_id(part); !id.empty()) {
      found.container = id;
      found.unit.clear();  // of the runtime
    } else if (before == "lxc" || before == "machine") {
      found.container = part;
    } else if (constexpr std::string_view kLxc = "lxc.payload."; part.starts_with(kLxc)) {
      found.container = part.substr(kLxc.size());
    } else if (is_unit(part)) {
      found.unit = part;
    }
    before = part;
  }
}

}  // namespace

Confinement parse_cgroup(std::string_view text) {
  Confinement best;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    // HIERARCHY:CONTROLLERS:PATH
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    Confinement found;
    look_at(line.substr(second + 1), found);
    // On hybrid systems the paths of some controllers tell less than those of others.
    if (best.container.empty()) best.container = std::move(found.container);
    if (best.unit.empty()) best.unit = std::move(found.unit);
  }
  return best;
}

}  // namespace pyscope
