// Parses the top of Python's expression grammar and no more: operands joined by binary operators,
// where an operand is an atom with trailers. CPython doesn't anchor an operation that binds more
// loosely (a comparison, `and`, a conditional, a comma), so meeting one ends the search. Text
// inside brackets matters only for finding the closing bracket.

#include "format/anchor.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace pyscope {
namespace {

constexpr std::array<std::string_view, 32> kKeywords{
    "and",  "as",     "assert", "async",  "break",   "class",    "continue", "def",
    "del",  "elif",   "else",   "except", "finally", "for",      "from",     "global",
    "if",   "import", "in",     "is",     "lambda",  "nonlocal", "not",      "or",
    "pass", "raise",  "return", "try",    "while",   "with",     "yield",    "await"};

struct BinaryOperator {
  std::string_view text;
  int binding;  // higher binds more tightly
};

constexpr int kPowerBinding = 6;
// The longer ones first, so that `**` isn't taken for two `*`.
constexpr std::array kBinaryOperators{
    BinaryOperator{"**", kPowerBinding},
    BinaryOperator{"//", 5},
    BinaryOperator{"<<", 3},
    BinaryOperator{">>", 3},
    BinaryOperator{"*", 5},
    BinaryOperator{"/", 5},
    BinaryOperator{"%", 5},
    BinaryOperator{"@", 5},
    BinaryOperator{"+", 4},
    BinaryOperator{"-", 4},
    BinaryOperator{"&", 2},
    BinaryOperator{"^", 1},
    BinaryOperator{"|", 0},
};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool starts_identifier(char c) {
  // Bytes above ASCII belong to letters of other scripts. Python has checked them when it compiled
  // the file.
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_identifier_character(char c) {
  return starts_identifier(c) || is_digit(c);
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\f';
}

bool is_keyword(std::string_view word) {
  return std::find(kKeywords.begin(), kKeywords.end(), word) != kKeywords.end();
}

struct StringPrefix {
  bool raw = false;
  bool formatted = false;
};

std::optional<StringPrefix> parse_string_prefix(std::string_view word) {
  if (word.size() > 2) return std::nullopt;
  StringPrefix prefix;
  for (const char c : word) {
    switch (c | 0x20) {
      case 'r':
        prefix.raw = true;
        break;
      case 'f':
      case 't':
        prefix.formatted = true;
        break;
      case 'b':
      case 'u':
        break;
      default:
        return std::nullopt;
    }
  }
  return prefix;
}

/// Walks over the text from left to right. Each skip_ function returns false if it doesn't find the
/// thing that it is named after. Then the text isn't understood, and the scanner can't go on.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] bool done() const { return at_ == text_.size(); }
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  void advance(std::size_t count) { at_ = std::min(at_ + count, text_.size()); }
  void skip_spaces() {
    while (is_space(peek())) {
      advance(1);
    }
  }
  [[nodiscard]] bool at_text(std::string_view text) const {
    return text_.substr(at_).starts_with(text);
  }

  std::string_view take_identifier() {
    const std::size_t start = at_;
    while (!done() && is_identifier_character(peek())) {
      advance(1);
    }
    return text_.substr(start, at_ - start);
  }

  bool skip_atom();
  bool skip_brackets() { return skip_until_closed({}, 0); }

 private:
  // Strings hold expressions that hold strings: f"{f'{x}'}".
  static constexpr int kMaxNesting = 16;

  bool skip_strings(StringPrefix prefix);
  bool skip_string(StringPrefix prefix, int nesting);
  bool skip_replacement_field(int nesting);
  bool skip_format_spec(int nesting);
  bool skip_until_closed(std::string closers, int nesting);
  void skip_number();

  std::string_view text_;
  std::size_t at_ = 0;
};

bool Scanner::skip_atom() {
  const char c = peek();
  if (c == '(' || c == '[' || c == '{') return skip_brackets();
  if (c == '"' || c == '\'') return skip_strings({});
  if (at_text("...")) {
    advance(3);
    return true;
  }
  if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
    skip_number();
    return true;
  }
  if (!starts_identifier(c)) return false;
  const std::string_view word = take_identifier();
  if (peek() != '"' && peek() != '\'') return !is_keyword(word);
  const auto prefix = parse_string_prefix(word);
  return prefix && skip_strings(*prefix);
}

// Literals that follow one another are one string.
bool Scanner::skip_strings(StringPrefix prefix) {
  for (;;) {
    if (!skip_string(prefix, 0)) return false;
    const std::size_t end = at_;
    skip_spaces();
    const std::string_view word = take_identifier();
    const auto next = parse_string_prefix(word);
    if ((peek() != '"' && peek() != '\'') || !next) {
      at_ = end;
      return true;
    }
    prefix = *next;
  }
}

void Scanner::skip_number() {
  const bool decimal = peek() != '0' || (peek(1) | 0x20) != 'x';
  bool seen_point = false;
  while (!done()) {
    const char c = peek();
    if (c == '.' && !seen_point) {
      seen_point = true;
    } else if ((c == '+' || c == '-') && decimal && (text_[at_ - 1] | 0x20) == 'e') {
      // the sign of an exponent; a number doesn't begin with a sign, so there is a character before
      // it
    } else if (!is_identifier_character(c)) {
      return;
    }
    advance(1);
  }
}

