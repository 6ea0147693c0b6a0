// What to mark follows Lib/traceback.py of 3.13 and 3.14 (StackSummary.format_frame_summary). Where
// an expression goes over several lines, only its first one is shown, and marked from the column
// on.

#include "format/underline.hpp"

#include <cstddef>
#include <optional>

#include "format/anchor.hpp"
#include "format/escape.hpp"

namespace pyscope {
namespace {

constexpr std::string_view kSpace = " \t\f\v\r\n";
constexpr std::size_t kTabWidth = 8;
// Generated code has lines of megabytes. Nobody reads beyond this, and a terminal would be flooded.
constexpr std::size_t kMaxColumns = 500;
constexpr std::size_t kMaxBytes = 4 * kMaxColumns;  // for characters that take no column

struct Marked {
  std::size_t begin = 0;  // bytes of the line, half-open
  std::size_t end = 0;
  std::optional<Anchor> anchor;  // relative to `begin`
};

struct Trimmed {
  std::size_t begin = 0;
  std::size_t end = 0;
};

Trimmed trim(std::string_view line) {
  const std::size_t begin = line.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return {begin, line.find_last_not_of(kSpace) + 1};
}

/// The columns count bytes of UTF-8, so they mean nothing in a line that isn't UTF-8 (a file in
/// another encoding), nor if they point into the middle of a character.
bool columns_fit(std::string_view line, std::size_t begin, std::size_t end) {
  bool begin_fits = false;
  bool end_fits = false;
  for (std::size_t at = 0; at < line.size();) {
    const Character character = first_character(line.substr(at));
    if (character.code_point == Character::kInvalid) return false;
    begin_fits |= at == begin;
    at += character.size;
    end_fits |= at == end;
  }
  return begin_fits && end_fits;
}

std::string_view without_spaces_around(std::string_view text) {
  const Trimmed trimmed = trim(text);
  return text.substr(trimmed.begin, trimmed.end - trimmed.begin);
}

/// True for `return f(…)` and `x = …(…)` where the call is all there is to run: marking it would
/// add a line of marks that says nothing. CPython leaves out exactly these.
bool is_plain_result(std::string_view before, std::string_view expression, std::string_view after,
                     const Anchor& anchor) {
  if (anchor.kind != AnchorKind::Call) return false;
  after = without_spaces_around(after);
  if (!after.empty() && after.front() != '#' && after.front() != ';') return false;
  before = without_spaces_around(before);
  if (before == "return") return is_name(without_spaces_around(expression.substr(0, anchor.begin)));
  if (before.empty() || before.back() != '=') return false;
  before.remove_suffix(1);
  return is_name(without_spaces_around(before));
}

std::optional<Marked> find_marked(std::string_view line, Trimmed shown, const Position& position) {
  if (!position.line || !position.end_line || !position.column || !position.end_column) {
    return std::nullopt;
  }
  if (*position.column < 0 || *position.end_column < 0 || *position.end_line < *position.line) {
    return std::nullopt;
  }
  const bool one_line = *position.end_line == *position.line;
  Marked marked;
  marked.begin = static_cast<std::size_t>(*position.column);
  marked.end = one_line ? static_cast<std::size_t>(*position.end_column) : shown.end;
  if (marked.begin >= marked.end || marked.begin < shown.begin || marked.end > shown.end) {
    return std::nullopt;
  }
  if (!columns_fit(line, marked.begin, marked.end)) return std::nullopt;
  if (one_line) {
    const std::string_view expression = line.substr(marked.begin, marked.end - marked.begin);
    marked.anchor = find_anchor(expression);
    if (marked.anchor && is_plain_result(line.substr(shown.begin, marked.begin - shown.begin),
                                         expression, line.substr(marked.end), *marked.anchor)) {
      return std::nullopt;
    }
  }
  // All of the line and nothing in it more than the rest.
  if (!marked.anchor && marked.begin == shown.begin && marked.end == shown.end) {
    return std::nullopt;
  }
  return marked;
}

char mark_at(const Marked& marked, std::size_t at) {
  if (at < marked.begin || at >= marked.end) return ' ';
  if (!marked.anchor) return '^';
  const std::size_t within = at - marked.begin;
  return within >= marked.anchor->begin && within < marked.anchor->end ? '^' : '~';
}

}  // namespace

UnderlinedLine underline(std::string_view line, const Position& position) {
  const Trimmed shown = trim(line);
  const auto marked = find_marked(line, shown, position);
  UnderlinedLine result;
  std::size_t columns = 0;
  std::size_t marks_end = 0;
  for (std::size_t at = shown.begin; at < shown.end;) {
    const std::size_t size = first_character(line.substr(at)).size;
    // One character as it is shown; nearly always it is shown as itself, and fits into a small
    // string.
    const std::string piece = line[at] == '\t' ? std::string(kTabWidth - columns % kTabWidth, ' ')
                                               : escape(line.substr(at, size));
    const std::size_t width = display_width(piece);
    if (columns + width > kMaxColumns || result.text.size() > kMaxBytes) {
      result.text += "...";
      break;
    }
    result.text += piece;
    columns += width;
    if (marked) {
      const char mark = mark_at(*marked, at);
      result.marks.append(width, mark);
      if (mark != ' ' && width > 0) marks_end = result.marks.size();
    }
    at += size;
  }
  result.marks.resize(marks_end);
  return result;
}

}  // namespace pyscope
