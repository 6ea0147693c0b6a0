// Arguments that several verbs have.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pyscope/error.hpp"
#include "pyscope/value_limits.hpp"

namespace pyscope::cli {

template <class T>
[[nodiscard]] std::optional<T> parse_positive(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value <= 0) return std::nullopt;
  return value;
}

/// "0.5" (seconds), "500ms", "2s", "1m", "1h": from a millisecond to a day.
[[nodiscard]] std::optional<std::chrono::microseconds> parse_duration(std::string_view text);

struct ValueArguments {
  std::string max_string;
  std::string max_items;
  std::string max_depth;
  bool show_secrets = false;
  std::vector<std::string> secret_names;
};

/// --show-secrets and --secret.
void add_secret_options(CLI::App& verb, ValueArguments& arguments);
/// And the limits; `defaults` are told in the help.
void add_value_options(CLI::App& verb, ValueArguments& arguments, const ValueLimits& defaults);
/// Fails with Usage.
[[nodiscard]] Result<ValueLimits> value_limits(const ValueArguments& arguments,
                                               const ValueLimits& defaults);

}  // namespace pyscope::cli
