#include "format/value_layout.hpp"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "format/escape.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostLaidOut = std::size_t{1} << 20U;  // bytes
constexpr std::size_t kMostNesting = 64;
constexpr std::size_t kLeastRoom = 16;  // columns for the items of a container

bool begins_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool closes(char open, char close) {
  return (open == '(' && close == ')') || (open == '[' && close == ']') ||
         (open == '{' && close == '}') || (open == '<' && close == '>');
}

class Layout {
 public:
  Layout(std::string_view text, std::size_t columns) : text_(text), columns_(columns) {
    find_brackets();
  }

  std::string lay_out(std::size_t before) {
    column_ = before;
    append_range({0, text_.size()}, 0, 0);
    return std::move(out_);
  }

 private:
  struct Range {
    std::size_t begin = 0;  // bytes, half-open
    std::size_t end = 0;
  };

  [[nodiscard]] std::string_view text_of(Range range) const {
    return text_.substr(range.begin, range.end - range.begin);
  }
  [[nodiscard]] std::size_t width_of(Range range) const { return display_width(text_of(range)); }

  void append(Range range) {
    out_ += text_of(range);
    column_ += width_of(range);
  }
  void new_line(std::size_t indent) {
    out_ += '\n';
    out_.append(indent, ' ');
    column_ = indent;
  }

  /// Fills partner_: for each quote that begins a string, where the string ends, and for each
  /// bracket that is no part of a string, where its partner is.
  void find_brackets() {
    partner_.assign(text_.size(), 0);
    std::vector<std::size_t> open;
    std::string without_end;  // quotes of which one began no string: the next ones needn't be tried
    for (std::size_t at = 0; at < text_.size(); ++at) {
      const char c = text_[at];
      if (c == '\'' || c == '"') {
        if (without_end.find(c) != std::string::npos) continue;
        const std::size_t end = end_of_string(at);
        if (end == std::string_view::npos) {
          without_end += c;
        } else {
          partner_[at] = end;
          at = end;
        }
      } else if (c == '(' || c == '[' || c == '{' ||
                 (c == '<' && at + 1 < text_.size() && begins_name(text_[at + 1]))) {
        open.push_back(at);
      } else if (c == ')' || c == ']' || c == '}' || c == '>') {
        // A sign that opens nothing, such as a "<" in some repr(), has no partner.
        const auto partner = std::find_if(open.rbegin(), open.rend(),
                                          [&](std::size_t one) { return closes(text_[one], c); });
        if (partner == open.rend()) continue;
        partner_[*partner] = at;
        open.erase(partner.base() - 1, open.end());
      }
    }
  }

  /// The quote that ends the string beginning at `at`; npos: none does.
  [[nodiscard]] std::size_t end_of_string(std::size_t at) const {
    for (std::size_t i = at + 1; i < text_.size(); ++i) {
      if (text_[i] == '\\') {
        ++i;
      } else if (text_[i] == text_[at]) {
        return i;
      }
    }
    return std::string_view::npos;
  }

  /// Calls visit(position) for each byte that is in no bracket and no string within the range;
  /// visit returns false to end it.
  template <class Visit>
  void at_top_level(Range range, const Visit& visit) const {
    for (std::size_t at = range.begin; at < range.end; ++at) {
      if (partner_[at] > at) {
        at = partner_[at];
        continue;
      }
      if (!visit(at)) return;
    }
  }

  /// The items between two brackets, each with the comma behind it, without the space.
  [[nodiscard]] std::vector<Range> items_of(Range inside, char open) const {
    std::vector<Range> items;
    std::size_t begin = inside.begin;
    at_top_level(inside, [&](std::size_t at) {
      const bool comma = open != '<' && text_[at] == ',' && at + 1 < inside.end;
      const bool attribute =
          open == '<' && text_[at] == ' ' && at + 1 < inside.end && is_attribute(at + 1, inside);
      if (!comma && !attribute) return true;
      const std::size_t end = comma ? at + 1 : at;
      items.push_back({begin, end});
      begin = end < inside.end && text_[end] == ' ' ? end + 1 : end;
      return true;
    });
    if (begin < inside.end) items.push_back({begin, inside.end});
    return items;
  }

