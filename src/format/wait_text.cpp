#include "format/wait_text.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>

#include "format/duration.hpp"
#include "format/escape.hpp"

namespace pyscope {

std::string wait_details(const Wait& wait) {
  constexpr std::size_t kMaxTargetColumns = 160;
  std::string text;
  const auto to = std::back_inserter(text);
  if (wait.fd) fmt::format_to(to, " on fd {}", *wait.fd);
  if (!wait.target.empty()) {
    fmt::format_to(to, ": {}", clip(escape(wait.target), kMaxTargetColumns));
  }
  if (wait.left_us) {
    fmt::format_to(to, ", {} left", format_duration(*wait.left_us));
  } else if (wait.timeout_us) {
    fmt::format_to(to, ", for {}{}", wait.kind == "sleep" ? "" : "at most ",
                   format_duration(*wait.timeout_us));
  }
  return text;
}

}  // namespace pyscope
