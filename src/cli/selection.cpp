#include "cli/selection.hpp"

namespace pyscope::cli {

void add_selection_options(CLI::App& verb, Selection& selection) {
  verb.add_option("--match", selection.match,
                  "Python processes with this in their command line (as for grep -E)")
      ->type_name("PATTERN");
  verb.add_option("--user", selection.user, "Python processes of this user")->type_name("NAME");
  verb.add_option("--unit", selection.unit, "Python processes of this systemd unit")
      ->type_name("NAME");
  verb.add_option("--container", selection.container,
                  "Python processes in this container, by the beginning of its id")
      ->type_name("ID");
}

ProcessFilter to_filter(const Selection& selection, const ValueArguments& values) {
  ProcessFilter filter;
  filter.match = selection.match;
  filter.user = selection.user;
  filter.unit = selection.unit;
  filter.container = selection.container;
  filter.show_secrets = values.show_secrets;
  filter.secret_names = values.secret_names;
  return filter;
}

}  // namespace pyscope::cli
