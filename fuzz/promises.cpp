#include "fuzz/promises.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>

namespace pyscope::fuzz {
namespace {

/// The code point at the front of a text, and its size; size 0: it is no UTF-8 (RFC 3629).
struct Decoded {
  std::uint32_t code_point = 0;
  std::size_t size = 0;
};

Decoded decode_first(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < size) return {};
  std::uint32_t code_point = first & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return {};
    code_point = code_point << 6U | (byte(i) & 0x3FU);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (code_point < kLeast[size] || code_point > 0x10FFFF || surrogate) return {};
  return {code_point, size};
}

bool steers(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) ||  // control characters
         c == 0x61C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069) ||  // the direction of text
         c == 0x2028 || c == 0x2029;      // line ends of another kind
}

/// The size of a colour (ESC [ digits and semicolons m) at the front of a text, or 0.
std::size_t color_at_front(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

void check(std::string_view text, bool color, bool lines) {
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (const std::size_t size = color ? color_at_front(rest) : 0; size != 0) {
      at += size;
      continue;
    }
    const Decoded c = decode_first(rest);
    if (c.size == 0) broken("what is printed is UTF-8", rest);
    const bool allowed = lines && c.code_point == '\n';
    if (!allowed && steers(c.code_point)) broken("what is printed can't steer a terminal", rest);
    at += c.size;
  }
}

double thread_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The most memory that was in use, in KiB; 0: not known.
long peak() {
  long kibibytes = 0;
  if (std::FILE* const file = std::fopen("/proc/self/status", "re")) {
    std::array<char, 256> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr) {
      if (std::sscanf(line.data(), "VmHWM: %ld", &kibibytes) == 1) break;
    }
    std::fclose(file);
  }
  return kibibytes;
}

/// From now on, the peak is that of what is in use now. Returns that; 0: not known.
long forget_peak() {
  std::FILE* const file = std::fopen("/proc/self/clear_refs", "we");
  if (file == nullptr) return 0;
  const bool forgotten = std::fputs("5", file) >= 0;
  return std::fclose(file) == 0 && forgotten ? peak() : 0;
}

}  // namespace

void broken(std::string_view promise, std::string_view seen) {
  std::string text;
  for (const char c : seen.substr(0, 48)) {
    char escaped[5] = {c, 0};
    if (c < ' ' || c > '~')
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
    text += escaped;
  }
  std::fprintf(stderr, "broken promise: %.*s%s%s\n", static_cast<int>(promise.size()),
               promise.data(), text.empty() ? "" : ", but there is: ", text.c_str());
  std::abort();
}

void check_text(std::string_view text, bool color) {
  check(text, color, true);
}

void check_line(std::string_view text) {
  check(text, false, false);
}

void check_json(std::string_view json) {
  check(json, false, true);
  if (!nlohmann::json::accept(json)) broken("the JSON is valid", json);
}

CostLimit::CostLimit() : begin_(thread_seconds()), in_use_(forget_peak()) {}

void CostLimit::check() const {
  constexpr double kMostSeconds = 5;
  if (thread_seconds() - begin_ > kMostSeconds) broken("an input takes five seconds at the most");
#ifdef PYSCOPE_SANITIZE
  constexpr long kGrowth = 3;  // what is freed is kept for a while, and all has zones around it
#else
  constexpr long kGrowth = 1;
#endif
  constexpr long kMostKibibytes = 256 * 1024;
  if (in_use_ != 0 && peak() - in_use_ > kMostKibibytes * kGrowth)
    broken("an input takes 256 MiB at the most");
}

}  // namespace pyscope::fuzz
