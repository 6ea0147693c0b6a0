// None, numbers, and the other constants.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <span>

#include "python/integers.hpp"
#include "values/decoder.hpp"
#include "values/number_text.hpp"

namespace pyscope {
namespace {

using Kind = ValueNode::Kind;

Result<ValueNode> none(ValueDecoder&, RemoteAddr, const ObjectType&, std::size_t) {
  return ValueNode(Kind::None, "None");
}

Result<ValueNode> ellipsis(ValueDecoder&, RemoteAddr, const ObjectType&, std::size_t) {
  return leaf("Ellipsis");
}

Result<ValueNode> not_implemented(ValueDecoder&, RemoteAddr, const ObjectType&, std::size_t) {
  return leaf("NotImplemented");
}

Result<ValueNode> boolean(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto value = read_unsigned(d.reader(), at);
  if (!value) return fail(value.error());
  return ValueNode(Kind::Bool, *value != 0 ? "True" : "False");
}

Result<ValueNode> integer(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  // Python itself refuses to print more than 4,300 decimal digits.
  constexpr std::uint64_t kMostDigits = 477;
  auto number = read_integer(d.reader(), at, kMostDigits);
  if (!number) return fail(number.error());
  if (number->digit_count == 0) return ValueNode(Kind::Integer, "0");
  if (number->digit_count > kMostDigits) {
    d.mark_truncated();
    return leaf(fmt::format("<int of about {} bits>",
                            with_separators(number->digit_count * kBitsPerDigit)));
  }
  return ValueNode(Kind::Integer,
                   (number->negative ? "-" : "") + decimal_text(std::move(number->digits)));
}

Result<ValueNode> floating(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto value = d.reader().field<double>(at, Field::FloatObFval);
  if (!value) return fail(value.error());
  return ValueNode(Kind::Float, float_text(*value, true));
}

Result<ValueNode> complex(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto real = d.reader().field<double>(at, Field::ComplexReal);
  const auto imaginary = d.reader().field<double>(at, Field::ComplexImag);
  if (!real) return fail(real.error());
  if (!imaginary) return fail(imaginary.error());
  std::string tail = float_text(*imaginary, false) + "j";
  if (*real == 0 && !std::signbit(*real)) return leaf(std::move(tail));
  if (!tail.starts_with('-')) tail.insert(0, "+");
  return leaf("(" + float_text(*real, false) + tail + ")");
}

}  // namespace

std::span<const TypeDecoder> number_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"NoneType", none, ""},
      {"ellipsis", ellipsis, ""},
      {"NotImplementedType", not_implemented, ""},
      {"bool", boolean, ""},
      {"int", integer, ""},
      {"float", floating, ""},
      {"complex", complex, ""},
  });
  return kDecoders;
}

}  // namespace pyscope
