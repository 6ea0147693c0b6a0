// The choice of marks follows Lib/traceback.py of 3.13 and 3.14
// (StackSummary.format_frame_summary). Of an expression over several lines only the first line is
// shown, and marked from the expression's column on. Unlike there, a call that is all of its line
// isn't marked where no other call could be meant.

#include "format/underline.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "format/anchor.hpp"
#include "format/escape.hpp"

namespace pyscope {
namespace {

constexpr std::string_view kSpace = " \t\f\v\r\n";
constexpr std::size_t kTabWidth = 8;
// The characters of a line that are looked at. There are more of them than columns, since some take
// no column.
constexpr std::size_t kMostCharacters = 2 * kMostSourceColumns;
constexpr std::string_view kCut = "...";

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

/// Whether the columns fit the line. They count bytes of UTF-8. So they mean nothing in a line in
/// another encoding, nor if they point into the middle of a character.
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

/// True for `return f(…)` and `x = …(…)` if the call is all there is to run: marks would say
/// nothing then. CPython leaves out exactly these.
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

/// True for a call of a name, or of an attribute of a name, with arguments that call nothing:
/// `self.model.train(1)`.
bool is_only_call(std::string_view expression, const Anchor& anchor) {
  if (anchor.kind != AnchorKind::Call) return false;
  const std::string_view arguments = expression.substr(anchor.begin + 1);
  if (arguments.find_first_of("([") != std::string_view::npos) return false;
  const std::string_view called = without_spaces_around(expression.substr(0, anchor.begin));
  for (std::size_t at = 0;; ++at) {
    const std::size_t end = std::min(called.find('.', at), called.size());
    if (!is_name(called.substr(at, end - at))) return false;
    if (end == called.size()) return true;
    at = end;
  }
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
  // Marks of a whole line say nothing, unless they tell one call or operator from another.
  const bool whole = marked.begin == shown.begin && marked.end == shown.end;
  if (whole && (!marked.anchor || is_only_call(line.substr(shown.begin), *marked.anchor))) {
    return std::nullopt;
  }
  return marked;
}

/// One character as it is shown.
struct Piece {
  std::string text;  // nearly always the character itself, which fits into a small string
  std::size_t width = 0;
  char mark = ' ';
};

char mark_at(const Marked& marked, std::size_t at) {
  if (at < marked.begin || at >= marked.end) return ' ';
  if (!marked.anchor) return '^';
  const std::size_t within = at - marked.begin;
  return within >= marked.anchor->begin && within < marked.anchor->end ? '^' : '~';
}

std::vector<Piece> pieces_of(std::string_view line, Trimmed shown,
                             const std::optional<Marked>& marked) {
  std::vector<Piece> pieces;
  pieces.reserve(shown.end - shown.begin);
  std::size_t columns = 0;
  for (std::size_t at = shown.begin; at < shown.end;) {
    const std::size_t size = first_character(line.substr(at)).size;
    Piece piece;
    piece.text = line[at] == '\t' ? std::string(kTabWidth - columns % kTabWidth, ' ')
                                  : escape(line.substr(at, size));
    piece.width = display_width(piece.text);
    if (marked && piece.width > 0) piece.mark = mark_at(*marked, at);
    columns += piece.width;
    pieces.push_back(std::move(piece));
    at += size;
  }
  return pieces;
}

struct Window {
  std::size_t begin = 0;  // pieces, half-open
  std::size_t end = 0;
};

/// Chooses the pieces that fit into so many columns, together with the signs for the parts that are
/// cut off.
Window choose_window(const std::vector<Piece>& pieces, std::size_t columns) {
  std::vector<std::size_t> starts{0};  // the column of each piece, and of the end
  std::size_t marks_begin = pieces.size();
  std::size_t marks_end = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    starts.push_back(starts.back() + pieces[i].width);
    if (pieces[i].mark == ' ') continue;
    marks_begin = std::min(marks_begin, i);
    marks_end = i + 1;
  }
  if (starts.back() <= columns && pieces.size() <= kMostCharacters) return {0, pieces.size()};
  const auto fits = [&](std::size_t begin, std::size_t end) {
    const std::size_t cuts = (begin > 0 ? 1 : 0) + (end < pieces.size() ? 1 : 0);
    return starts[end] - starts[begin] + cuts * kCut.size() <= columns;
  };
  // Cuts off as little as possible on the left, and never the first mark.
  Window window;
  while (window.begin < marks_begin && !fits(window.begin, marks_end))
    ++window.begin;
  window.end = std::min(pieces.size(), window.begin + kMostCharacters);
  while (window.end > window.begin && !fits(window.begin, window.end))
    --window.end;
  return window;
}

}  // namespace

UnderlinedLine underline(std::string_view line, const Position& position, std::size_t columns) {
  columns = std::clamp(columns, kLeastSourceColumns, kMostSourceColumns);
  const Trimmed shown = trim(line);
  const auto marked = find_marked(line, shown, position);
  const std::vector<Piece> pieces = pieces_of(line, shown, marked);
  const Window window = choose_window(pieces, columns);
  UnderlinedLine result;
  const auto cut = [&] {
    result.text += kCut;
    result.marks.append(kCut.size(), ' ');
  };
  if (window.begin > 0) cut();
  for (std::size_t i = window.begin; i < window.end; ++i) {
    result.text += pieces[i].text;
    result.marks.append(pieces[i].width, pieces[i].mark);
  }
  const std::size_t last_mark = result.marks.find_last_not_of(' ');
  result.marks.resize(last_mark == std::string::npos ? 0 : last_mark + 1);
  if (window.end < pieces.size()) result.text += kCut;
  return result;
}

}  // namespace pyscope
