// Arrays and numbers of numpy.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "values/decoder.hpp"
#include "values/number_text.hpp"

namespace pyscope {
namespace {

/// A type of numbers. What isn't in the table isn't decoded.
struct NumpyNumber {
  std::string_view name;
  std::size_t size;
  std::string (*text)(const std::byte*);
};

template <class T>
std::string number_text(const std::byte* bytes) {
  T value{};
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::is_same_v<T, float>) {
    // numpy changes to exponents sooner than Python does.
    constexpr int kMostDigits = 6;
    return float_text(value, true, kMostDigits);
  } else if constexpr (std::is_same_v<T, double>) {
    return float_text(value, true);
  } else {
    return std::to_string(value);
  }
}

std::string bool_text(const std::byte* byte) {
  return *byte != std::byte{0} ? "True" : "False";
}

/// By type_num.
constexpr auto kNumbers = std::to_array<NumpyNumber>({
    {"bool", 1, bool_text},
    {"int8", 1, number_text<std::int8_t>},
    {"uint8", 1, number_text<std::uint8_t>},
    {"int16", 2, number_text<std::int16_t>},
    {"uint16", 2, number_text<std::uint16_t>},
    {"int32", 4, number_text<std::int32_t>},
    {"uint32", 4, number_text<std::uint32_t>},
    {"int64", 8, number_text<std::int64_t>},  // long
    {"uint64", 8, number_text<std::uint64_t>},
    {"int64", 8, number_text<std::int64_t>},
    {"uint64", 8, number_text<std::uint64_t>},
    {"float32", 4, number_text<float>},
    {"float64", 8, number_text<double>},
});

const NumpyNumber* find_number(std::int32_t type_num) {
  if (type_num < 0 || static_cast<std::size_t>(type_num) >= kNumbers.size()) return nullptr;
  return &kNumbers[static_cast<std::size_t>(type_num)];
}

struct Shape {
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
};

/// The items of one dimension and of the dimensions within it. `left` more may be decoded in all.
Result<ValueNode> items_from(ValueDecoder& d, const Shape& shape, const NumpyNumber& number,
                             std::size_t dimension, std::uint64_t at, std::uint64_t& left) {
  if (dimension == shape.sizes.size()) {
    std::array<std::byte, 8> bytes{};
    auto ok = d.reader().memory().read(RemoteAddr{at}, std::span{bytes}.first(number.size));
    if (!ok) return fail(ok.error());
    left -= left > 0 ? 1 : 0;
    return leaf(number.text(bytes.data()));
  }
  ValueNode row = between("[", "]", ValueNode::Kind::Group);
  const std::int64_t size = shape.sizes[dimension];
  // An empty row counts as an item: there may be any number of them.
  if (size <= 0) left -= left > 0 ? 1 : 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (left == 0 || !d.take_node()) {
      d.leave_out(row, static_cast<std::uint64_t>(size - i));
      break;
    }
    // A torn stride leads to a wrong address. Nothing worse happens than a wrong or failed read.
    const std::uint64_t item =
        at + static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(shape.strides[dimension]);
    auto part = items_from(d, shape, number, dimension + 1, item, left);
    if (!part) return part;
    append(row, *std::move(part));
  }
  return row;
}

Result<Shape> shape_of(ValueDecoder& d, RemoteAddr at) {
  constexpr std::int32_t kMostDimensions = 64;
  const auto count = d.reader().field<std::int32_t>(at, Field::NumpyArrayNd);
  const auto dimensions_at = d.reader().field<std::uint64_t>(at, Field::NumpyArrayDimensions);
  const auto strides_at = d.reader().field<std::uint64_t>(at, Field::NumpyArrayStrides);
  if (!count) return fail(count.error());
  if (!dimensions_at) return fail(dimensions_at.error());
  if (!strides_at) return fail(strides_at.error());
  if (*count < 0 || *count > kMostDimensions) {
    return fail(ErrorKind::Malformed, "an array with a bad number of dimensions");
  }
  Shape shape;
  shape.sizes.resize(static_cast<std::size_t>(*count));
  shape.strides.resize(static_cast<std::size_t>(*count));
  if (*count == 0) return shape;
  const auto sizes = std::as_writable_bytes(std::span{shape.sizes});
  if (auto ok = d.reader().memory().read(RemoteAddr{*dimensions_at}, sizes); !ok)
    return fail(ok.error());
  const auto strides = std::as_writable_bytes(std::span{shape.strides});
  if (auto ok = d.reader().memory().read(RemoteAddr{*strides_at}, strides); !ok)
    return fail(ok.error());
  return shape;
}

