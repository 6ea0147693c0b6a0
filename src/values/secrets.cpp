#include "values/secrets.hpp"

#include <algorithm>
#include <array>

#include "base/lower_case.hpp"

namespace pyscope {
namespace {

template <class String>
bool mask_users(String& text, bool cut) {
  const auto widened = [](std::string_view ascii) { return String(ascii.begin(), ascii.end()); };
  static const String before = widened("://");
  // These characters end the user part of a URL, or the URL.
  static const String ends = widened("/?# \t\r\n\"'<>\\");
  static const String mask = widened(kMask);
  bool masked = false;
  for (std::size_t at = text.find(before); at != String::npos; at = text.find(before, at)) {
    at += before.size();
    const std::size_t end = std::min(text.find_first_of(ends, at), text.size());
    // The last @ ends the user part: a password may hold one as well.
    const std::size_t user_end = text.substr(at, end - at).rfind('@');
    const bool may_go_on = cut && end == text.size();
    const std::size_t size = user_end != String::npos ? user_end : may_go_on ? end - at : 0;
    if (size == 0) continue;
    text.replace(at, size, mask);
    masked = true;
  }
  return masked;
}

}  // namespace

SecretNames::SecretNames(const std::vector<std::string>& more) {
  for (const std::string& name : more) {
    if (!name.empty()) more_.push_back(lower_case(name));
  }
}

bool SecretNames::matches(std::string_view name) const {
  return matches(name, {});
}

bool SecretNames::matches_number(std::string_view name) const {
  return matches(name, "token");
}

bool SecretNames::matches(std::string_view name, std::string_view but) const {
  static constexpr auto kParts = std::to_array<std::string_view>(
      {"password", "passwd", "passphrase", "pwd", "secret", "token", "authorization", "api_key",
       "apikey", "api-key", "private_key", "privatekey", "access_key", "credential", "cookie",
       "session_id", "sessionid", "signature"});
  // The shell's names of directories.
  if (name == "PWD" || name == "OLDPWD") return false;
  constexpr std::size_t kMostLookedAt = 256;
  const std::string lower = lower_case(name.substr(0, kMostLookedAt));
  const auto is_part = [&](std::string_view part) {
    return part != but && lower.find(part) != std::string::npos;
  };
  return std::any_of(kParts.begin(), kParts.end(), is_part) ||
         std::any_of(more_.begin(), more_.end(), is_part);
}

bool mask_url_users(std::string& text, bool cut) {
  return mask_users(text, cut);
}

bool mask_url_users(std::u32string& text, bool cut) {
  return mask_users(text, cut);
}

std::vector<std::string> mask_command(std::vector<std::string> command, const SecretNames& names) {
  for (std::size_t i = 0; i < command.size(); ++i) {
    std::string& word = command[i];
    mask_url_users(word);
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) {
      if (equals + 1 < word.size() && names.matches(std::string_view(word).substr(0, equals))) {
        word.replace(equals + 1, std::string::npos, kMask);
      }
    } else if (word.starts_with("--") && names.matches(word) && i + 1 < command.size() &&
               !command[i + 1].starts_with('-')) {
      command[++i] = kMask;
    }
  }
  return command;
}

}  // namespace pyscope
