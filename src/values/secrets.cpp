#include "values/secrets.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

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

constexpr std::size_t kMostNameCharacters = 64;

template <class String>
class NamedValues {
 public:
  NamedValues(String& text, const SecretNames& names) : text_(text), names_(names) {}

  /// Copies the text piece by piece, since masks are of another length than what they stand for.
  bool mask() {
    for (std::size_t at = 0; at < text_.size(); ++at) {
      const Range value = is(at, '=')   ? value_behind_equals(at)
                          : is(at, ':') ? value_behind_colon(at)
                                        : Range{};
      if (value.begin >= value.end) continue;
      out_.append(text_, copied_, value.begin - copied_);
      out_.append(kMask.begin(), kMask.end());
      copied_ = value.end;
      at = value.end - 1;
    }
    if (copied_ == 0) return false;
    out_.append(text_, copied_, String::npos);
    text_ = std::move(out_);
    return true;
  }

 private:
  using Unsigned = std::make_unsigned_t<typename String::value_type>;

  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  [[nodiscard]] bool is(std::size_t at, char c) const {
    return at < text_.size() && text_[at] == static_cast<typename String::value_type>(c);
  }
  [[nodiscard]] bool is_one_of(std::size_t at, std::string_view some) const {
    return std::any_of(some.begin(), some.end(), [&](char c) { return is(at, c); });
  }
  [[nodiscard]] bool is_of_name(std::size_t at) const {
    if (at >= text_.size()) return false;
    // Of a char32_t the whole: others than ASCII are no part of a name.
    const std::uint32_t c = static_cast<Unsigned>(text_[at]);
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  }
  /// The first character of the name that ends before `end`.
  [[nodiscard]] std::size_t begin_of_name(std::size_t end) const {
    std::size_t begin = end;
    while (begin > copied_ && end - begin < kMostNameCharacters && is_of_name(begin - 1))
      --begin;
    return begin;
  }
  [[nodiscard]] std::string bytes_of(Range range) const {
    std::string bytes;
    for (std::size_t at = range.begin; at < range.end; ++at)
      bytes += static_cast<char>(text_[at]);
    return bytes;
  }
  [[nodiscard]] bool is_secret(Range name) const {
    return name.begin < name.end && names_.matches(bytes_of(name));
  }
  /// Until one of these, or the end of the text.
  [[nodiscard]] std::size_t until(std::size_t at, std::string_view ends) const {
    while (at < text_.size() && !is_one_of(at, ends))
      ++at;
    return at;
  }
  /// What stands in quotes, of which the first is at `quote`.
  [[nodiscard]] Range in_quotes(std::size_t quote) const {
    std::size_t end = quote + 1;
    while (end < text_.size() && text_[end] != text_[quote])
      end += is(end, '\\') ? 2 : 1;
    return {quote + 1, std::min(end, text_.size())};
  }

  /// Whether a number stands there that the name doesn't make a secret: max_tokens=100.
  [[nodiscard]] bool is_shown_number(Range name, Range value) const {
    const std::string number =
        bytes_of({value.begin, std::min(value.end, value.begin + kMostNameCharacters)});
    if (number.find_first_not_of("0123456789.-") != std::string::npos) return false;
    return !names_.matches_number(bytes_of(name));
  }

  /// token=x, password = 'x'
  [[nodiscard]] Range value_behind_equals(std::size_t equals) const {
    std::size_t end = equals;
    if (end > copied_ && is(end - 1, ' ')) --end;
    const Range name{begin_of_name(end), end};
    if (!is_secret(name) || is(equals + 1, '=')) return {};
    const std::size_t at = is(equals + 1, ' ') ? equals + 2 : equals + 1;
    if (is_one_of(at, "'\"")) return in_quotes(at);
    const Range value{at, until(at, "&;, \t\r\n\"'<>)]}")};
    return is_shown_number(name, value) ? Range{} : value;
  }

  /// "token": "x", also within a string of JSON (\"token\": \"x\"); or a header on a line.
  [[nodiscard]] Range value_behind_colon(std::size_t colon) const {
    std::size_t end = colon;
    if (end > copied_ && is_one_of(end - 1, "'\"")) {
      --end;
      const bool escaped = end > copied_ && is(end - 1, '\\');
      if (escaped) --end;
      const Range name{begin_of_name(end), end};
      if (!is_secret(name)) return {};
      std::size_t at = colon + 1;
      while (is(at, ' '))
        ++at;
      if (escaped && is(at, '\\')) {
        // The next escaped quote ends it.
        ++at;
        return {at + 1, is_one_of(at, "'\"") ? until(at + 1, "\\") : at + 1};
      }
      if (is_one_of(at, "'\"")) return in_quotes(at);
      // A number or a word. What is in lists and objects has names of its own.
      const Range value{at, is_one_of(at, "[{") ? at : until(at, ",}] \t\r\n")};
      return is_shown_number(name, value) ? Range{} : value;
    }
    const std::size_t begin = begin_of_name(end);
    const bool on_a_line = begin == 0 || is_one_of(begin - 1, "\r\n");
    if (!on_a_line || !is(colon + 1, ' ') || !is_secret({begin, end})) return {};
    return {colon + 2, until(colon + 2, "\r\n")};
  }

  String& text_;
  const SecretNames& names_;
  String out_;
  std::size_t copied_ = 0;  // of text_ to out_
};

}  // namespace

bool mask_named_values(std::string& text, const SecretNames& names) {
  return NamedValues(text, names).mask();
}

bool mask_named_values(std::u32string& text, const SecretNames& names) {
  return NamedValues(text, names).mask();
}

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
    mask_named_values(word, names);
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
