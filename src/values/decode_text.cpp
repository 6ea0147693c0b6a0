// Strings and bytes.
#include <array>
#include <span>

#include "values/decoder.hpp"

namespace pyscope {
namespace {

Result<ValueNode> string(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  auto prefix = read_str_prefix(d.reader(), at, d.limits().max_string);
  if (!prefix) return fail(prefix.error());
  return d.string_node(std::move(prefix->characters), prefix->length);
}

Result<ValueNode> bytes(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto range = find_bytes(d.reader(), at);
  if (!range) return fail(range.error());
  return d.bytes_node(*range);
}

Result<ValueNode> byte_array(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t) {
  const auto range = find_byte_array(d.reader(), at);
  if (!range) return fail(range.error());
  auto content = d.bytes_node(*range);
  if (!content) return content;
  content->escapes_quotes = d.reader().layout().bytearray_escapes_quotes;
  ValueNode node = between(type.name + "(", ")");
  append(node, *std::move(content));
  return node;
}

}  // namespace

std::span<const TypeDecoder> text_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"str", string, ""},
      {"bytes", bytes, ""},
      {"bytearray", byte_array, ""},
  });
  return kDecoders;
}

}  // namespace pyscope