Result<ValueNode> numpy_array(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                              std::size_t depth) {
  const auto shape = shape_of(d, at);
  if (!shape) return fail(shape.error());
  const auto data = d.reader().field<std::uint64_t>(at, Field::NumpyArrayData);
  const auto descriptor = d.reader().pointer(at, Field::NumpyArrayDescr);
  if (!data) return fail(data.error());
  if (!descriptor) return fail(descriptor.error());
  const auto byte_order = d.reader().field<char>(*descriptor, Field::NumpyDescrByteorder);
  const auto type_num = d.reader().field<std::int32_t>(*descriptor, Field::NumpyDescrTypeNum);
  const auto scalar = d.reader().pointer(*descriptor, Field::NumpyDescrTypeobj);
  if (!byte_order) return fail(byte_order.error());
  if (!type_num) return fail(type_num.error());
  const NumpyNumber* number = find_number(*type_num);
  std::string name = "?";
  if (number != nullptr) {
    name = number->name;
  } else if (scalar && *scalar) {
    if (const auto described = d.objects().describe_type(*scalar)) name = (*described)->name;
  }
  d.mark_truncated();  // repr() prints arrays in another form
  ValueNode node =
      between(fmt::format("<{} shape=({}{}) dtype={}", type.name, fmt::join(shape->sizes, ", "),
                          shape->sizes.size() == 1 ? "," : "", name),
              ">");
  // '>' is big-endian, which the machines that pyscope runs on aren't.
  if (number != nullptr && *byte_order != '>' && !d.too_deep(depth)) {
    std::uint64_t left = d.most_items();
    auto items = items_from(d, *shape, *number, 0, *data, left);
    if (!items) return items;
    node.text += " ";
    append(node, *std::move(items));
  }
  return node;
}

template <std::int32_t TypeNum>
Result<ValueNode> scalar(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  constexpr const NumpyNumber& kNumber = kNumbers[TypeNum];
  std::array<std::byte, 8> bytes{};
  const RemoteAddr value = at + d.reader().offsets()[Field::NumpyScalarObval];
  if (auto ok = d.reader().memory().read(value, std::span{bytes}.first(kNumber.size)); !ok)
    return fail(ok.error());
  const std::string text = kNumber.text(bytes.data());
  return leaf(TypeNum == 0 ? "np." + text + "_" : fmt::format("np.{}({})", kNumber.name, text));
}

}  // namespace

std::span<const TypeDecoder> numpy_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"numpy.ndarray", numpy_array, ""},
      {"numpy.bool", scalar<0>, ""},
      {"numpy.int8", scalar<1>, ""},
      {"numpy.uint8", scalar<2>, ""},
      {"numpy.int16", scalar<3>, ""},
      {"numpy.uint16", scalar<4>, ""},
      {"numpy.int32", scalar<5>, ""},
      {"numpy.uint32", scalar<6>, ""},
      {"numpy.int64", scalar<7>, ""},
      {"numpy.uint64", scalar<8>, ""},
      {"numpy.longlong", scalar<9>, ""},
      {"numpy.ulonglong", scalar<10>, ""},
      {"numpy.float32", scalar<11>, ""},
      {"numpy.float64", scalar<12>, ""},
  });
  return kDecoders;
}

}  // namespace pyscope
