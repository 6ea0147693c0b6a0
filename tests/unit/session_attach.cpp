#include <catch2/catch.hpp>

#include "session/attach.hpp"

using namespace pyscope;

TEST_CASE("an old Python's version is taken from its file's name", "[session]") {
  CHECK(version_in_name("python3.9") == "3.9");
  CHECK(version_in_name("python3.9.18") == "3.9.18");
  CHECK(version_in_name("libpython3.9.so.1.0") == "3.9");
  CHECK(version_in_name("libpython3.9.so") == "3.9");
  CHECK(version_in_name("libpython3.so") == "3");
  CHECK(version_in_name("libpython2.7.so.1.0") == "2.7");
  CHECK(version_in_name("python3.9...") == "3.9");
  CHECK(version_in_name("python").empty());
  CHECK(version_in_name("python.").empty());
  CHECK(version_in_name("uwsgi").empty());
  CHECK(version_in_name("").empty());
}
