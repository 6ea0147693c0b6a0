#include "cli/selection.hpp"

#include "cli/arguments.hpp"

namespace pyscope::cli {

void add_selection_options(CLI::App& verb, ProcessFilter& filter) {
  const auto add = [&](const char* name, std::string& text, const char* type,
                       const char* description) {
    verb.add_option(name, text, description)->type_name(type)->check(some_text());
  };
  add("--match", filter.match, "PATTERN",
      "Python processes with this in their command line (as for grep -E)");
  add("--user", filter.user, "NAME", "Python processes of this user");
  add("--unit", filter.unit, "NAME", "Python processes of this systemd unit");
  add("--container", filter.container, "ID",
      "Python processes in this container, by the beginning of its id");
}

bool selects(const ProcessFilter& filter) {
  return !filter.match.empty() || !filter.user.empty() || !filter.unit.empty() ||
         !filter.container.empty();
}

}  // namespace pyscope::cli
