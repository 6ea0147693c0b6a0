#include "cli/arguments.hpp"

#include <fmt/core.h>

#include <cmath>
#include <tuple>

namespace pyscope::cli {

std::optional<std::chrono::microseconds> parse_duration(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view unit{end, static_cast<std::size_t>(text.data() + text.size() - end)};
  double seconds = 0;
  if (unit.empty() || unit == "s") {
    seconds = 1;
  } else if (unit == "ms") {
    seconds = 0.001;
  } else if (unit == "m") {
    seconds = 60;
  } else if (unit == "h") {
    seconds = 3600;
  }
  constexpr double kShortest = 0.001;
  constexpr double kLongest = 86'400;
  seconds *= number;
  // Written so that a NaN is none.
  if (!(seconds >= kShortest && seconds <= kLongest)) return std::nullopt;
  return std::chrono::microseconds(std::llround(seconds * 1e6));
}

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
  add_secret_options(verb, arguments);
}

void add_secret_options(CLI::App& verb, ValueArguments& arguments) {
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