  /// Whether "name=" stands there.
  [[nodiscard]] bool is_attribute(std::size_t at, Range range) const {
    if (at >= range.end || !begins_name(text_[at])) return false;
    while (at < range.end &&
           (begins_name(text_[at]) || std::isdigit(static_cast<unsigned char>(text_[at])) != 0))
      ++at;
    return at < range.end && text_[at] == '=';
  }

  /// Of "key: value" the value; of all else nothing.
  [[nodiscard]] Range value_of_entry(Range item) const {
    std::size_t found = item.end;
    at_top_level(item, [&](std::size_t at) {
      const bool colon = text_[at] == ':' && at + 1 < item.end && text_[at + 1] == ' ';
      if (colon) found = at + 2;
      return !colon;
    });
    return {std::min(found, item.end), item.end};
  }

  /// `after` columns follow the range on its last line.
  void append_range(Range range, std::size_t after, std::size_t nesting) {
    if (column_ + width_of(range) + after <= columns_ || nesting > kMostNesting) {
      return append(range);
    }
    std::size_t open = range.end;
    for (std::size_t at = range.begin; at < range.end && open == range.end; ++at) {
      if (partner_[at] <= at) continue;
      if (text_[at] == '\'' || text_[at] == '"') {
        at = partner_[at];
      } else if (partner_[at] < range.end) {
        open = at;
      }
    }
    if (open == range.end) return append(range);  // a string, a number
    const std::size_t close = partner_[open];
    const std::vector<Range> items = items_of({open + 1, close}, text_[open]);
    append({range.begin, open + 1});
    if (items.size() > 1 || (items.size() == 1 && column_ + width_of(items.front()) > columns_)) {
      append_items(items, text_[open] == '{', nesting);
    } else if (!items.empty()) {
      append_range(items.front(), 0, nesting + 1);
    }
    append_range({close, range.end}, after, nesting + 1);
  }

  void append_items(const std::vector<Range>& items, bool entries, std::size_t nesting) {
    // Items stand below each other behind the bracket; if there is no room, further to the left.
    std::size_t indent = column_;
    if (columns_ < indent + kLeastRoom) {
      indent = std::min(indent, (nesting + 1) * 2);
      new_line(indent);
    }
    // Numbers and short words fill lines.
    const bool plain =
        std::all_of(items.begin(), items.end(), [&](Range item) { return is_plain(item); });
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Range item = items[i];
      if (i > 0) {
        const std::size_t space = item.begin - items[i - 1].end;  // 0 or 1
        if (plain && column_ + space + width_of(item) <= columns_) {
          append({item.begin - space, item.begin});
        } else {
          new_line(indent);
        }
      }
      const Range value = entries ? value_of_entry(item) : Range{item.end, item.end};
      if (value.begin < value.end && column_ + width_of(item) > columns_) {
        append({item.begin, value.begin});
        append_range(value, 0, nesting + 1);
      } else {
        append_range(item, 0, nesting + 1);
      }
    }
  }

  /// Whether an item is short and has no parts.
  [[nodiscard]] bool is_plain(Range item) const {
    constexpr std::size_t kMostBytes = 24;
    if (item.end - item.begin > kMostBytes) return false;
    const std::string_view text = text_of(item);
    return text.find_first_of("([{<:=") == std::string_view::npos;
  }

  std::string_view text_;
  std::size_t columns_;
  std::vector<std::size_t> partner_;
  std::string out_;
  std::size_t column_ = 0;
};

}  // namespace

std::string lay_out(std::string_view repr, std::size_t columns, std::size_t before) {
  if (columns == 0 || repr.size() > kMostLaidOut || before + display_width(repr) <= columns) {
    return std::string(repr);
  }
  return Layout(repr, columns).lay_out(before);
}

}  // namespace pyscope
