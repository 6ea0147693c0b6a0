// Values in memory that is built by hand: what a test interpreter doesn't have (numpy), and what no
// interpreter has.
#include <array>
#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "python_heap.hpp"
#include "values/plain_value.hpp"
#include "values/quoting.hpp"
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

RemoteAddr list(PythonHeap& heap, RemoteAddr type, const std::vector<RemoteAddr>& items) {
  const RemoteAddr pointers = heap.allocate(8 * items.size() + 8);
  for (std::size_t i = 0; i < items.size(); ++i)
    heap.put(pointers, 8 * i, items[i]);
  const RemoteAddr object = heap.object(type, 64);
  heap.set(object, Field::ListObSize, std::uint64_t{items.size()});
  heap.set(object, Field::ListObItem, pointers);
  return object;
}

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

TEST_CASE("empty rows of numpy's arrays count as items") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("numpy.ndarray", kStatic);
  make_types(heap, {type});
  const RemoteAddr data = heap.allocate(16);
  ValueLimits few;
  few.max_items = 3;
  CHECK(repr_of(heap, array(heap, type, data, {{2, 0}, {0, 8}}), few) ==
        "<ndarray shape=(2, 0) dtype=float64 [[], []]>");
  CHECK(repr_of(heap, array(heap, type, data, {{std::int64_t{1} << 40, 0}, {0, 8}}), few) ==
        "<ndarray shape=(1099511627776, 0) dtype=float64 [[], [], [], … 1,099,511,627,773 more]>");
  std::vector<std::int64_t> sizes(63, 2);
  sizes.push_back(0);
  CHECK(repr_of(heap, array(heap, type, data, {sizes, std::vector<std::int64_t>(64, 8)}), few)
            .size() < 2000);
  // Nor does a limit of all there can be make an end of it.
  few.max_items = std::numeric_limits<std::size_t>::max();
  CHECK(repr_of(heap, array(heap, type, data, {{std::int64_t{1} << 40, 0}, {0, 8}}), few)
            .ends_with(" more]>"));
}

TEST_CASE("lists within lists end at a depth that no option exceeds") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("list", kStatic);
  make_types(heap, {type});
  constexpr std::size_t kLevels = 100'000;
  RemoteAddr object = list(heap, type, {});
  for (std::size_t i = 0; i < kLevels; ++i)
    object = list(heap, type, {object});
  ValueLimits limits;
  limits.max_depth = kLevels;
  const std::string brackets(ValueLimits::kDeepest + 1, '[');
  const std::string text = repr_of(heap, object, limits);
  CHECK(text.starts_with(brackets + "… 1 item]"));
  CHECK(text.size() < 1000);
}

TEST_CASE("a value that is cut, masked or within itself is no plain one") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("list", kStatic);
  const RemoteAddr tuple = heap.type("tuple", kStatic);
  make_types(heap, {type, tuple, heap.str_type});
  const auto plain = [&](RemoteAddr object, const ValueLimits& limits) {
    const auto fresh = heap.reader();
    ObjectReader objects(fresh.reader);
    ReprBudget budget;
    return plain_value(ValueDecoder(objects, limits, budget).decode(object, ""), limits);
  };
  const auto may_be_plain = [&](RemoteAddr object, const ValueLimits& limits) {
    const auto fresh = heap.reader();
    ObjectReader objects(fresh.reader);
    ReprBudget budget;
    return pyscope::may_be_plain(ValueDecoder(objects, limits, budget).decode(object, ""), limits);
  };
  const RemoteAddr empty = list(heap, type, {});
  const RemoteAddr two = list(heap, type, {empty, empty});
  const auto found = plain(two, {});
  REQUIRE(found);
  CHECK(found->kind == PlainValue::Kind::Array);
  CHECK(found->items.size() == 2);
  ValueLimits few;
  few.max_items = 1;
  CHECK_FALSE(plain(two, few));
  ValueLimits flat;
  flat.max_depth = 1;
  CHECK_FALSE(plain(list(heap, type, {two}), flat));
  // Both are cut by limits only, so that wider limits give a plain value.
  CHECK(may_be_plain(two, few));
  CHECK(may_be_plain(list(heap, type, {two}), flat));
  const RemoteAddr cyclic = list(heap, type, {empty});
  const auto items =
      read_as<std::uint64_t>(heap.memory, cyclic + heap.offsets()[Field::ListObItem]);
  REQUIRE(items);
  heap.put(RemoteAddr{*items}, 0, cyclic);
  CHECK_FALSE(plain(cyclic, {}));
  CHECK_FALSE(may_be_plain(cyclic, {}));
  // As the headers of HTTP requests are kept.
  const RemoteAddr header = heap.object(tuple, 64);
  heap.set(header, Field::TupleObSize, std::uint64_t{2});
  heap.put(header, heap.offsets()[Field::TupleObItem], heap.str("cookie"));
  heap.put(header, heap.offsets()[Field::TupleObItem] + 8, heap.str("abc"));
  CHECK(repr_of(heap, header) == "('cookie', '***')");
  CHECK_FALSE(plain(header, {}));
  CHECK_FALSE(may_be_plain(header, {}));
  ValueLimits open;
  open.show_secrets = true;
  const auto shown = plain(header, open);
  REQUIRE(shown);
  CHECK(shown->items.size() == 2);
}

