#include "cli/arguments.hpp"

#include <fmt/core.h>

#include <tuple>

namespace pyscope::cli {

void add_value_options(CLI::App& verb, ValueArguments& arguments, const ValueLimits& defaults) {
  verb.add_option("--max-string", arguments.max_string,
                  fmt::format("Characters of a string that are printed ({})", defaults.max_string))
      ->type_name("N");
  verb.add_option("--max-items", arguments.max_items,
                  fmt::format("Items of a container that are printed ({})", defaults.max_items))
      ->type_name("N");
  verb.add_option(
          "--max-depth", arguments.max_depth,
          fmt::format("Containers within containers that are printed ({})", defaults.max_depth))
      ->type_name("N");
  verb.add_flag("--show-secrets", arguments.show_secrets,
                "Print values that are named like passwords, tokens or keys");
  verb.add_option("--secret", arguments.secret_names,
                  "Mask values whose name has this in it, too (repeatable)")
      ->type_name("NAME")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

Result<ValueLimits> value_limits(const ValueArguments& arguments, const ValueLimits& defaults) {
  ValueLimits limits = defaults;
  limits.show_secrets = arguments.show_secrets;
  limits.secret_names = arguments.secret_names;
  for (const auto& [name, text, into] :
       {std::tuple{"--max-string", &arguments.max_string, &limits.max_string},
        std::tuple{"--max-items", &arguments.max_items, &limits.max_items},
        std::tuple{"--max-depth", &arguments.max_depth, &limits.max_depth}}) {
    if (text->empty()) continue;
    const auto value = parse_positive<std::size_t>(*text);
    if (!value) {
      return fail(ErrorKind::Usage,
                  fmt::format("{} takes a number from 1 on, not '{}'", name, *text));
    }
    *into = *value;
  }
  return limits;
}

}  // namespace pyscope::cli
