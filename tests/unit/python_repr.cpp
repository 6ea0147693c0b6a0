// Values in memory that is built by hand: what a test interpreter doesn't have (numpy), and what no
// interpreter has.
#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "python_heap.hpp"
#include "values/repr.hpp"

using namespace pyscope;
using pyscope::test::PythonHeap;

namespace {

// tp_flags of a class that is part of an extension module, and neither on the heap nor the
// interpreter's own.
constexpr std::uint64_t kStatic = 0;

std::string repr_of(const PythonHeap& heap, RemoteAddr object, const ValueLimits& limits = {}) {
  const auto fresh = heap.reader();
  ObjectReader objects(fresh.reader);
  ReprBudget budget;
  return ReprWriter(objects, limits, budget).write(object, "").text;
}

/// The type of all types, so that a type is known for one.
void make_types(PythonHeap& heap, const std::vector<RemoteAddr>& types) {
  const RemoteAddr metatype = heap.type("type", kTypeSubclass);
  for (const RemoteAddr type : types)
    heap.set(type, Field::ObjectObType, metatype);
  heap.set(metatype, Field::ObjectObType, metatype);
}

template <class T>
RemoteAddr scalar(PythonHeap& heap, RemoteAddr type, T value) {
  const RemoteAddr object = heap.object(type, 32);
  heap.memory.put(object + 16, value);
  return object;
}

struct Array {
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
  std::int32_t type_num = 12;  // float64
  char byte_order = '=';
};

/// A numpy array (PyArrayObject_fields) of which `data` is the first item.
RemoteAddr array(PythonHeap& heap, RemoteAddr type, RemoteAddr data, const Array& spec) {
  const RemoteAddr scalar_type = heap.type("numpy.str_", kStatic);
  make_types(heap, {scalar_type});
  const RemoteAddr descriptor = heap.allocate(64);
  heap.put(descriptor, 16, scalar_type);
  heap.memory.put(descriptor + 26, spec.byte_order);
  heap.memory.put(descriptor + 28, spec.type_num);
  const RemoteAddr shape = heap.allocate(16 * spec.sizes.size() + 8);
  for (std::size_t i = 0; i < spec.sizes.size(); ++i) {
    heap.memory.put(shape + 8 * i, spec.sizes[i]);
    heap.memory.put(shape + 8 * (spec.sizes.size() + i), spec.strides[i]);
  }
  const RemoteAddr object = heap.object(type, 96);
  heap.put(object, 16, data);
  heap.memory.put(object + 24, static_cast<std::int32_t>(spec.sizes.size()));
  heap.put(object, 32, shape);
  heap.put(object, 40, shape + 8 * spec.sizes.size());
  heap.put(object, 56, descriptor);
  return object;
}

}  // namespace

TEST_CASE("scalars of numpy are printed as numpy prints them") {
  PythonHeap heap(14);
  const auto type = [&](const char* name) {
    const RemoteAddr made = heap.type(name, kStatic);
    make_types(heap, {made});
    return made;
  };
  const RemoteAddr float32 = type("numpy.float32");
  const RemoteAddr float64 = type("numpy.float64");
  // What numpy 2.5 prints for these.
  CHECK(repr_of(heap, scalar(heap, float32, 0.1F)) == "np.float32(0.1)");
  CHECK(repr_of(heap, scalar(heap, float32, 999999.0F)) == "np.float32(999999.0)");
  CHECK(repr_of(heap, scalar(heap, float32, 1234567.0F)) == "np.float32(1.234567e+06)");
  CHECK(repr_of(heap, scalar(heap, float32, 0.00012F)) == "np.float32(0.00012)");
  CHECK(repr_of(heap, scalar(heap, float64, 16777216.0)) == "np.float64(16777216.0)");
  CHECK(repr_of(heap, scalar(heap, float64, 1e16)) == "np.float64(1e+16)");
  CHECK(repr_of(heap, scalar(heap, type("numpy.int64"), std::int64_t{-5})) == "np.int64(-5)");
  CHECK(repr_of(heap, scalar(heap, type("numpy.uint8"), std::uint8_t{200})) == "np.uint8(200)");
  CHECK(repr_of(heap, scalar(heap, type("numpy.longlong"), std::int64_t{3})) == "np.int64(3)");
  CHECK(repr_of(heap, scalar(heap, type("numpy.bool"), std::uint8_t{1})) == "np.True_");
}

TEST_CASE("arrays of numpy are shown by shape, type and first items") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("numpy.ndarray", kStatic);
  make_types(heap, {type});
  const RemoteAddr data = heap.allocate(96);
  for (std::uint64_t i = 0; i < 12; ++i)
    heap.memory.put(data + 8 * i, static_cast<double>(i));
  CHECK(repr_of(heap, array(heap, type, data, {{3, 4}, {32, 8}})) ==
        "<ndarray shape=(3, 4) dtype=float64 [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, "
        "9.0, 10.0, 11.0]]>");
  // A view: its columns are rows, and every second one of them.
  CHECK(repr_of(heap, array(heap, type, data, {{2, 3}, {16, 32}})) ==
        "<ndarray shape=(2, 3) dtype=float64 [[0.0, 4.0, 8.0], [2.0, 6.0, 10.0]]>");
  CHECK(repr_of(heap, array(heap, type, data + 88, {{2}, {-8}})) ==
        "<ndarray shape=(2,) dtype=float64 [11.0, 10.0]>");
  CHECK(repr_of(heap, array(heap, type, data, {{}, {}})) == "<ndarray shape=() dtype=float64 0.0>");
  CHECK(repr_of(heap, array(heap, type, data, {{0}, {8}})) ==
        "<ndarray shape=(0,) dtype=float64 []>");
  ValueLimits few;
  few.max_items = 5;
  CHECK(repr_of(heap, array(heap, type, data, {{3, 4}, {32, 8}}), few) ==
        "<ndarray shape=(3, 4) dtype=float64 [[0.0, 1.0, 2.0, 3.0], [4.0, … 3 more], … 1 more]>");
  // What isn't decoded is never guessed.
  CHECK(repr_of(heap, array(heap, type, data, {{2}, {8}, 19})) ==
        "<ndarray shape=(2,) dtype=str_>");
  CHECK(repr_of(heap, array(heap, type, data, {{2}, {8}, 12, '>'})) ==
        "<ndarray shape=(2,) dtype=float64>");
}

TEST_CASE("arrays of numpy that make no sense cost no more than themselves") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("numpy.ndarray", kStatic);
  make_types(heap, {type});
  const RemoteAddr data = heap.allocate(16);
  const auto unreadable = [&](const Array& spec) {
    return repr_of(heap, array(heap, type, data, spec)).starts_with("<unreadable ndarray at 0x");
  };
  CHECK(unreadable({{1'000'000}, {std::int64_t{1} << 40}}));
  CHECK(unreadable({std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 8)}));
  // Negative, or more than there can be: bounded by the limits.
  CHECK(repr_of(heap, array(heap, type, data, {{-1}, {8}})) ==
        "<ndarray shape=(-1,) dtype=float64 []>");
  ValueLimits few;
  few.max_items = 1;
  const std::string wide = repr_of(heap,
                                   array(heap, type, data,
                                         {std::vector<std::int64_t>(64, std::int64_t{1} << 60),
                                          std::vector<std::int64_t>(64, 0)}),
                                   few);
  CHECK(wide.size() < 10'000);
}
