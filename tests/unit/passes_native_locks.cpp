#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <span>

#include "passes/native_locks.hpp"

using namespace pyscope;

namespace {

std::optional<pid_t> owner_in(std::array<std::uint32_t, 6> words) {
  return owner_of_mutex(std::as_bytes(std::span(words)));
}

}  // namespace

TEST_CASE("a mutex of glibc that threads wait for tells its owner", "[locks]") {
  CHECK(owner_in({2, 0, 4711, 1, 0, 0}) == 4711);
  CHECK(owner_in({2, 3, 4711, 1, 1, 0}) == 4711);     // recursive, taken three times
  CHECK(owner_in({2, 0, 4711, 1, 2, 0}) == 4711);     // error-checking
  CHECK(owner_in({2, 0, 4711, 1, 0x83, 0}) == 4711);  // adaptive, shared
}

TEST_CASE("what isn't a mutex of glibc that is taken has no owner", "[locks]") {
  CHECK_FALSE(owner_in({0, 0, 4711, 1, 0, 0}));  // not taken
  CHECK_FALSE(owner_in({1, 0, 4711, 1, 0, 0}));  // nobody waits
  CHECK_FALSE(owner_in({2, 0, 0, 1, 0, 0}));     // about to be taken
  CHECK_FALSE(owner_in({2, 0, 4711, 0, 0, 0}));
  CHECK_FALSE(owner_in({2, 1, 4711, 1, 0, 0}));         // a plain one has no count
  CHECK_FALSE(owner_in({2, 0, 4711, 1, 1, 0}));         // a recursive one has
  CHECK_FALSE(owner_in({2, 0, 4711, 1, 0x10, 0}));      // robust
  CHECK_FALSE(owner_in({2, 0, 4711, 1, 0x20, 0}));      // inherits priorities
  CHECK_FALSE(owner_in({2, 0, 0x8000'1267, 1, 0, 0}));  // no tid
  CHECK_FALSE(owner_of_mutex(std::span<const std::byte>{}));
}
