// array.array and memoryview.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <type_traits>
#include <vector>

#include "values/decoder.hpp"
#include "values/number_text.hpp"

namespace pyscope {
namespace {

/// Adds the first of the numbers to the node, each as a part.
template <class T>
Result<void> add_numbers(ValueDecoder& d, ValueNode& node, RemoteAddr data, std::uint64_t count) {
  constexpr std::uint64_t kBatch = 1024;
  std::array<T, kBatch> batch;
  const std::uint64_t shown = std::min(count, d.most_items());
  std::uint64_t added = 0;
  while (added < shown) {
    const std::uint64_t n = std::min(kBatch, shown - added);
    if (auto ok = d.reader().memory().read(data + added * sizeof(T),
                                           std::as_writable_bytes(std::span{batch}.first(n)));
        !ok) {
      return ok;
    }
    for (std::uint64_t i = 0; i < n; ++i) {
      if (!d.take_node()) {
        d.leave_out(node, count - added);
        return {};
      }
      if constexpr (std::is_floating_point_v<T>) {
        // Python converts a float to a double before it prints it.
        append(node, leaf(float_text(static_cast<double>(batch[i]), true)));
      } else {
        append(node, leaf(std::to_string(batch[i])));
      }
      ++added;
    }
  }
  d.leave_out(node, count - added);
  return {};
}

using AddNumbers = Result<void> (*)(ValueDecoder&, ValueNode&, RemoteAddr, std::uint64_t);

AddNumbers numbers_of(char code) {
  switch (code) {
    case 'b':
      return add_numbers<std::int8_t>;
    case 'B':
      return add_numbers<std::uint8_t>;
    case 'h':
      return add_numbers<std::int16_t>;
    case 'H':
      return add_numbers<std::uint16_t>;
    case 'i':
      return add_numbers<std::int32_t>;
    case 'I':
      return add_numbers<std::uint32_t>;
    case 'l':
    case 'q':
      return add_numbers<std::int64_t>;
    case 'L':
    case 'Q':
      return add_numbers<std::uint64_t>;
    case 'f':
      return add_numbers<float>;
    case 'd':
      return add_numbers<double>;
    default:
      return nullptr;
  }
}

Result<ValueNode> array(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t) {
  const auto size = d.reader().field<std::uint64_t>(at, Field::VarObjectObSize);
  const auto data = d.reader().field<std::uint64_t>(at, Field::ArrayObItem);
  const auto descriptor = d.reader().pointer(at, Field::ArrayObDescr);
  if (!size) return fail(size.error());
  if (!data) return fail(data.error());
  if (!descriptor) return fail(descriptor.error());
  const auto code = d.reader().field<char>(*descriptor, Field::ArrayDescrTypecode);
  if (!code) return fail(code.error());
  const AddNumbers add = numbers_of(*code);
  if (add == nullptr) {
    d.mark_truncated();
    return leaf(
        fmt::format("<{} at {} of {} items>", type.name, address_text(at), with_separators(*size)));
  }
  ValueNode node = between(fmt::format("{}('{}'", type.name, *code), ")");
  if (*size == 0) return node;
  node.text += ", ";
  ValueNode numbers = between("[", "]", ValueNode::Kind::Group);
  if (auto ok = add(d, numbers, RemoteAddr{*data}, *size); !ok) return fail(ok.error());
  append(node, std::move(numbers));
  return node;
}

Result<ValueNode> memory_view(ValueDecoder& d, RemoteAddr at, const ObjectType&,
                              std::size_t depth) {
  ValueNode node = leaf("<memory at " + address_text(at) + ">");
  if (depth > 0) return node;
  constexpr std::int32_t kReleased = 1;  // _Py_MEMORYVIEW_RELEASED
  const auto flags = d.reader().field<std::int32_t>(at, Field::MemoryViewFlags);
  const auto length = d.reader().field<std::uint64_t>(at, Field::MemoryViewLen);
  const auto read_only = d.reader().field<std::int32_t>(at, Field::MemoryViewReadonly);
  const auto format = d.reader().field<std::uint64_t>(at, Field::MemoryViewFormat);
  if (!flags || !length || !read_only || !format) return node;
  if ((*flags & kReleased) != 0) {
    d.set_detail("released");
    return node;
  }
  const std::string kind =
      *format == 0 ? "B" : d.reader().c_string(RemoteAddr{*format}).value_or("?");
  d.set_detail(fmt::format("{} bytes of format '{}'{}", with_separators(*length), kind,
                           *read_only != 0 ? ", read-only" : ""));
  return node;
}

}  // namespace

std::span<const TypeDecoder> buffer_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"array.array", array, ""},
      {"memoryview", memory_view, ""},
  });
  return kDecoders;
}

}  // namespace pyscope