TEST_CASE("a decimal whose exponent can't be is unreadable") {
  PythonHeap heap(14);
  const RemoteAddr type = heap.type("decimal.Decimal", kStatic);
  make_types(heap, {type});
  const RemoteAddr digits = heap.allocate(16);
  heap.memory.put(digits, std::uint64_t{12});
  const auto decimal = [&](std::int64_t exponent) {
    const RemoteAddr object = heap.object(type, 96);
    heap.memory.put(object + 24, std::uint8_t{0});
    heap.memory.put(object + 32, exponent);
    heap.memory.put(object + 48, std::uint64_t{1});
    heap.put(object, 64, digits);
    return repr_of(heap, object);
  };
  CHECK(decimal(2) == "Decimal('1.2E+3')");
  CHECK(decimal(-1'999'999'999'999'999'997) == "Decimal('1.2E-1999999999999999996')");
  CHECK(decimal(std::numeric_limits<std::int64_t>::max()).starts_with("<unreadable Decimal at"));
  CHECK(decimal(std::numeric_limits<std::int64_t>::min()).starts_with("<unreadable Decimal at"));
}

TEST_CASE("a lock is read where its type's size says, and is unreadable for a size of none") {
  const int minor = GENERATE(13, 14, 15);
  PythonHeap heap(minor);
  const auto lock = [&](std::uint64_t size, std::uint64_t flag_at) {
    const RemoteAddr type = heap.type("_thread.lock", kStatic, size);
    make_types(heap, {type});
    const RemoteAddr object = heap.object(type, 64);
    heap.memory.put(object + flag_at, std::uint8_t{1});
    return repr_of(heap, object);
  };
  CHECK(lock(24, 16).starts_with("<locked _thread.lock object at "));
  CHECK(lock(24, 32).starts_with("<unlocked _thread.lock object at "));
  CHECK(lock(32, 16).starts_with("<unreadable lock at "));
  // 3.13.0 has a semaphore where later versions have the flag.
  const auto with_semaphore = [&](std::uint64_t flag_at) {
    return lock(40, flag_at).substr(0, lock(40, flag_at).find(" at "));
  };
  CHECK(with_semaphore(32) == (minor == 13 ? "<locked _thread.lock object" : "<unreadable lock"));
  CHECK(with_semaphore(33) == (minor == 13 ? "<unlocked _thread.lock object" : "<unreadable lock"));
}

TEST_CASE("characters are escaped by the Unicode version of the target") {
  const std::u32string text = U"\u2ffc\U00013460\U000323b0";
  CHECK(quoted(text, {15, 0}) == "'\\u2ffc\\U00013460\\U000323b0'");
  CHECK(quoted(text, {15, 1}) == "'\u2ffc\\U00013460\\U000323b0'");
  CHECK(quoted(text, {16, 0}) == "'\u2ffc\U00013460\\U000323b0'");
  CHECK(quoted(text, {17, 0}) == "'\u2ffc\U00013460\U000323b0'");
}
