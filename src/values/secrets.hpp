// What is masked unless it is asked for: values that are named like secrets, also within texts, and
// the user part of URLs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pyscope {

inline constexpr std::string_view kMask = "***";

class SecretNames {
 public:
  /// The usual names and these. A name is secret if one of them is a part of it, in any case.
  explicit SecretNames(const std::vector<std::string>& more = {});

  /// True for names of variables, attributes and keys whose values are not for every eye.
  [[nodiscard]] bool matches(std::string_view name) const;
  /// The same for a name whose value is a number: `max_tokens` is no secret, a `pin` may be.
  [[nodiscard]] bool matches_number(std::string_view name) const;

 private:
  [[nodiscard]] bool matches(std::string_view name, std::string_view but) const;

  std::vector<std::string> more_;  // in lower case
};

/// "postgresql://ann:hunter2@db/shop" as "postgresql://***@db/shop", wherever in the text. With
/// `cut`, more of the text was left out at its end, and a user part that may go on there is masked
/// as well. True if anything was masked.
bool mask_url_users(std::string& text, bool cut = false);
bool mask_url_users(std::u32string& text, bool cut = false);

/// The values within a text that are named like secrets: of query strings and form bodies
/// (`token=x&…`), connection strings (`password=x host=db`), headers on a line (`Authorization: x`)
/// and JSON (`"api_key": "x"`). True if anything was masked.
bool mask_named_values(std::string& text, const SecretNames& names);
bool mask_named_values(std::u32string& text, const SecretNames& names);

/// A command line without its secrets: `--password=x`, `--password x`, `API_KEY=x`, URLs. They
/// are known by names only, so that a secret behind a one-letter option stays.
[[nodiscard]] std::vector<std::string> mask_command(std::vector<std::string> command,
                                                    const SecretNames& names);

}  // namespace pyscope
