#include "values/path_syntax.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <memory>

#include "python/reader.hpp"

namespace pyscope {
namespace {

bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

bool is_name(std::string_view text) {
  return !text.empty() && starts_name(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return starts_name(c) || (c >= '0' && c <= '9'); });
}

/// A name as Python's compiler makes it: identifiers are normalised to NFKC, so that ﬁ is fi.
std::string identifier(std::string_view name) {
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  utf8proc_uint8_t* made = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(name.data()),
                                 static_cast<utf8proc_ssize_t>(name.size()), &made, options);
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(made, std::free);
  if (size < 0) return std::string(name);  // it isn't UTF-8
  return {reinterpret_cast<const char*>(made), static_cast<std::size_t>(size)};
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' '))
    text.remove_prefix(1);
  while (text.ends_with(' '))
    text.remove_suffix(1);
  return text;
}

/// The end of a subscript that begins behind the bracket at `open`; npos if it has none.
std::size_t closing_bracket(std::string_view text, std::size_t open) {
  std::size_t depth = 0;
  char quote = '\0';
  for (std::size_t i = open; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == '\\') {
        ++i;
      } else if (c == quote) {
        quote = '\0';
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '[' || c == '(' || c == '{') {
      ++depth;
    } else if (c == ']' || c == ')' || c == '}') {
      if (--depth == 0) return i;
    }
  }
  return std::string_view::npos;
}

/// The content of a quoted literal, with the escapes that repr() uses.
std::optional<std::string> unquoted(std::string_view text, bool bytes) {
  if (text.size() < 2 || (text.front() != '\'' && text.front() != '"') ||
      text.back() != text.front()) {
    return std::nullopt;
  }
  const char quote = text.front();
  text = text.substr(1, text.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == quote) return std::nullopt;  // the literal ends before the text does
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    const auto number = [&](std::size_t digits) {
      std::uint32_t value = 0;
      const std::string_view word = text.substr(i + 1, digits);
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, 16);
      i += digits;
      const bool whole = error == std::errc{} && end == word.data() + digits;
      return whole && value <= 0x10FFFF ? std::optional(value) : std::nullopt;
    };
    std::optional<std::uint32_t> code;
    switch (text[i]) {
      case 'n':
        code = '\n';
        break;
      case 't':
        code = '\t';
        break;
      case 'r':
        code = '\r';
        break;
      case 'x':
        code = number(2);
        break;
      case 'u':
        code = number(4);
        break;
      case 'U':
        code = number(8);
        break;
      default:
        out += text[i];
        continue;
    }
    if (!code) return std::nullopt;
    if (bytes) {
      out += static_cast<char>(*code);
    } else {
      append_utf8(out, *code);
    }
  }
  return out;
}

PathStep subscript_step(std::string_view raw) {
  PathStep step;
  step.kind = PathStep::Kind::Subscript;
  step.text = raw;
  step.bytes = raw.starts_with('b') && raw.size() > 1 && (raw[1] == '\'' || raw[1] == '"');
  step.key = unquoted(step.bytes ? raw.substr(1) : raw, step.bytes);
  if (!step.key) step.bytes = false;
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), index);
  if (error == std::errc{} && end == raw.data() + raw.size()) step.index = index;
  return step;
}

/// The steps of a path without a scope.
Result<std::vector<PathStep>> parse_steps(std::string_view text) {
  // Bound: steps of a path
  constexpr std::size_t kMostSteps = 256;
  const auto wrong = [&](std::size_t at, std::string_view what) {
    return fail(ErrorKind::Usage,
                fmt::format("'{}' is no path: {} at its character {}", text, what, at + 1),
                "a path looks like shop.orders[3].state or config['key']");
  };
  std::vector<PathStep> steps;
  for (std::size_t at = 0; at < text.size();) {
    if (steps.size() == kMostSteps) return wrong(at, "too many steps");
    if (text[at] == '[' && !steps.empty()) {
      const std::size_t end = closing_bracket(text, at);
      if (end == std::string_view::npos) return wrong(at, "a bracket that isn't closed");
      const std::string_view raw = trimmed(text.substr(at + 1, end - at - 1));
      if (raw.empty()) return wrong(at, "nothing between brackets");
      steps.push_back(subscript_step(raw));
      at = end + 1;
    } else {
      if (text[at] == '.' && !steps.empty()) ++at;
      const std::size_t end = std::min(text.find_first_of(".[", at), text.size());
      if (!is_name(text.substr(at, end - at))) return wrong(at, "no name");
      if (!steps.empty() && text[at - 1] != '.') return wrong(at, "no dot");
      PathStep step;
      step.text = identifier(text.substr(at, end - at));
      steps.push_back(std::move(step));
      at = end;
    }
    steps.back().end = at;
  }
  if (steps.empty()) return wrong(0, "no name");
  return steps;
}

}  // namespace

std::string ObjectPath::up_to(std::size_t steps_taken) const {
  if (steps_taken == 0) return {};
  const std::size_t scope = text.size() - steps.back().end;
  return text.substr(0, scope + steps[std::min(steps_taken, steps.size()) - 1].end);
}

Result<ObjectPath> parse_path(std::string_view text) {
  ObjectPath path;
  path.text = text;
  auto steps = parse_steps(text);
  if (!steps) {
    for (std::size_t colon = text.find(':'); colon != std::string_view::npos;
         colon = text.find(':', colon + 1)) {
      auto rest = parse_steps(text.substr(colon + 1));
      if (!rest) continue;
      const std::string_view scope = text.substr(0, colon);
      const std::size_t slash = scope.rfind('/');
      path.in_frame = true;
      path.thread = scope.substr(0, slash);
      path.frame = slash == std::string_view::npos ? "" : scope.substr(slash + 1);
      path.steps = *std::move(rest);
      return path;
    }
    return fail(std::move(steps).error());
  }
  path.steps = *std::move(steps);
  return path;
}

}  // namespace pyscope
