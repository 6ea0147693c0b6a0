#include "values/quoting.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "python/reader.hpp"
#include "values/printable_since.hpp"

namespace pyscope {
namespace {

/// str.isprintable() of a Python with this version of Unicode.
bool is_printable(char32_t c, UnicodeVersion unicode) {
  if (c < 0x7F) return c >= ' ';
  const auto* since = std::lower_bound(
      kPrintableSince.begin(), kPrintableSince.end(), c,
      [](const PrintableSince& range, char32_t value) { return range.last < value; });
  if (since != kPrintableSince.end() && since->first <= c) return since->version <= unicode;
  switch (::utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

/// True for those that are escaped in the same way in str and bytes.
bool append_short_escape(std::string& out, char32_t c, char quote) {
  if (c == U'\\' || c == static_cast<char32_t>(quote)) {
    out += '\\';
    out += static_cast<char>(c);
  } else if (c == U'\t') {
    out += "\\t";
  } else if (c == U'\n') {
    out += "\\n";
  } else if (c == U'\r') {
    out += "\\r";
  } else {
    return false;
  }
  return true;
}

template <class Text>
char quote_for(const Text& text) {
  const bool single = std::find(text.begin(), text.end(), '\'') != text.end();
  return single && std::find(text.begin(), text.end(), '"') == text.end() ? '"' : '\'';
}

/// The characters of UTF-8 that was made by append_utf8.
std::u32string decoded(std::string_view utf8) {
  std::u32string characters;
  for (const char byte : utf8) {
    const auto bits = static_cast<unsigned char>(byte);
    if ((bits & 0xC0U) == 0x80U && !characters.empty()) {
      characters.back() = characters.back() << 6U | (bits & 0x3FU);
    } else {
      const unsigned char mask = bits < 0x80 ? 0x7F : bits < 0xE0 ? 0x1F : bits < 0xF0 ? 0x0F : 7;
      characters += static_cast<char32_t>(bits & mask);
    }
  }
  return characters;
}

}  // namespace

std::string quoted(std::u32string_view characters, UnicodeVersion unicode) {
  const char quote = quote_for(characters);
  std::string out(1, quote);
  for (const char32_t c : characters) {
    if (append_short_escape(out, c, quote)) continue;
    if (is_printable(c, unicode)) {
      append_utf8(out, c);
    } else if (c < 0x100) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<std::uint32_t>(c));
    } else if (c < 0x10000) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {
      fmt::format_to(std::back_inserter(out), "\\U{:08x}", static_cast<std::uint32_t>(c));
    }
  }
  return out + quote;
}

std::string quoted(std::string_view utf8, UnicodeVersion unicode) {
  return quoted(decoded(utf8), unicode);
}

std::string quoted_bytes(std::string_view content, bool escape_quotes) {
  const char quote = quote_for(content);
  std::string out = "b";
  out += quote;
  for (const char byte : content) {
    const auto c = static_cast<unsigned char>(byte);
    if (escape_quotes && c == '\'') {
      out += "\\'";
    } else if (append_short_escape(out, c, quote)) {
      continue;
    } else if (c >= ' ' && c < 0x7F) {
      out += byte;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
    }
  }
  return out + quote;
}

}  // namespace pyscope
