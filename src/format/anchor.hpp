// Finds the part of an expression that does the work: the brackets of a call or a subscript, or the
// operator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pyscope {

enum class AnchorKind : std::uint8_t { Call, Subscript, BinaryOperation };

/// A half-open range of bytes within the expression.
struct Anchor {
  AnchorKind kind = AnchorKind::Call;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Finds the part that CPython's traceback.py finds with its parser, for a Python expression on one
/// line. Empty for every other kind of expression, for text that isn't an expression, and where
/// this scanner isn't sure.
[[nodiscard]] std::optional<Anchor> find_anchor(std::string_view expression);

/// True for a text that could be a name: an identifier that isn't a keyword.
[[nodiscard]] bool is_name(std::string_view text);

}  // namespace pyscope
