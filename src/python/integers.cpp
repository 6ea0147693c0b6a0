#include "python/integers.hpp"

#include <algorithm>
#include <span>

namespace pyscope {

namespace {

/// The sign and the count of digits; the digits aren't read yet.
Result<Integer> decode_size(const Reader& reader, RemoteAddr object) {
  const auto tag = reader.field<std::uint64_t>(object, Field::LongLvTag);
  if (!tag) return fail("int", tag.error());
  Integer integer;
  if (reader.layout().int_size_has_sign) {
    integer.negative = *tag >> 63U != 0;
    integer.digit_count = integer.negative ? 0 - *tag : *tag;
    return integer;
  }
  // lv_tag: the sign in two bits (0 positive, 1 zero, 2 negative), a reserved bit, and the count of
  // digits.
  const std::uint64_t sign = *tag & 3U;
  if (sign == 1) return integer;
  integer.negative = sign == 2;
  integer.digit_count = *tag >> 3U;
  if (sign == 3 || integer.digit_count == 0) {
    return fail(ErrorKind::Malformed, "an int with a bad tag");
  }
  return integer;
}

}  // namespace

Result<Integer> read_integer(const Reader& reader, RemoteAddr object, std::uint64_t most_digits) {
  auto size = decode_size(reader, object);
  if (!size) return fail(std::move(size).error());
  Integer integer = *std::move(size);
  if (integer.digit_count == 0 || integer.digit_count > most_digits) return integer;
  integer.digits.resize(integer.digit_count);
  const auto ok = reader.memory().read(object + reader.offsets()[Field::LongObDigit],
                                       std::as_writable_bytes(std::span{integer.digits}));
  if (!ok) return fail("int", ok.error());
  if (std::any_of(integer.digits.begin(), integer.digits.end(),
                  [](std::uint32_t digit) { return digit >> kBitsPerDigit != 0; })) {
    return fail(ErrorKind::Malformed, "an int with a bad digit");
  }
  return integer;
}

}  // namespace pyscope