bool Scanner::skip_string(StringPrefix prefix, int nesting) {
  const char quote = peek();
  const bool triple = peek(1) == quote && peek(2) == quote;
  advance(triple ? 3 : 1);
  while (!done()) {
    const char c = peek();
    if (c == '\\') {
      if (prefix.formatted && peek(1) == '{') {
        advance(1);  // a backslash doesn't protect the brace
      } else if (prefix.formatted && !prefix.raw && peek(1) == 'N' && peek(2) == '{') {
        while (!done() && peek() != '}') {
          advance(1);
        }
        advance(1);
      } else {
        advance(2);
      }
    } else if (c == quote && (!triple || (peek(1) == quote && peek(2) == quote))) {
      advance(triple ? 3 : 1);
      return true;
    } else if (prefix.formatted && c == '{' && peek(1) == '{') {
      advance(2);
    } else if (prefix.formatted && c == '{') {
      if (!skip_replacement_field(nesting + 1)) return false;
    } else {
      advance(1);
    }
  }
  return false;
}

bool Scanner::skip_replacement_field(int nesting) {
  if (nesting > kMaxNesting) return false;
  return skip_until_closed({}, nesting);
}

bool Scanner::skip_format_spec(int nesting) {
  while (!done()) {
    if (peek() == '}') return true;
    if (peek() == '{') {
      if (!skip_replacement_field(nesting + 1)) return false;
    } else {
      advance(1);
    }
  }
  return false;
}

/// Skips from an opening bracket to behind its closing one. With `nesting` the opening bracket is
/// the brace of a replacement field, in which a colon outside of other brackets begins a format
/// specification.
bool Scanner::skip_until_closed(std::string closers, int nesting) {
  do {
    const char c = peek();
    switch (c) {
      case '(':
        closers += ')';
        break;
      case '[':
        closers += ']';
        break;
      case '{':
        closers += '}';
        break;
      case ')':
      case ']':
      case '}':
        if (closers.back() != c) return false;
        closers.pop_back();
        break;
      case ':':
        if (nesting > 0 && closers.size() == 1) {
          advance(1);
          if (!skip_format_spec(nesting)) return false;
          continue;
        }
        break;
      case '"':
      case '\'':
        if (!skip_string({}, nesting + 1)) return false;
        continue;
      case '#':   // on one line, the closing bracket can't come after a comment
      case '\\':  // nor after a line continuation
        return false;
      default:
        if (is_identifier_character(c)) {
          const auto prefix = parse_string_prefix(take_identifier());
          if (prefix && (peek() == '"' || peek() == '\'')) {
            if (!skip_string(*prefix, nesting + 1)) return false;
          }
          continue;
        }
        break;
    }
    advance(1);
  } while (!closers.empty() && !done());
  return closers.empty();
}

}  // namespace

bool is_name(std::string_view text) {
  return !text.empty() && starts_identifier(text.front()) &&
         std::all_of(text.begin(), text.end(), is_identifier_character) && !is_keyword(text);
}

std::optional<Anchor> find_anchor(std::string_view expression) {
  Scanner scanner(expression);
  std::optional<Anchor> operation;
  int loosest = kPowerBinding + 1;
  bool first_has_sign = false;
  for (bool first = true;; first = false) {
    bool has_sign = false;
    bool awaited = false;
    scanner.skip_spaces();
    while (scanner.peek() == '-' || scanner.peek() == '+' || scanner.peek() == '~') {
      has_sign = true;
      scanner.advance(1);
      scanner.skip_spaces();
    }
    if (scanner.at_text("await ")) {
      awaited = true;
      scanner.advance(6);
      scanner.skip_spaces();
    }
    if (first) first_has_sign = has_sign;
    if (!scanner.skip_atom()) return std::nullopt;
    std::optional<Anchor> trailer;
    for (;;) {
      scanner.skip_spaces();
      const std::size_t begin = scanner.at();
      if (scanner.peek() == '.') {
        scanner.advance(1);
        scanner.skip_spaces();
        if (scanner.take_identifier().empty()) return std::nullopt;
        trailer.reset();
      } else if (scanner.peek() == '(' || scanner.peek() == '[') {
        const auto kind = scanner.peek() == '(' ? AnchorKind::Call : AnchorKind::Subscript;
        if (!scanner.skip_brackets()) return std::nullopt;
        trailer = Anchor{kind, begin, scanner.at()};
      } else {
        break;
      }
    }
    if (scanner.done()) {
      if (operation) {
        // A sign binds more loosely than `**` to its right: -a ** b is a negation.
        const bool negation = loosest == kPowerBinding && first_has_sign;
        return negation ? std::nullopt : operation;
      }
      return has_sign || awaited ? std::nullopt : trailer;
    }
    const auto* found =
        std::find_if(kBinaryOperators.begin(), kBinaryOperators.end(),
                     [&](const BinaryOperator& op) { return scanner.at_text(op.text); });
    if (found == kBinaryOperators.end()) return std::nullopt;
    const Anchor here{AnchorKind::BinaryOperation, scanner.at(), scanner.at() + found->text.size()};
    scanner.advance(found->text.size());
    // Finds the operation that is done last: the loosest one, and among equals the rightmost.
    // Powers group to the right, so among these the leftmost is done last.
    if (found->binding < loosest || (found->binding == loosest && loosest != kPowerBinding)) {
      operation = here;
      loosest = found->binding;
    }
  }
}

}  // namespace pyscope
