// Options that several verbs have, and the checks of what they take.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "pyscope/value_limits.hpp"

namespace pyscope::cli {

/// A check of CLI11 with a message of our own: "--jobs: takes a number from 1 to 64, not 'x'".
[[nodiscard]] CLI::Validator worded(CLI::Validator check, std::string takes);

/// For Option::transform(): decimal digits, for 1 to `most`.
[[nodiscard]] CLI::Validator whole_number(std::uint64_t most);

/// For Option::transform(): "0.5" (seconds), "500ms", "2s", "1m", "1h": from a millisecond to a
/// day. The value becomes a number of seconds.
[[nodiscard]] CLI::Validator duration();

/// Refuses an empty text.
[[nodiscard]] CLI::Validator some_text();

/// Converts seconds as duration() gives them.
[[nodiscard]] std::chrono::microseconds microseconds(double seconds);

/// Adds the argument for one process, and -p and --pid.
void add_pid_argument(CLI::App& verb, pid_t& pid, const std::string& description);
/// Adds -p and --pid, which are another way to give that argument.
void add_pid_option(CLI::App& verb);
/// Adds --full; `description` says what there is more of.
void add_full_option(CLI::App& verb, bool& full, const std::string& description);
/// Adds --thread, which may be given several times.
void add_thread_option(CLI::App& verb, std::vector<std::string>& threads);
void add_color_option(CLI::App& verb, std::string& when);
void add_verbose_option(CLI::App& verb, bool& verbose);
/// `description` says what the time is for; `timeout` holds the default.
void add_timeout_option(CLI::App& verb, double& timeout, const std::string& description);
[[nodiscard]] std::chrono::milliseconds milliseconds(double seconds);

/// Adds --show-secrets and --secret.
void add_secret_options(CLI::App& verb, ValueLimits& limits);
/// Adds these two and the limits; `limits` holds the defaults, which the help shows.
void add_value_options(CLI::App& verb, ValueLimits& limits);

}  // namespace pyscope::cli
