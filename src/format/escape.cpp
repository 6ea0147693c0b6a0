#include "format/escape.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

namespace pyscope {
namespace {

struct Range {
  std::int32_t first;
  std::int32_t last;
};

// The characters above ASCII that could hide, reorder or break the printed text. The zero-width
// joiners (U+200C, U+200D) aren't here: Persian, Indic scripts and emoji can't be written without
// them.
constexpr std::array kUnsafe{
    Range{0x80, 0x9f},        // C1: some terminals take U+009B for the start of a control sequence
    Range{0x61c, 0x61c},      // bidi: Arabic letter mark
    Range{0x200b, 0x200b},    // zero-width space
    Range{0x200e, 0x200f},    // bidi: left-to-right and right-to-left mark
    Range{0x2028, 0x202e},    // line and paragraph separator; bidi: embeddings and overrides
    Range{0x2060, 0x206f},    // invisible operators; bidi: isolates; deprecated format characters
    Range{0xd800, 0xdfff},    // surrogates
    Range{0xfdd0, 0xfdef},    // noncharacters
    Range{0xfeff, 0xfeff},    // byte order mark, which is a zero-width no-break space elsewhere
    Range{0xfff9, 0xfffb},    // interlinear annotations
    Range{0xe0000, 0xe007f},  // tags: a second, invisible ASCII
};

bool is_plain_ascii(char c) {
  return c >= 0x20 && c < 0x7f;
}

bool is_unsafe(std::int32_t code_point) {
  if (code_point < 0x80) return code_point < 0x20 || code_point == 0x7f;
  if ((code_point & 0xfffe) == 0xfffe) return true;  // the last two of each plane: noncharacters
  const auto* range =
      std::lower_bound(kUnsafe.begin(), kUnsafe.end(), code_point,
                       [](const Range& unsafe, std::int32_t value) { return unsafe.last < value; });
  return range != kUnsafe.end() && range->first <= code_point;
}

void append_escape(std::string& out, std::int32_t code_point) {
  const auto to = std::back_inserter(out);
  if (code_point < 0x100) {
    fmt::format_to(to, "\\x{:02x}", code_point);
  } else if (code_point < 0x10000) {
    fmt::format_to(to, "\\u{:04x}", code_point);
  } else {
    fmt::format_to(to, "\\U{:08x}", code_point);
  }
}

}  // namespace

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  // A surrogate is well-formed in the model's text and malformed for utf8proc.
  if (text.size() >= 3 && byte(0) == 0xed && byte(1) >= 0xa0 && byte(1) <= 0xbf &&
      byte(2) >= 0x80 && byte(2) <= 0xbf) {
    return {0xd000 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  }
  utf8proc_int32_t code_point = -1;
  constexpr std::size_t kLongest = 4;
  const auto size =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(std::min(text.size(), kLongest)), &code_point);
  if (size <= 0 || code_point < 0) return {};
  return {code_point, static_cast<std::size_t>(size)};
}

void append_escaped(std::string& out, std::string_view text, Tabs tabs) {
  while (!text.empty()) {
    const auto* plain_end =
        std::find_if_not(text.begin(), text.end(), [](char c) { return is_plain_ascii(c); });
    const auto plain = static_cast<std::size_t>(plain_end - text.begin());
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) return;
    const Character character = first_character(text);
    if (character.code_point == Character::kInvalid) {
      append_escape(out, static_cast<unsigned char>(text.front()));
    } else if (is_unsafe(character.code_point) &&
               !(tabs == Tabs::Keep && character.code_point == '\t')) {
      append_escape(out, character.code_point);
    } else {
      out.append(text.substr(0, character.size));
    }
    text.remove_prefix(character.size);
  }
}

std::string escape(std::string_view text, Tabs tabs) {
  std::string out;
  out.reserve(text.size());
  append_escaped(out, text, tabs);
  return out;
}

std::size_t display_width(std::string_view escaped) {
  std::size_t width = 0;
  while (!escaped.empty()) {
    if (is_plain_ascii(escaped.front())) {
      ++width;
      escaped.remove_prefix(1);
      continue;
    }
    const Character character = first_character(escaped);
    const int columns = utf8proc_charwidth(character.code_point);
    if (columns > 0) width += static_cast<std::size_t>(columns);
    escaped.remove_prefix(character.size);
  }
  return width;
}

std::string clip(std::string_view escaped, std::size_t columns) {
  constexpr std::string_view kCut = "...";
  std::size_t width = 0;
  std::size_t kept = 0;  // bytes that leave room for kCut
  for (std::size_t at = 0; at < escaped.size();) {
    const std::size_t size = first_character(escaped.substr(at)).size;
    width += display_width(escaped.substr(at, size));
    if (width > columns) return std::string(escaped.substr(0, kept)).append(kCut);
    at += size;
    if (width + kCut.size() <= columns) kept = at;
  }
  return std::string(escaped);
}

std::string clip_middle(std::string_view escaped, std::size_t columns) {
  constexpr std::string_view kCut = "...";
  if (display_width(escaped) <= columns || columns <= kCut.size()) return clip(escaped, columns);
  const std::size_t room = columns - kCut.size();
  // The beginnings of the characters, and the columns before each.
  std::vector<std::pair<std::size_t, std::size_t>> characters;
  std::size_t width = 0;
  for (std::size_t at = 0; at < escaped.size();) {
    const std::size_t size = first_character(escaped.substr(at)).size;
    characters.emplace_back(at, width);
    width += display_width(escaped.substr(at, size));
    at += size;
  }
  std::size_t head = 0;
  std::size_t tail = escaped.size();
  for (const auto& [at, before] : characters) {
    if (before <= room / 2) head = at;
    if (width - before <= room - room / 2) {
      tail = at;
      break;
    }
  }
  return std::string(escaped.substr(0, head)).append(kCut).append(escaped.substr(tail));
}

}  // namespace pyscope
