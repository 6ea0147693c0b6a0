#include "cli/arguments.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

namespace pyscope::cli {
namespace {

/// Times as they may be typed, for messages.
constexpr std::string_view kWithUnits = "0.5, 500ms or 2s";

CLI::Option* repeatable(CLI::Option* option) {
  return option->expected(1)->allow_extra_args(false)->multi_option_policy(
      CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

CLI::Validator worded(CLI::Validator check, std::string takes) {
  // Without a description: the help has the type's name already.
  return {[check = std::move(check), takes = std::move(takes)](std::string& input) -> std::string {
            const std::string given = input;
            const std::string refusal = fmt::format("takes {}, not '{}'", takes, given);
            try {
              return check(input).empty() ? "" : refusal;
            } catch (const CLI::ValidationError&) {
              return refusal;
            }
          },
          ""};
}

CLI::Validator whole_number(std::uint64_t most) {
  const CLI::Range range(std::uint64_t{1}, most);
  // CLI11 would take signs, spaces, and the digits behind a 0 as octal.
  const CLI::Validator digits(
      [range](std::string& input) -> std::string {
        if (input.empty() || input.find_first_not_of("0123456789") != std::string::npos) {
          return "not a number";
        }
        input.erase(0, std::min(input.find_first_not_of('0'), input.size() - 1));
        return range(input);
      },
      "");
  return worded(digits, fmt::format("a number from 1 to {}", most));
}

CLI::Validator duration() {
  const CLI::AsNumberWithUnit with_unit(
      std::map<std::string, double>{{"s", 1}, {"ms", 0.001}, {"m", 60}, {"h", 3600}},
      CLI::AsNumberWithUnit::CASE_SENSITIVE);
  constexpr double kShortest = 0.001;
  constexpr double kLongest = 86'400;
  const CLI::Range range(kShortest, kLongest);
  // CLI11 would take a unit alone, signs, and hexadecimal digits.
  const CLI::Validator time(
      [with_unit, range](std::string& input) -> std::string {
        const bool number =
            !input.empty() &&
            (std::isdigit(static_cast<unsigned char>(input.front())) != 0 || input.front() == '.');
        if (!number || input.find_first_of("xX") != std::string::npos) return "not a number";
        const std::string refusal = with_unit(input);
        return refusal.empty() ? range(input) : refusal;
      },
      "");
  return worded(time, fmt::format("a time from 1ms to a day, such as {}", kWithUnits));
}

CLI::Validator some_text() {
  return {[](std::string& input) -> std::string { return input.empty() ? "is empty" : ""; }, ""};
}

std::chrono::microseconds microseconds(double seconds) {
  constexpr double kMicroseconds = 1e6;
  return std::chrono::microseconds(std::llround(seconds * kMicroseconds));
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::ceil<std::chrono::milliseconds>(microseconds(seconds));
}

void add_pid_argument(CLI::App& verb, pid_t& pid, const std::string& description) {
  verb.add_option("PID", pid, description)
      ->type_name("")
      ->transform(whole_number(std::numeric_limits<pid_t>::max()));
  add_pid_option(verb);
}

void add_pid_option(CLI::App& verb) {
  // The words of the command line are brought into the other form before they are parsed
  // (plain_words). The option is here for the help, and for a last word `-p`.
  static std::vector<std::string> unused;
  verb.add_option("-p,--pid", unused, "The same as PID")->type_name("PID");
}

void add_full_option(CLI::App& verb, bool& full, const std::string& description) {
  verb.add_flag("--full", full, description);
}

void add_thread_option(CLI::App& verb, std::vector<std::string>& threads) {
  repeatable(verb.add_option("--thread", threads, "Only this thread, by tid or name (repeatable)"))
      ->type_name("TID|NAME")
      ->check(some_text());
}

void add_color_option(CLI::App& verb, std::string& when) {
  verb.add_option("--color", when, "auto (default), always or never")
      ->type_name("WHEN")
      ->check(worded(CLI::IsMember({"auto", "always", "never"}), "auto, always or never"));
}

void add_verbose_option(CLI::App& verb, bool& verbose) {
  verb.add_flag("-v,--verbose", verbose, "Tell on stderr what is tried");
}

void add_timeout_option(CLI::App& verb, double& timeout, const std::string& description) {
  verb.add_option("--timeout", timeout, fmt::format("{} ({:g})", description, timeout))
      ->type_name("SECONDS")
      ->transform(duration());
}

void add_secret_options(CLI::App& verb, ValueLimits& limits) {
  verb.add_flag("--show-secrets", limits.show_secrets,
                "Print values that are named like passwords, tokens or keys");
  repeatable(verb.add_option("--secret", limits.secret_names,
                             "Mask values whose name has this in it, too (repeatable)"))
      ->type_name("NAME")
      ->check(some_text());
}

void add_value_options(CLI::App& verb, ValueLimits& limits) {
  constexpr std::uint64_t kMost = 1'000'000'000;
  constexpr std::uint64_t kMostDepth = ValueLimits::kDeepest;
  const auto add = [&](const char* name, std::size_t& limit, std::uint64_t most,
                       std::string_view description) {
    verb.add_option(name, limit, fmt::format("{} ({})", description, limit))
        ->type_name("N")
        ->transform(whole_number(most));
  };
  add("--max-string", limits.max_string, kMost, "Characters of a string that are printed");
  add("--max-items", limits.max_items, kMost, "Items of a container that are printed");
  add("--max-depth", limits.max_depth, kMostDepth, "Containers within containers that are printed");
  add_secret_options(verb, limits);
}

}  // namespace pyscope::cli
